// Scalable coding through the server: one stream with spatial layers, of which a viewer gets more or fewer as it shows the picture larger or smaller.
// The picture goes on through every change, and its size follows.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { looks } from './lib/looks.mjs';
import { World } from './lib/world.mjs';
import { until } from './lib/until.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

const received = async (lab, me, other) =>
  (await lab.do('stats', me)).received.find((stream) => stream.kind === 'video' && stream.participant === other);

for (const codec of ['vp9', 'av1']) {
  const settings = { timeout: 120_000, close: () => world.closeLabs() };
  looks(`${codec} with spatial layers`, settings, async () => {
    const room = world.room(`${codec}-svc`);
    const [left, right] = [await world.lab(), await world.lab()];
    await world.join(left, {
      room,
      identity: 'ada',
      look: 0,
      role: 'teacher',
      preset: 'tutoring',
      codec,
      cameraLayers: 'svc',
      width: 1280,
      height: 720,
    });
    await world.join(right, { room, identity: 'ben', look: 2, codec, viewWidth: 1280, viewHeight: 720 });
    await right.sees('ben', 'ada', 0, { frames: 20, within: 30_000 });
    const sentWidth = async () => (await left.do('stats', 'ada')).sent.find((stream) => stream.kind === 'video')?.width;
    // Chromium scales all layers together while it finds out what the network and the machine can do, so what ben should get is a
    // share of what ada sends now.
    let shown;
    const gets = (share) =>
      until(
        `ben gets 1/${share} of ada`,
        async () => {
          const full = await sentWidth();
          if (!(full >= 640)) return false;
          const [width, height] = [Math.round(full / share), Math.round((full / share / 16) * 9)];
          if (shown !== width) {
            shown = width;
            await right.call('ben', 'view', [{ participant: 'ada', source: 'camera', width, height }]);
          }
          const now = await received(right, 'ben', 'ada');
          return now?.width * share === full && now;
        },
        { within: 45_000, every: 200 },
      );
    const before = await gets(1);
    for (const share of [4, 1, 2, 4, 1]) {
      const changed = await gets(share);
      const moves = await until('frames grow', async () => {
        const now = await received(right, 'ben', 'ada');
        return now.frames > changed.frames + 20 && now;
      });
      assert.ok(moves.frames > before.frames);
    }
    const end = await received(right, 'ben', 'ada');
    assert.equal(end.freezes - before.freezes, 0, 'no freeze in any change');
    await right.sees('ben', 'ada', 0, { frames: 10 });
  });
}
