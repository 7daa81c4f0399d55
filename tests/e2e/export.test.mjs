// A recorded class is exported: a film that shows the right people, the sound, all tracks, tables and a zip; also when the server is killed meanwhile.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { newPage } from './lib/chromium.mjs';
import { LOOKS, whose } from './lib/lab.mjs';
import { sleep, until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';

const run = promisify(execFile);
const SCREEN = 3;
let world, folder;
before(async () => {
  world = await World.start();
  folder = mkdtempSync(join(tmpdir(), 'lectern-export-'));
});
after(async () => {
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (path, { token = world.server.apiKey, kind, ...options } = {}) =>
  fetch(`${world.server.url}/api/recordings${path}`, {
    ...options,
    ...(kind && { method: 'POST', body: JSON.stringify({ kind }) }),
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...options.headers },
  });

async function read(path, options) {
  const response = await ask(path, options);
  assert.ok(response.ok, `${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

const job = (id, kind) => read(`/${id}/exports/${kind}`);
const done = (id, kind) =>
  until(
    `${kind} is made`,
    async () => {
      const found = await job(id, kind);
      assert.notEqual(found.state, 'failed', JSON.stringify(found));
      return found.state === 'done' && found;
    },
    { within: 60_000 },
  );

/** Fetches the file of an export as a browser does, has it probed, and decoded to its end without an error. */
async function fetched(id, kind) {
  const { url } = await read(`/${id}/exports/${kind}/links`, { method: 'POST' });
  const response = await fetch(url);
  assert.equal(response.status, 200);
  const path = join(folder, kind);
  writeFileSync(path, Buffer.from(await response.arrayBuffer()));
  const times = ['-fps_mode', 'passthrough', '-enc_time_base:v', '1:1000'];
  const decoded = await run('ffmpeg', ['-v', 'error', '-xerror', '-i', path, '-map', '0', ...times, '-f', 'null', '-']);
  assert.equal(decoded.stderr, '', kind);
  const { stdout } = await run('ffprobe', ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', path]);
  const { streams, format } = JSON.parse(stdout);
  return { path, streams, seconds: Number(format.duration), headers: response.headers };
}

/** Who is seen at these places of a film at a time: indices in LOOKS. */
async function seen(path, seconds, places) {
  const args = ['-v', 'error', '-ss', String(seconds), '-i', path, '-frames:v', '1', '-f', 'rawvideo'];
  const { stdout } = await run('ffmpeg', [...args, '-pix_fmt', 'rgb24', '-'], {
    encoding: 'buffer',
    maxBuffer: 1 << 24,
  });
  return places.map(([x, y]) => whose([...stdout.subarray((y * 1280 + x) * 3, (y * 1280 + x) * 3 + 3)]));
}

/** The loudest of a file's sound, in decibels below full. */
async function loudest(path) {
  const { stderr } = await run('ffmpeg', ['-hide_banner', '-i', path, '-vn', '-af', 'volumedetect', '-f', 'null', '-']);
  return Number(/max_volume: (-?[\d.]+) dB/.exec(stderr)[1]);
}

test('a class becomes a film, sound, tracks, tables and a zip', { timeout: 240_000 }, async () => {
  const room = world.room('film');
  const lab = await world.lab();
  await world.join(lab, {
    room,
    identity: 'ada',
    name: 'Ada',
    look: 0,
    role: 'teacher',
    preset: 'seminar',
    title: '结 & Knots',
  });
  await world.join(lab, { room, identity: 'ben', name: '=Ben', look: 1, sources: ['camera'] });
  await lab.call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await lab.report('ada')).state.recording);
  await lab.call('ben', 'consent', true);
  await lab.call('ada', 'chat', 'a trefoil');
  assert.equal((await ask(`/${id}/exports`, { kind: 'sound' })).status, 409);
  await sleep(4000);
  await lab.must('publish', 'ada', 'screen', { colour: LOOKS[SCREEN].colour, width: 640, height: 360 });
  await sleep(4000);
  await lab.call('ada', 'record', 'stop');
  const manifest = await until('it is finished', async () => {
    const found = await read(`/${id}`);
    return found.state === 'final' && found;
  });
  await lab.close();
  const screen = manifest.tracks.find(({ source }) => source === 'screen');
  const faces = manifest.tracks.filter(({ source }) => source === 'camera');
  assert.ok(screen && faces.some(({ participant }) => participant === 'ada'), JSON.stringify(manifest.tracks));

  // Who may remove a recording may export it; a link to watch it opens neither.
  const teacher = await world.server.token({ room, identity: 'ada', role: 'teacher' });
  const assistant = await world.server.token({ room, identity: 'eve', role: 'assistant' });
  const other = await world.server.token({ room: 'elsewhere', identity: 'ada', role: 'teacher' });
  const student = await world.server.token({ room, identity: 'ben' });
  const { token: replay } = await read(`/${id}/links`, { method: 'POST' });
  for (const [token, making, listing] of [
    [null, 401, 401],
    [student, 403, 403],
    [replay, 403, 403],
    [other, 404, 404],
    [assistant, 403, 200],
    [teacher, 202, 200],
  ]) {
    assert.equal((await ask(`/${id}/exports`, { kind: 'composed', token })).status, making);
    assert.equal((await ask(`/${id}/exports`, { token })).status, listing);
  }
  assert.equal((await ask(`/${id}/exports`, { kind: 'hologram' })).status, 400);
  assert.equal((await ask(`/${id}/exports/chat/file`, { token: replay })).status, 403);

  // kill -9 while it is made; others wait behind it.
  assert.equal((await read(`/${id}/exports`, { kind: 'copy' })).state, 'queued');
  await until('it is being made', async () => (await job(id, 'composed')).state === 'running', { every: 20 });
  await world.server.kill();
  const exported = join(world.server.folder, 'data/recordings', id, 'export');
  assert.equal(JSON.parse(readFileSync(join(exported, 'composed.json'), 'utf8')).state, 'running');
  await world.server.up();
  const composed = await done(id, 'composed');
  const film = await fetched(id, 'composed');
  assert.equal(composed.bytes, Number(film.headers.get('content-length')));
  assert.deepEqual(
    film.streams.map(({ codec_name }) => codec_name),
    ['h264', 'aac'],
  );
  assert.ok(Math.abs(film.seconds * 1000 - manifest.durationMs) < 300, `${film.seconds} s, ${manifest.durationMs} ms`);
  assert.equal(
    film.headers.get('content-disposition').replaceAll(/\d{4}-\d\d-\d\d/g, 'DAY'),
    `attachment; filename="_ _ Knots DAY.mp4"; filename*=UTF-8''%E7%BB%93%20%26%20Knots%20DAY.mp4`,
  );
  // Before the screen the teacher is on the stage, and then beside it.
  const shared = screen.offsetMs / 1000;
  const [stage, first, second] = [
    [512, 400],
    [1152, 90],
    [1152, 234],
  ];
  assert.deepEqual(await seen(film.path, shared - 0.7, [stage, first]), [0, 1]);
  assert.deepEqual(await seen(film.path, shared + 2.5, [stage, first, second]), [SCREEN, 0, 1]);
  assert.ok((await loudest(film.path)) > -30);

  await done(id, 'copy');
  const copy = await fetched(id, 'copy');
  assert.equal(copy.streams.length, manifest.tracks.length + 1);
  assert.ok(Math.abs(copy.seconds * 1000 - manifest.durationMs) < 300, `${copy.seconds} s`);
  const part = await ask(`/${id}/exports/copy/file`, { headers: { range: 'bytes=0-3' } });
  assert.deepEqual([part.status, Buffer.from(await part.arrayBuffer()).toString('hex')], [206, '1a45dfa3']);

  const chat = await (await ask(`/${id}/exports/chat/file`)).text();
  assert.match(chat, /^time,recording,name,identity,text\r\n.*,0:00:0\d,Ada,ada,a trefoil\r\n$/);
  const attendance = await (await ask(`/${id}/exports/attendance/file`)).text();
  assert.match(attendance, /^name,.*\r\nAda,ada,teacher,.*\r\n"'=Ben",ben,student,.*,1\r\n$/);
  const zip = join(folder, 'all.zip');
  writeFileSync(zip, Buffer.from(await (await ask(`/${id}/exports/zip/file`)).arrayBuffer()));
  const { stdout: listed } = await run('python3', ['-m', 'zipfile', '-l', zip]);
  for (const { file } of manifest.tracks) assert.ok(listed.includes(`/${file} `), listed);
  assert.match((await run('python3', ['-m', 'zipfile', '-t', zip])).stdout, /Done testing\s*$/);

  // Cancelled, nothing is left of it.
  assert.equal((await ask(`/${id}/exports/composed`, { method: 'DELETE', token: assistant })).status, 403);
  assert.equal((await ask(`/${id}/exports/composed`, { method: 'DELETE', token: teacher })).status, 204);
  assert.equal((await ask(`/${id}/exports`, { kind: 'composed', token: teacher })).status, 202);
  await until('it is being made', async () => (await job(id, 'composed')).state === 'running', { every: 20 });
  assert.equal((await ask(`/${id}/exports/composed`, { method: 'DELETE', token: teacher })).status, 204);
  assert.equal((await ask(`/${id}/exports/composed`)).status, 404);
  assert.ok(existsSync(join(exported, 'copy.mkv')) && !existsSync(join(exported, '.composed')));
  const metrics = await world.server.metrics();
  assert.equal(metrics.get('lectern_exports_total{kind="composed",outcome="done"}'), 1);
  assert.equal(metrics.get('lectern_exports_total{kind="composed",outcome="cancelled"}'), 1);

  // In the console, by keyboard.
  const page = await newPage(world.browser);
  await page.goto(`${world.server.url}/console#key=${world.server.apiKey}`);
  await page.getByRole('button', { name: say('console.export-title', { title: '结 & Knots' }) }).press('Enter');
  const button = (word, kind) =>
    page.getByRole('button', {
      name: new RegExp(`^${say(`console.export-${word}`)}\\s*: ${say(`console.export.${kind}`)}$`),
    });
  await button('make', 'sound').press('Enter');
  await button('download', 'sound').waitFor({ timeout: 30_000 });
  const [download] = await Promise.all([page.waitForEvent('download'), button('download', 'sound').press('Enter')]);
  assert.match(download.suggestedFilename(), /^结 (&|_) Knots \d{4}-\d\d-\d\d sound\.m4a$/);
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  assert.deepEqual(page.troubles, []);
  await page.context().close();
  const sound = await fetched(id, 'sound');
  assert.deepEqual(
    sound.streams.map(({ codec_name }) => codec_name),
    ['aac'],
  );
  assert.ok(Math.abs(sound.seconds * 1000 - manifest.durationMs) < 300, `${sound.seconds} s`);
  assert.ok((await loudest(sound.path)) > -30);

  // Without ffmpeg what is there can be had, and the rest says what is missing.
  await world.server.kill();
  world.server.options.args = ['--ffmpeg', '/nowhere/ffmpeg'];
  await world.server.up();
  const refused = await ask(`/${id}/exports`, { kind: 'composed' });
  assert.deepEqual([refused.status, (await refused.json()).error.code], [503, 'ffmpeg-missing']);
  assert.equal((await ask(`/${id}/exports`, { kind: 'sound' })).status, 200);
  assert.equal((await ask(`/${id}/exports/zip/file`, { method: 'HEAD' })).status, 200);
  assert.equal((await ask(`/${id}`, { method: 'DELETE', token: teacher })).status, 204);
  assert.ok(!existsSync(exported));
});
