// Each codec, in both directions between two browsers' pages through the server: the picture is the other's (its colour),
// it moves (decoded frames grow), the sound is the other's (its tone), and the codec on the wire is the one asked for.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from './lib/world.mjs';
import { sleep, until } from './lib/until.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

for (const codec of ['vp8', 'vp9', 'h264', 'av1']) {
  test(`${codec} and Opus both ways`, { timeout: 60_000 }, async () => {
    const room = world.room(codec);
    const [left, right] = [await world.lab(), await world.lab()];
    await world.join(left, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'tutoring', codec });
    await world.join(right, { room, identity: 'ben', look: 2, codec });

    await Promise.all([left.sees('ada', 'ben', 2, { frames: 20 }), right.sees('ben', 'ada', 0, { frames: 20 })]);
    await Promise.all([left.hearsTone('ada', 2), right.hearsTone('ben', 0)]);
    await left.silentFrom('ada', 0);

    for (const [lab, me, other] of [
      [left, 'ada', 'ben'],
      [right, 'ben', 'ada'],
    ]) {
      const stats = await until(`${me} receives both`, async () => {
        const now = await lab.do('stats', me);
        const video = now.received.find((stream) => stream.kind === 'video' && stream.participant === other);
        const audio = now.received.find((stream) => stream.kind === 'audio' && stream.participant === other);
        return video?.codec && audio?.codec && { video, audio };
      });
      assert.equal(stats.video.codec.replace(/^video\//, '').toLowerCase(), codec);
      assert.equal(stats.audio.codec.replace(/^audio\//, '').toLowerCase(), 'opus');
      const again = await until(`${me}'s decoded frames grow`, async () => {
        const now = (await lab.do('stats', me)).received.find(
          (stream) => stream.kind === 'video' && stream.participant === other,
        );
        return now.frames > stats.video.frames + 10 && now;
      });
      assert.ok(again.frames > stats.video.frames);
    }
    await left.page.context().close();
    await right.page.context().close();
  });
}

test('two codecs meet in one room', { timeout: 60_000 }, async () => {
  const room = world.room('mixed');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar', codec: 'av1' });
  await world.join(lab, { room, identity: 'ben', look: 1, codec: 'h264' });
  await world.join(lab, { room, identity: 'cem', look: 2, codec: 'vp9' });
  for (const me of ['ada', 'ben', 'cem']) {
    for (const [look, other] of ['ada', 'ben', 'cem'].entries()) {
      if (other !== me) await lab.sees(me, other, look);
    }
  }
});

// Of a small camera browsers send the first encodings alone, whatever size they were given: it was seen at half its size, or at a quarter.
for (const [codec, width, height] of [
  ['vp8', 640, 480],
  ['vp9', 640, 480],
  ['h264', 640, 480],
  ['av1', 640, 480],
  ['vp8', 320, 240],
  ['vp8', 1280, 720],
]) {
  test(`a camera of ${width}x${height} in ${codec} is seen as large as it is`, { timeout: 60_000 }, async () => {
    const room = world.room('small');
    const lab = await world.lab();
    const camera = { codec, asCamera: true, width, height };
    await world.join(lab, { room, identity: 'ada', role: 'teacher', preset: 'seminar', ...camera });
    await world.join(lab, { room, identity: 'ben', sources: [], viewWidth: 1280, viewHeight: 720 });
    const widths = () => lab.evaluate('[...document.querySelectorAll("video")].map(({ videoWidth }) => videoWidth)');
    await until('it is whole', async () => (await widths()).includes(width), { within: 20_000 });
    const sent = async () => (await lab.do('stats', 'ada')).sent.filter(({ kind }) => kind === 'video');
    // The server counts with three layers: that the highest never comes leaves the picture as it is.
    await sleep(4000);
    assert.ok((await widths()).includes(width), `it becomes ${await widths()} wide`);
    const seen = (await lab.report('ben')).slots.find(
      ({ participant, kind }) => participant === 'ada' && kind === 'video',
    );
    assert.equal(seen.reason, undefined);
    const layers = (await sent()).map((layer) => `${layer.rid} ${layer.width}x${layer.height}`);
    console.log(`# ${codec} ${width}x${height}, sent as ${layers.join(', ')}`);
    await lab.close();
  });
}
