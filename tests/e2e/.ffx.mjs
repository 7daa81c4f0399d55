import { Firefox } from '/work/main/tests/e2e/lib/firefox.mjs';
import fs from 'fs';
const f = await Firefox.launch();
async function shot(url, name, wait, steps=[]) {
  const { context } = await f.command('browsingContext.create', { type: 'tab' });
  await f.command('browsingContext.setViewport', { context, viewport: {width:1440,height:900} }).catch(()=>{});
  await f.command('browsingContext.navigate', { context, url, wait: 'complete' });
  await new Promise(r=>setTimeout(r,wait));
  for (const s of steps) { await f.command('script.evaluate',{target:{context},expression:s,awaitPromise:true,userActivation:true}); await new Promise(r=>setTimeout(r,1500)); }
  const { data } = await f.command('browsingContext.captureScreenshot', { context });
  fs.writeFileSync(`/tmp/ff/${name}.png`, Buffer.from(data,'base64'));
}
const at=q=>'http://127.0.0.1:5199/src/preview/index.html?'+q;
await shot(at('students=6&hands=2'),'grid',2500);
await shot(at('lobby=teacher'),'lobby',2500);
await shot(at('role=student&preset=lecture&students=4&screen&messages'),'stage',2500,["document.querySelectorAll('.side .control')[2].click()"]);
console.log(f.said.filter(s=>!/vite|DevTools/.test(s)).slice(0,10));
await f.stop();
