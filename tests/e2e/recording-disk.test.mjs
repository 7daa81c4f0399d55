// A class is recorded onto a disk that fills up, becomes read-only, or is slow: the class goes on as if nothing was, hears what becomes of its
// recording, and can record again once the disk is well. The disk is a small one in memory, in a mount namespace of the test's own; it is
// made slow by a lease on the draft of the manifest, for which the recorder's disk thread has to wait ten seconds each time.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const inside = process.env.LECTERN_E2E_MOUNTS === 'yes';
const enter = ['unshare', '--mount', ...(process.getuid() === 0 ? [] : ['--map-root-user'])];
/** Megabytes of the disk, and of what should stay free. */
const DISK = 64;
const RESERVE = 20;

if (!inside) {
  test('on a disk of its own', { timeout: 300_000 }, () => {
    const there = { ...process.env, LECTERN_E2E_MOUNTS: 'yes' };
    // Without this the inner runner would talk to the outer one instead of printing.
    delete there.NODE_TEST_CONTEXT;
    const args = [process.execPath, '--test', '--test-reporter=spec', fileURLToPath(import.meta.url)];
    const inner = spawnSync(enter[0], [...enter.slice(1), ...args], { env: there, encoding: 'utf8', timeout: 290_000 });
    console.log(inner.stdout);
    assert.equal(inner.status, 0, inner.stdout + inner.stderr);
    assert.match(inner.stdout, /pass [1-9]/);
  });
} else {
  let world, lab, disk;
  before(async () => {
    world = await World.start({ args: ['--recording-reserve-megabytes', String(RESERVE)] });
    disk = join(world.server.folder, 'data/recordings');
    mount('-t', 'tmpfs', '-o', `size=${DISK}m`, 'tmpfs', disk);
    lab = await world.lab();
  });
  after(() => {
    // The folder is removed with the server.
    spawnSync('umount', ['--lazy', disk]);
    return world?.stop();
  });

  function mount(...args) {
    const ran = spawnSync('mount', args, { encoding: 'utf8' });
    assert.equal(ran.status, 0, ran.stderr);
  }

  const freeMegabytes = () => {
    const { bavail, bsize } = statfsSync(disk);
    return (bavail * bsize) / 1e6;
  };
  /** Has so much free, by a file that is as large as it must be. */
  function leave(megabytes) {
    rmSync(join(disk, '.filler'), { force: true });
    const bytes = Math.floor((freeMegabytes() - megabytes) * 1e6);
    if (bytes > 0) writeFileSync(join(disk, '.filler'), Buffer.alloc(bytes));
  }
  /** Leaves no place, also of what the recording leaves meanwhile. */
  function fill() {
    const piece = Buffer.alloc(100_000);
    try {
      for (;;) appendFileSync(join(disk, '.filler'), piece);
    } catch (error) {
      assert.equal(error.code, 'ENOSPC');
    }
  }
  const empty = () => rmSync(join(disk, '.filler'), { force: true });

  const recording = async () => (await lab.report('ada')).state.recording;
  async function record() {
    await lab.call('ada', 'record', 'start');
    const { id } = await until('it is recorded', recording);
    await until('files are there', async () => (await manifest(id)).tracks.length >= 2);
    return id;
  }
  async function manifest(id) {
    const headers = { authorization: `Bearer ${world.server.apiKey}` };
    return (await fetch(`${world.server.url}/api/recordings/${id}`, { headers })).json();
  }
  const isWhole = (id) => until('it is whole', async () => (await manifest(id)).state === 'final');
  async function stop(id) {
    await lab.call('ada', 'record', 'stop');
    await isWhole(id);
  }
  const limit = (wanted) =>
    until(`the class hears of ${wanted}`, async () => (await recording())?.limit === wanted, { within: 20_000 });
  const isOver = () => until('the class hears of it', async () => !(await recording()), { within: 20_000 });
  const ended = async (result) =>
    (await world.server.metrics()).get(`lectern_recordings_ended_total{result="${result}"}`);
  const goesOn = () => lab.sees('ben', 'ada', 0, { frames: 20, within: 5_000 });
  const timeline = (id) =>
    readFileSync(join(disk, id, 'timeline.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line.slice(9)));

  test('a class comes', { timeout: 60_000 }, async () => {
    const room = world.room('disk');
    await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar' });
    await world.join(lab, { room, identity: 'ben', look: 1 });
    await goesOn();
  });

  test(
    'a disk that fills up: sound only, pictures again, and an end before it is full',
    { timeout: 120_000 },
    async () => {
      const id = await record();
      leave(RESERVE / 4);
      await limit('sound-only');
      await goesOn();
      const before = (await manifest(id)).tracks.length;
      empty();
      await limit(undefined);
      await until('a picture begins anew', async () => (await manifest(id)).tracks.length > before);
      leave(1);
      await isOver();
      await isWhole(id);
      await goesOn();
      assert.equal(await ended('disk-full'), 1);
      const kinds = timeline(id).map(({ kind }) => kind);
      assert.ok(kinds.indexOf('sound-only') < kinds.indexOf('pictures-again'), `${kinds}`);
      assert.equal((await lab.do('call', 'ada', 'record', ['start'])).error.code, 'unavailable');
      empty();
      await stop(await record());
    },
  );

  test('a disk that is full at once', { timeout: 60_000 }, async () => {
    const failed = await ended('disk-full');
    const id = await record();
    fill();
    await isOver();
    await goesOn();
    assert.equal(await ended('disk-full'), failed + 1);
    empty();
    await stop(await record());
    assert.ok(readdirSync(disk).includes(id));
  });

  test('a disk that is read-only', { timeout: 60_000 }, async () => {
    mount('-o', 'remount,ro', disk);
    await lab.call('ada', 'record', 'start');
    await until('it failed', async () => (await ended('failed')) === 1);
    await isOver();
    await goesOn();
    mount('-o', 'remount,rw', disk);
    await stop(await record());
  });

  test('a disk that is slow: nobody waits for it, and nothing is lost', { timeout: 120_000 }, async (t) => {
    const id = await record();
    const held = [join(disk, id, '.manifest.draft'), '10'];
    const slow = spawn('python3', [fileURLToPath(new URL('python/hold.py', import.meta.url)), ...held], {
      stdio: 'inherit',
    });
    // Whatever comes, it holds nothing up at the end.
    t.after(() => slow.kill('SIGKILL'));
    const waiting = async () => (await world.server.metrics()).get('lectern_recording_queue_bytes');
    await until('much waits for the disk', async () => (await waiting()) > 100_000, { within: 30_000 });
    const from = performance.now();
    await lab.sees('ben', 'ada', 0, { frames: 50 });
    const seconds = (performance.now() - from) / 1000;
    console.log(`# slow: ${await waiting()} bytes wait, 50 pictures seen in ${seconds.toFixed(1)} s`);
    assert.equal((await recording()).id, id);
    slow.kill('SIGTERM');
    await once(slow, 'exit');
    await until('nothing waits any more', async () => (await waiting()) < 50_000, { within: 30_000 });
    await sleep(1000);
    await stop(id);
    const kinds = new Set(timeline(id).map(({ kind }) => kind));
    assert.ok(!kinds.has('dropped') && !kinds.has('gap'), `${[...kinds]}`);
    await lab.close();
  });
}
