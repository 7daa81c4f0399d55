// The server decides: floor, mute all, remove, lock. What matters is what others hear and see, not what a client says.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hears, LOOKS } from './lib/lab.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

/** Ben's page (`liar`) sends his tone past the library; `ear` hears nothing of it while 100 packets leave. */
async function unheardThoughSent(liar, ear, id) {
  await liar.do('lie', LOOKS[1]);
  const sent = await liar.do('audioPacketsSent');
  const sounds = [];
  await until('the packets leave', async () => {
    sounds.push((await ear.report(id)).sound);
    return (await liar.do('audioPacketsSent')) > sent + 100;
  });
  for (const sound of sounds) {
    assert.ok(!hears(sound, LOOKS[1].frequency), `${id} hears what is not allowed: ${JSON.stringify(sound)}`);
  }
}

test(
  'lecture: a student is unheard without the floor, heard with it, and unheard again',
  { timeout: 90_000 },
  async () => {
    const room = world.room('lecture');
    const [desk, bench, back] = [await world.lab(), await world.lab(), await world.lab()];
    await world.join(desk, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'lecture' });
    await world.join(bench, { room, identity: 'ben', look: 1, sources: [] });
    await world.join(back, { room, identity: 'cem', look: 2, sources: [] });
    await back.hearsTone('cem', 0);

    // Without the floor, publishing a microphone is refused.
    const before = await bench.do('publish', 'ben', 'microphone', {});
    assert.equal(before.error?.code, 'forbidden', JSON.stringify(before));
    // Nor does it help to send without asking.
    await unheardThoughSent(bench, back, 'cem');

    await bench.call('ben', 'hand', true);
    await until('the teacher sees the hand', async () => (await desk.report('teacher')).state.hands[0] === 'ben');
    await bench.refused('forbidden', 'ben', 'floor', 'ben', true);
    await desk.call('teacher', 'floor', 'ben', true);
    await until('ben may speak', async () => (await bench.report('ben')).permissions.includes('publish-microphone'));
    await bench.must('publish', 'ben', 'microphone', {});
    await bench.must('publish', 'ben', 'camera', {});
    await Promise.all([back.hearsTone('cem', 1), desk.hearsTone('teacher', 1), back.sees('cem', 'ben', 1)]);
    assert.deepEqual((await back.report('cem')).state.hands, [], 'the floor takes the hand down');

    await desk.call('teacher', 'floor', 'ben', false);
    await back.silentFrom('cem', 1);
    await until('cem no longer sees ben', async () => !('ben camera' in (await back.report('cem')).pictures));
  },
);

test('a client that lies: packets from a muted microphone reach nobody', { timeout: 60_000 }, async () => {
  const room = world.room('mute');
  const [desk, bench] = [await world.lab(), await world.lab()];
  await world.join(desk, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'seminar' });
  await world.join(bench, { room, identity: 'ben', look: 1 });
  await desk.hearsTone('teacher', 1);
  await desk.call('teacher', 'muteAll', 'microphone');
  await desk.silentFrom('teacher', 1);
  await until(
    'ben knows that he is muted',
    async () => (await bench.report('ben')).state.participants.ben.tracks.microphone?.muted === true,
  );
  await bench.refused('forbidden', 'ben', 'muteAll', 'microphone');
  // The library has stopped sending by itself; a changed one would not.
  await unheardThoughSent(bench, desk, 'teacher');
  // He may unmute himself; nobody else may do it for him.
  await bench.call('ben', 'unmute', 'microphone');
  await desk.hearsTone('teacher', 1);
});

test('remove: out at once, and not back in this lesson', { timeout: 60_000 }, async () => {
  const room = world.room('remove');
  const [desk, bench] = [await world.lab(), await world.lab()];
  await world.join(desk, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'seminar' });
  await world.join(bench, { room, identity: 'ben', look: 1 });
  await desk.sees('teacher', 'ben', 1);
  await bench.refused('forbidden', 'ben', 'remove', 'teacher');
  await desk.call('teacher', 'remove', 'ben');
  const { connection } = await until('ben is told', async () => {
    const report = await bench.report('ben');
    return report.connection.status === 'ended' && report;
  });
  assert.equal(connection.reason, 'removed');
  await until('the picture is gone', async () => !('ben camera' in (await desk.report('teacher')).pictures));
  await desk.silentFrom('teacher', 1);
  const token = await world.server.token({ room, identity: 'ben' });
  const again = await bench.do('join', 'ben-again', { token, ...LOOKS[1] });
  assert.equal(again.error?.code, 'removed', JSON.stringify(again));
});

test('lock: who is in stays, who is out stays out, until it opens again', { timeout: 60_000 }, async () => {
  const room = world.room('lock');
  const lab = await world.lab();
  const quiet = { sources: [], media: false };
  await world.join(lab, { room, identity: 'teacher', role: 'teacher', preset: 'seminar', ...quiet });
  await world.join(lab, { room, identity: 'ben', ...quiet });
  await lab.refused('forbidden', 'ben', 'settings', { locked: true });
  await lab.call('teacher', 'settings', { locked: true });
  const token = await world.server.token({ room, identity: 'cem' });
  const outside = await lab.do('join', 'cem', { token, ...quiet });
  assert.equal(outside.error?.code, 'room-locked', JSON.stringify(outside));
  assert.equal((await lab.report('ben')).connection.status, 'connected');
  await lab.call('teacher', 'settings', { locked: false });
  await lab.join('cem', { token, ...quiet });
});

test('full: a room takes as many as its settings say', { timeout: 60_000 }, async () => {
  const room = world.room('full');
  const lab = await world.lab();
  const quiet = { sources: [], media: false };
  await world.join(lab, { room, identity: 'teacher', role: 'teacher', preset: 'seminar', ...quiet });
  await lab.call('teacher', 'settings', { maxParticipants: 2 });
  await world.join(lab, { room, identity: 'ben', ...quiet });
  const token = await world.server.token({ room, identity: 'cem' });
  const full = await lab.do('join', 'cem', { token, ...quiet });
  assert.equal(full.error?.code, 'room-full', JSON.stringify(full));
});

test('end: everybody goes, and the room opens anew as another lesson', { timeout: 60_000 }, async () => {
  const room = world.room('end');
  const lab = await world.lab();
  const quiet = { sources: [], media: false };
  await world.join(lab, { room, identity: 'teacher', role: 'teacher', preset: 'seminar', ...quiet });
  await world.join(lab, { room, identity: 'ben', ...quiet });
  const lesson = (await lab.report('ben')).state.lesson;
  await lab.refused('forbidden', 'ben', 'end');
  await lab.call('teacher', 'end');
  const { connection } = await until('ben is told', async () => {
    const report = await lab.report('ben');
    return report.connection.status === 'ended' && report;
  });
  assert.equal(connection.reason, 'closed');
  await until('the room opens anew', async () => {
    await world.join(lab, { room, identity: 'ben', ...quiet });
    return true;
  });
  assert.notEqual((await lab.report('ben')).state.lesson, lesson);
});
