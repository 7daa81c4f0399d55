// The desktop page with nine people in its call window: the mesh call that it replaces stuttered with more than four.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPage } from './lib/chromium.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start({ args: ['--demo'] })));
after(() => world?.stop());

test('nine in a call: every tile moves, none freezes', { timeout: 180_000 }, async () => {
  const page = await newPage(world.browser, { viewport: { width: 1440, height: 900 } });
  const link = /https?:\/\/\S*\/desktop#\S*/.exec(world.server.log)?.[0];
  assert.ok(link, `the demo prints a link to the desktop:\n${world.server.log}`);
  await page.goto(`${world.server.url}/desktop${new URL(link).hash}`);
  const call = page.locator('lectern-call');
  await call.waitFor();
  const room = 'demo';
  const labs = [await world.lab(), await world.lab()];
  for (let look = 1; look < 9; look += 1) {
    await world.join(labs[look % 2], {
      room,
      identity: `p${look}`,
      look,
      width: 320,
      height: 180,
      framesPerSecond: 15,
      // Eight who send; the desktop alone looks at them.
      watch: false,
    });
  }
  const videos = call.locator('video');
  const playing = () =>
    videos.evaluateAll(
      (elements) =>
        elements.filter(
          (element) =>
            element.srcObject && element.videoWidth > 0 && element.getVideoPlaybackQuality().totalVideoFrames > 5,
        ).length,
    );
  await until('eight others and oneself play', async () => (await playing()) >= 8, { within: 60_000 });

  // Eight others and oneself, ten seconds without a pause of half a second in any tile. What a mesh does with nine it does all
  // the time; a machine that was busy with something else gets a second and a third look.
  let tiles;
  for (let look = 1; look <= 3; look += 1) {
    tiles = await watch(videos, page);
    console.log(
      `# look ${look}: ${tiles.map(({ frames, longestMs }) => `${frames} frames, ${Math.round(longestMs)} ms`).join('; ')}`,
    );
    if (tiles.every(({ longestMs }) => longestMs <= 500)) break;
  }
  assert.ok(tiles.length >= 8, `${tiles.length} tiles`);
  for (const { frames, longestMs } of tiles) {
    assert.ok(frames > 60, `frames in ten seconds: ${frames}`);
    assert.ok(longestMs <= 500, `a pause of ${longestMs} ms`);
  }
  assert.deepEqual(page.troubles, []);
  await page.context().close();
});

/**
 * Frames, and the longest pause between two, of every tile over ten seconds. The browser's own clock of presentation counts, so that a
 * late callback is not taken for a late frame.
 */
async function watch(videos, page) {
  await videos.evaluateAll((elements) => {
    globalThis.tiles = elements
      .filter((element) => element.srcObject && element.videoWidth > 0)
      .map((element) => {
        const tile = { frames: 0, longestMs: 0, ended: false };
        let before;
        const count = (_now, { presentationTime, presentedFrames }) => {
          if (before) {
            const frames = Math.max(1, presentedFrames - before.presentedFrames);
            tile.frames += frames;
            tile.longestMs = Math.max(tile.longestMs, (presentationTime - before.presentationTime) / frames);
          }
          before = { presentationTime, presentedFrames };
          if (!tile.ended) element.requestVideoFrameCallback(count);
        };
        element.requestVideoFrameCallback(count);
        return tile;
      });
  });
  await sleep(10_000);
  return page.evaluate(() => {
    for (const tile of globalThis.tiles) tile.ended = true;
    return globalThis.tiles.map(({ frames, longestMs }) => ({ frames, longestMs }));
  });
}
