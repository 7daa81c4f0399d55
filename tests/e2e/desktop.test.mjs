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
  const link = /https?:\/\/\S*\/desktop\S*/.exec(world.server.log)?.[0];
  assert.ok(link, `the demo prints a link to the desktop:\n${world.server.log}`);
  const { hash, searchParams } = new URL(link);
  await page.goto(`${world.server.url}/desktop${new URL(link).search}${hash}`);
  assert.ok(searchParams);
  // The call window is open, or opens from its icon.
  const call = page.locator('lectern-call');
  await until('the call is in the page', async () => {
    if ((await call.count()) > 0) return true;
    const icon = page.getByRole('button', { name: /call|class/i }).first();
    if (await icon.isVisible()) await icon.click();
    return false;
  });
  const room = /room[=/]([\w-]+)/.exec(link)?.[1] ?? 'demo';
  const labs = [await world.lab(), await world.lab()];
  for (let look = 1; look < 9; look += 1) {
    await world.join(labs[look % 2], {
      room,
      identity: `p${look}`,
      look,
      width: 320,
      height: 180,
      framesPerSecond: 15,
      // Eight who send; the desktop looks at all of them.
      viewWidth: 160,
      viewHeight: 90,
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

  // Longest pause between two presented frames, tile by tile.
  await videos.evaluateAll((elements) => {
    globalThis.pauses = elements.map((element) => {
      const tile = { frames: 0, longestMs: 0, last: performance.now() };
      const count = () => {
        const now = performance.now();
        tile.longestMs = Math.max(tile.longestMs, now - tile.last);
        tile.last = now;
        tile.frames += 1;
        element.requestVideoFrameCallback(count);
      };
      element.requestVideoFrameCallback(count);
      return tile;
    });
  });
  await sleep(10_000);
  const tiles = await page.evaluate(() =>
    globalThis.pauses.map((tile) => ({
      frames: tile.frames,
      longestMs: Math.max(tile.longestMs, performance.now() - tile.last),
    })),
  );
  const moving = tiles.filter((tile) => tile.frames > 0);
  assert.ok(moving.length >= 8, JSON.stringify(tiles));
  for (const tile of moving) {
    assert.ok(tile.frames > 60, `frames in 10 s: ${JSON.stringify(tiles)}`);
    assert.ok(tile.longestMs <= 500, `a pause of ${tile.longestMs} ms: ${JSON.stringify(tiles)}`);
  }
  assert.deepEqual(page.troubles, []);
  await page.context().close();
});
