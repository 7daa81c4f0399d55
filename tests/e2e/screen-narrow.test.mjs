// A shared text on a slow network stays readable.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bitsPerSecond, framesPerSecond, picture } from './lib/measure.mjs';
import { ONE_PORT } from './lib/network.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => {
  // Headless Chromium has no screens to choose from; it shares its own page.
  const args = [`--auto-select-tab-capture-source-by-title=Lectern`, '--auto-accept-this-tab-capture'];
  world = await World.start({ args: ONE_PORT, chromium: { args } });
});
after(() => world?.stop());

/** A teacher who shares a screen, and a student who looks at it in full size through a network. */
async function shared(prefix, { down = {}, codec = 'vp8', ...screen }) {
  const room = world.room(prefix);
  const desk = await world.lab();
  await world.join(desk, {
    room,
    identity: 'ada',
    role: 'teacher',
    preset: 'seminar',
    sources: [],
    watch: false,
    codec,
  });
  const lab = await world.lab({ network: await world.network({ down }) });
  await world.join(lab, { room, identity: 'ben', sources: [], viewWidth: 1280, viewHeight: 720 });
  await desk.must('publish', 'ada', 'screen', { screen });
  return { desk, lab };
}

test('text at 500 kbit/s is readable, page after page', { timeout: 90_000 }, async () => {
  const { desk, lab } = await shared('readable', {
    codec: 'h264',
    everyMs: 5000,
    down: { bitsPerSecond: 500_000, delayMs: 20 },
  });
  await until('the screen is seen', () => lab.do('reads', 'ben', 'ada'), { within: 20_000 });
  await lab.do('measure', 'ben', 200);
  // How each page looked, again and again while it was shown.
  const pages = new Map();
  const from = Date.now();
  while (Date.now() - from < 16_000) {
    const seen = await lab.do('reads', 'ben', 'ada');
    pages.set(seen.number, [...(pages.get(seen.number) ?? []), { ...seen, at: Date.now() - from }]);
    await sleep(250);
  }
  const samples = picture(await lab.do('measured', 'ben'), 'ada', 'screen');
  // The first page may have begun before, and the last has not been shown long.
  const whole = [...pages.entries()].slice(1, -1);
  const said = {
    pages: whole.map(([number, views]) => ({
      number,
      best: Math.max(...views.map((view) => view.ssim)).toFixed(3),
      readableAfterMs: (views.find((view) => view.ssim >= 0.95)?.at ?? NaN) - views[0].at,
      width: views[0].width,
    })),
    bitsPerSecond: bitsPerSecond(samples),
    framesPerSecond: framesPerSecond(samples),
  };
  console.log(JSON.stringify(said));
  assert.ok(whole.length >= 2, JSON.stringify(said));
  for (const [, views] of whole) {
    assert.equal(views.at(-1).width, 1280, `full size: ${JSON.stringify(said)}`);
    assert.ok(views.at(-1).ssim >= 0.95, `readable: ${JSON.stringify(said)}`);
  }
  // Somebody writes five letters a second.
  assert.ok(said.framesPerSecond >= 1, JSON.stringify(said));
  assert.ok(said.bitsPerSecond <= 500_000, JSON.stringify(said));
  await desk.close();
  await lab.close();
});
