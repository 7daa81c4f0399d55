// The tests' own eyes and ears, before anything is measured with them: through a plain connection inside one page, without
// the server, each look is recognised and taken for no other, and an ear that hears nothing says so.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchChromium, newPage } from './lib/chromium.mjs';
import { Front } from './lib/front.mjs';
import { hears, LOOKS, whose } from './lib/lab.mjs';
import { until } from './lib/until.mjs';

let browser;
let front;
before(async () => {
  front = await Front.start({ url: 'http://127.0.0.1:1' });
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  await front?.stop();
});

test('every look is told apart', { timeout: 90_000 }, async () => {
  const page = await newPage(browser);
  await page.goto(`${front.url}/lab/`);
  await page.evaluate(async () => {
    const { Ear, Eye, paint, tone } = await import('/lab/sources.mjs');
    globalThis.through = async (look) => {
      const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
      from.onicecandidate = ({ candidate }) => to.addIceCandidate(candidate);
      to.onicecandidate = ({ candidate }) => from.addIceCandidate(candidate);
      const ear = new Ear();
      let eye;
      to.ontrack = ({ track }) => {
        const stream = new MediaStream([track]);
        if (track.kind === 'video') eye = new Eye(stream);
        else ear.hear(stream);
      };
      const [picture, sound] = [paint(look), tone(look)];
      from.addTrack(picture);
      from.addTrack(sound);
      await from.setLocalDescription();
      await to.setRemoteDescription(from.localDescription);
      await to.setLocalDescription();
      await from.setRemoteDescription(to.localDescription);
      globalThis.look = () => ({ colour: eye?.colour(), frames: eye?.frames ?? 0, sound: ear.listen() });
      globalThis.silence = () => sound.stop();
      globalThis.end = () => {
        picture.stop();
        sound.stop();
        from.close();
        to.close();
        eye?.close();
      };
    };
  });
  for (const [index, look] of LOOKS.entries()) {
    await page.evaluate((one) => globalThis.through(one), look);
    const seen = await until(`look ${index}`, async () => {
      const now = await page.evaluate(() => globalThis.look());
      return now.colour && now.frames > 3 && now.sound.rms > 0.01 && hears(now.sound, look.frequency) && now;
    });
    assert.equal(whose(seen.colour), index, `colour ${seen.colour}`);
    for (const other of LOOKS) {
      if (other !== look)
        assert.ok(!hears(seen.sound, other.frequency), `hears ${other.frequency} in ${JSON.stringify(seen.sound)}`);
    }
    await page.evaluate(() => globalThis.silence());
    await until('silence', async () => (await page.evaluate(() => globalThis.look())).sound.rms < 0.001);
    await page.evaluate(() => globalThis.end());
  }
});
