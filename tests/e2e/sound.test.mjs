// Redundant audio (RED, RFC 2198) as a real browser negotiates, sends and hears it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

test('a microphone sends RED, a slot takes it, and the sound is whole', { timeout: 90_000 }, async () => {
  const room = world.room('sound');
  const [left, right] = [await world.lab(), await world.lab()];
  await world.join(left, {
    room,
    identity: 'ada',
    look: 0,
    role: 'teacher',
    preset: 'tutoring',
    sources: ['microphone'],
  });
  await world.join(right, { room, identity: 'ben', look: 2, sources: [] });
  await right.hearsTone('ben', 0);

  const { formats } = await left.do('soundFigures');
  const [microphone, screenSound, ...slots] = Object.values(formats);
  assert.deepEqual(microphone, ['red', 'opus']);
  assert.deepEqual(screenSound, ['opus', 'red']);
  for (const slot of slots) assert.deepEqual(slot, ['opus', 'red']);

  // Until the first reports a new listener gets redundancy; on a clean network it goes.
  await until('redundancy reaches the listener', async () => (await right.do('soundFigures')).redundant > 20);
  const calm = await until(
    'redundancy ends on a clean network',
    async () => {
      const one = await right.do('soundFigures');
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const two = await right.do('soundFigures');
      return two.received > one.received + 25 && two.redundant === one.redundant && two;
    },
    { within: 30_000 },
  );
  const more = await until('three seconds more of sound', async () => {
    const now = await right.do('soundFigures');
    return now.samples > calm.samples + 3 * 48_000 && now;
  });
  const concealed = (more.concealed - calm.concealed) / (more.samples - calm.samples);
  assert.ok(more.energy > calm.energy, 'it is heard');
  assert.equal(more.lost, 0);
  assert.ok(concealed < 0.02, `${concealed} of the samples are made up`);

  const figures = await left.do('soundFigures');
  const bytes = figures.sentBytes / figures.sent;
  console.log(`microphone: ${bytes.toFixed(0)} bytes a packet; concealed ${(concealed * 100).toFixed(2)} %`);
  assert.ok(bytes > 120, `two frames in each packet: ${bytes} bytes`);
});
