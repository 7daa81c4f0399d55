// A class is recorded with a key: it is watched, found and exported like any other, and nothing of it lies open on the disk.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { newPage } from './lib/chromium.mjs';
import { lectern } from './lib/server.mjs';
import { sleep, until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';

const run = promisify(execFile);
const WORD = 'trefoil-of-the-sealed';
const TITLE = 'Sealed knots';
/** How a WebM or Matroska file begins; four bytes alone are found in any noise that is long enough. */
const EBML = /\x1a\x45\xdf\xa3[^]{1,8}\x42\x86/;
/** How an MP4 file begins. */
const MP4 = /^[^]{4}ftyp/;
let world, folder, keys, data;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lectern-sealed-'));
  keys = join(folder, 'keys');
  await lectern(['recordings', 'new-key', keys]);
  world = await World.start({ args: ['--recording-key-file', keys] });
  data = join(world.server.folder, 'data');
});
after(async () => {
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (path, { token = world.server.apiKey, ...options } = {}) =>
  fetch(`${world.server.url}/api/recordings${path}`, {
    ...options,
    headers: { authorization: `Bearer ${token}`, ...options.headers },
  });

async function read(path, options) {
  const response = await ask(path, options);
  assert.ok(response.ok, `${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

/** Files of the data folder in which one of these is found. */
function lyingOpen(...patterns) {
  const files = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => patterns.some((pattern) => pattern.test(readFileSync(path, 'latin1'))));
}

/** A film or a track is decoded to its end without an error. */
async function decode(path) {
  const times = ['-fps_mode', 'passthrough', '-enc_time_base:v', '1:1000'];
  const { stderr } = await run('ffmpeg', [
    '-v',
    'error',
    '-xerror',
    '-i',
    path,
    '-map',
    '0',
    ...times,
    '-f',
    'null',
    '-',
  ]);
  assert.equal(stderr, '', path);
}

async function fetched(path) {
  const response = await ask(path);
  assert.equal(response.status, 200, path);
  const bytes = Buffer.from(await response.arrayBuffer());
  assert.equal(bytes.length, Number(response.headers.get('content-length')));
  const to = join(folder, basename(path));
  writeFileSync(to, bytes);
  return to;
}

async function again(args) {
  await world.server.kill();
  world.server.options.args = args;
  await world.server.up();
}

test('it is watched, found, exported and survives kill -9, and nothing lies open', { timeout: 240_000 }, async () => {
  const room = world.room('sealed');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar', title: TITLE });
  await lab.call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await lab.report('ada')).state.recording);
  await lab.call('ada', 'chat', WORD);
  await until('it can be read while it is made', async () => {
    const timeline = await ask(`/${id}/files/timeline.ndjson`);
    return timeline.ok && (await timeline.text()).includes(WORD);
  });
  await sleep(8000);
  const live = await read(`/${id}`);
  const part = await ask(`/${id}/files/${live.tracks[0].file}`, { headers: { range: 'bytes=0-3' } });
  assert.deepEqual([part.status, Buffer.from(await part.arrayBuffer()).toString('hex')], [206, '1a45dfa3']);
  await lab.call('ada', 'record', 'stop');
  const manifest = await until('it is finished', async () => {
    const found = await read(`/${id}`);
    return found.state === 'final' && found.tracks.every((track) => track.blake3) && found;
  });
  for (const { file, bytes } of [...manifest.tracks, manifest.mix]) {
    const path = await fetched(`/${id}/files/${file}`);
    const whole = readFileSync(path);
    assert.equal(whole.length, bytes);
    await decode(path);
    for (const [range, from, to] of [
      ['bytes=100-70000', 100, Math.min(70_001, bytes)],
      ['bytes=-9', bytes - 9, bytes],
    ]) {
      const response = await ask(`/${id}/files/${file}`, { headers: { range } });
      assert.deepEqual(
        [response.status, response.headers.get('content-range')],
        [206, `bytes ${from}-${to - 1}/${bytes}`],
      );
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(whole.subarray(from, to)), `${file} ${range}`);
    }
    assert.equal((await ask(`/${id}/files/${file}`, { headers: { range: `bytes=${bytes}-` } })).status, 416);
  }
  assert.deepEqual(
    (await read(`?q=${WORD}`)).recordings.map((entry) => entry.id),
    [id],
  );

  const { url } = await read(`/${id}/links`, { method: 'POST' });
  const page = await newPage(world.browser);
  await page.goto(url);
  await page.getByRole('heading', { name: TITLE }).waitFor();
  const frames = () =>
    page.evaluate(
      () =>
        [...document.querySelectorAll('video')].find(({ videoWidth }) => videoWidth > 0)?.getVideoPlaybackQuality()
          .totalVideoFrames,
    );
  await page.keyboard.press('Space');
  await until('the picture plays', async () => (await frames()) > 10);
  assert.deepEqual(page.troubles, []);
  await page.context().close();

  for (const kind of ['copy', 'sound']) {
    assert.equal((await ask(`/${id}/exports`, { method: 'POST', body: JSON.stringify({ kind }) })).status, 202);
    await until(
      `${kind} is made`,
      async () => {
        const job = await read(`/${id}/exports/${kind}`);
        assert.notEqual(job.state, 'failed', JSON.stringify(job));
        return job.state === 'done';
      },
      { within: 60_000 },
    );
    await decode(await fetched(`/${id}/exports/${kind}/file`));
  }
  assert.ok((await (await ask(`/${id}/exports/chat/file`)).text()).includes(WORD));

  // Killed while another is made.
  await lab.call('ada', 'record', 'start');
  const torn = await until('another is recorded', async () => {
    const { recording } = (await lab.report('ada')).state;
    return recording && recording.id !== id && recording.id;
  });
  await sleep(4000);
  await again(['--recording-key-file', keys]);
  const recovered = await until('it is whole again', async () => {
    const found = await read(`/${torn}`);
    return found.state === 'recovered' && found.tracks.every((track) => track.blake3) && found;
  });
  assert.ok(recovered.durationMs > 3000 && recovered.tracks.length > 0, JSON.stringify(recovered));
  for (const { file } of recovered.tracks) await decode(await fetched(`/${torn}/files/${file}`));
  await lab.call('ada', 'end');
  await until('the class has ended', async () => (await read('')).recordings.every(({ state }) => state !== 'live'));
  await lab.close();

  // The lessons' own log has what was written; nothing else does, and sound and pictures are nowhere.
  const words = lyingOpen(new RegExp(WORD)).map((path) => basename(path));
  assert.ok(words.length > 0 && words.every((name) => /^lessons\.db/.test(name)), words.join());
  assert.deepEqual(lyingOpen(EBML, MP4), []);

  const settings = ['--data-dir', data];
  const withKey = [...settings, '--recording-key-file', keys];
  // Each ends with an error if something is wrong.
  await lectern(['recordings', 'scrub', ...withKey]);
  assert.ok((await lectern(['recordings', 'list', ...withKey])).stdout.includes(TITLE));
  const out = join(folder, 'out');
  await lectern(['recordings', 'open', id, '--to', out, ...withKey]);
  await decode(join(out, manifest.mix.file));
  assert.ok(readFileSync(join(out, 'timeline.ndjson'), 'utf8').includes(WORD));

  // Without the key: there, and locked.
  await again([]);
  const locked = await until('they are known to be locked', async () => {
    const { locked } = await read('');
    return locked?.length >= 2 && locked;
  });
  const { key } = JSON.parse(readFileSync(join(data, 'recordings', id, 'key.json'), 'utf8'));
  assert.deepEqual(
    locked.find((one) => one.id === id),
    { id, key },
  );
  assert.deepEqual((await read('')).recordings, []);
  for (const path of [`/${id}`, `/${id}/files/mix.webm`, `/${id}/exports`, `/${id}/exports/copy/file`]) {
    const response = await ask(path);
    assert.equal(response.status, 423, path);
    const { error } = await response.json();
    assert.ok(error.code === 'recording-locked' && error.message.includes(key), JSON.stringify(error));
  }
  const teacher = await world.server.token({ room, identity: 'ada', role: 'teacher' });
  assert.equal((await ask(`/${id}`, { token: teacher })).status, 404);
  const listed = await lectern(['recordings', 'list', ...settings]);
  assert.ok(listed.stdout === '' && listed.stderr.includes(key), listed.stderr);
  const { stdout } = await lectern(['recordings', 'scrub', ...settings]);
  assert.ok(stdout.includes('locked'), stdout);
  // Something else on this machine may be wrong, with which it ends.
  const doctor = await lectern(['doctor', ...settings]).catch((error) => error);
  assert.match(doctor.stdout, /recordings .*cannot be opened/);
  assert.equal((await ask(`/${torn}`, { method: 'DELETE' })).status, 204);

  await again(['--recording-key-file', keys]);
  await until('it is back', async () => (await read('')).recordings.some((entry) => entry.id === id));
  assert.equal((await read(`/${id}`)).title, TITLE);
});

/** Bytes of a file from one place up to another, or what the server says instead. */
async function bytesOf(path, from, to) {
  const response = await ask(path, { headers: { range: `bytes=${from}-${to - 1}` } });
  if (!response.ok) return { status: response.status, error: (await response.json()).error };
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) };
}

test('of a damaged file all is given but the damage, and the page says so', { timeout: 180_000 }, async () => {
  const room = world.room('damaged');
  const lab = await world.lab();
  const film = { width: 640, height: 360, framesPerSecond: 20 };
  await world.join(lab, {
    room,
    identity: 'ada',
    role: 'teacher',
    preset: 'lecture',
    title: TITLE,
    codec: 'vp8',
    film,
  });
  await lab.call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await lab.report('ada')).state.recording);
  // The next keyframe behind the damage may be ten seconds away.
  await sleep(45_000);
  await lab.call('ada', 'end');
  const manifest = await until('it is finished', async () => {
    const found = await read(`/${id}`);
    return found.state === 'final' && found.tracks.every((track) => track.blake3) && found;
  });
  await lab.close();
  const track = manifest.tracks.find(({ source }) => source === 'camera');
  const path = `/${id}/files/${track.file}`;
  const whole = readFileSync(await fetched(path));
  assert.ok(whole.length > 1_000_000, `${whole.length} bytes`);

  const onDisk = join(data, 'recordings', id, track.file);
  const sealed = readFileSync(onDisk);
  sealed[sealed.length >> 1] ^= 0x10;
  writeFileSync(onDisk, sealed);

  // Part by part: a few in the middle are refused in words, all others are as they were.
  const part = 16 << 10;
  const refused = [];
  for (let from = 0; from < whole.length; from += part) {
    const to = Math.min(from + part, whole.length);
    const { status, error, bytes } = await bytesOf(path, from, to);
    if (status === 206) {
      assert.ok(bytes.equals(whole.subarray(from, to)), `from ${from}`);
      continue;
    }
    assert.deepEqual([status, error.code], [500, 'recording-damaged']);
    assert.match(error.message, /damaged/);
    refused.push(from);
  }
  const [first, last] = [refused[0], refused.at(-1)];
  assert.ok(refused.length > 0 && last - first < (64 << 10) + part, `refused at ${refused}`);
  assert.ok(Math.abs((first + last) / 2 - whole.length / 2) < 128 << 10, `refused at ${refused}`);
  // All at once breaks off at the damage, and is never taken for the whole.
  const response = await ask(path);
  assert.equal(response.status, 200);
  const came = [];
  await assert.rejects(async () => {
    for await (const piece of response.body) came.push(piece);
  });
  const before = Buffer.concat(came);
  assert.ok(before.length > 0 && before.length <= last + part && whole.subarray(0, before.length).equals(before));
  assert.ok(world.server.log.includes(onDisk), 'the log names the file');

  assert.equal((await ask(`/${id}/exports`, { method: 'POST', body: '{"kind": "copy"}' })).status, 202);
  const job = await until('its export ends', async () => {
    const found = await read(`/${id}/exports/copy`);
    return found.state === 'failed' && found;
  });
  assert.equal(job.error.code, 'recording-damaged');

  const seconds = track.durationMs / 1000;
  const { url } = await read(`/${id}/links`, {
    method: 'POST',
    body: JSON.stringify({ fromMs: Math.floor(seconds * 0.5 - 6) * 1000 }),
  });
  const page = await newPage(world.browser);
  await page.goto(url);
  await page.getByRole('heading', { name: TITLE }).waitFor();
  await page.keyboard.press('Space');
  const words = page.getByText(say('replay.tile.damaged'), { exact: true });
  await words.waitFor({ timeout: 30_000 });
  await page.screenshot({ path: join(process.env.LECTERN_SHOTS ?? folder, 'damaged.png') });
  // Behind the damage it goes on.
  await page.keyboard.press('l');
  await words.waitFor({ state: 'hidden', timeout: 30_000 });
  const picture = () =>
    page.evaluate(() => {
      const video = [...document.querySelectorAll('video')].find(({ videoWidth }) => videoWidth > 0);
      return video && { seconds: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames };
    });
  const again = await until('there is a picture again', picture);
  await until('it moves', async () => (await picture())?.frames > again.frames + 5);
  assert.deepEqual(
    page.troubles.filter((trouble) => !/500|Failed to load resource/.test(trouble)),
    [],
  );
  await page.context().close();
});

test('a server does not start with keys that cannot be used', async () => {
  const wrong = join(folder, 'wrong');
  for (const [text, mode, said] of [
    [undefined, 0o600, 'No such file'],
    ['# none yet\n', 0o600, 'new-key'],
    ['abc\n', 0o600, 'line 1'],
    [`${'0'.repeat(64)}\n`, 0o644, 'chmod 600'],
  ]) {
    rmSync(wrong, { force: true });
    if (text !== undefined) writeFileSync(wrong, text, { mode });
    const free = ['--http-listen', '127.0.0.1:0', '--udp-port', '0', '--data-dir', join(folder, 'data')];
    const { stderr } = await lectern(['serve', ...free, '--recording-key-file', wrong]).then(
      () => assert.fail('it has ended well'),
      (error) => error,
    );
    assert.ok(stderr.includes('recording_key_file') && stderr.includes(said), stderr);
  }
});
