// A class is recorded: files that play, with who has agreed and without who has not, also after kill -9.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { lectern } from './lib/server.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const run = promisify(execFile);
let world, folder;
before(async () => {
  world = await World.start();
  folder = mkdtempSync(join(tmpdir(), 'lectern-recording-'));
});
after(async () => {
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (path, { token = world.server.apiKey, ...options } = {}) =>
  fetch(`${world.server.url}/api/recordings${path}`, {
    ...options,
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...options.headers },
  });

async function read(path, options) {
  const response = await ask(path, options);
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

/** Fetches a file of a recording, has it probed, and decoded to its end without an error. */
async function decode(id, name) {
  const response = await ask(`/${id}/files/${name}`);
  assert.equal(response.status, 200);
  const path = join(folder, name);
  writeFileSync(path, Buffer.from(await response.arrayBuffer()));
  const { stdout } = await run('ffprobe', ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', path]);
  // At the file's own times: at a guessed rate two frames can fall onto one.
  const times = ['-fps_mode', 'passthrough', '-enc_time_base:v', '1:1000'];
  const { stderr } = await run('ffmpeg', ['-v', 'error', '-xerror', '-i', path, ...times, '-f', 'null', '-']);
  assert.equal(stderr, '', name);
  const { streams, format } = JSON.parse(stdout);
  return { ...streams[0], seconds: Number(format.duration) };
}

/** The timeline's entries. */
async function timeline(id) {
  const text = await (await ask(`/${id}/files/timeline.ndjson`)).text();
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line.slice(9)));
}

test('a lesson is recorded with who has agreed, and every file plays', { timeout: 120_000 }, async () => {
  const room = world.room('recorded');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar', title: 'Knots' });
  await world.join(lab, { room, identity: 'ben', look: 1 });
  await world.join(lab, { room, identity: 'cem', look: 2 });
  await lab.sees('ben', 'ada', 0);
  assert.equal((await lab.do('call', 'ben', 'record', ['start'])).error.code, 'forbidden');
  await lab.call('ada', 'record', 'start');
  const { recording } = await until('ben hears of it', async () => {
    const { state } = await lab.report('ben');
    return state.recording && state;
  });
  const { id } = recording;
  await lab.call('ben', 'consent', true);
  await lab.call('cem', 'consent', false);
  await lab.call('ben', 'chat', 'trefoil');
  await lab.call('cem', 'chat', 'unwritten');
  await sleep(6000);
  assert.equal((await read(`/${id}`)).state, 'live');
  assert.equal((await ask(`/${id}`, { method: 'DELETE' })).status, 409);
  await lab.call('ada', 'record', 'pause');
  await sleep(1500);
  await lab.call('ada', 'record', 'resume');
  await sleep(2500);
  await lab.call('ada', 'record', 'stop');
  const manifest = await until('it is finished', async () => {
    const found = await read(`/${id}`);
    return found.state === 'final' && found.tracks.every((track) => track.blake3) && found;
  });

  const tracks = manifest.tracks.map(({ participant, source }) => `${participant} ${source}`);
  assert.deepEqual([...new Set(tracks)].sort(), ['ada camera', 'ada microphone', 'ben camera', 'ben microphone']);
  assert.equal(manifest.pauses.length, 1);
  for (const track of manifest.tracks) {
    const probed = await decode(id, track.file);
    assert.equal(probed.codec_name, track.codec);
    assert.ok(Math.abs(probed.seconds * 1000 - track.durationMs) < 100, `${probed.seconds} s, ${track.durationMs} ms`);
    if (track.source === 'camera')
      assert.ok(track.width > 0 && probed.width > 0, JSON.stringify([track, probed.width]));
  }
  const mix = await decode(id, manifest.mix.file);
  assert.equal(mix.codec_name, 'opus');
  assert.ok(mix.seconds > 8 && mix.seconds < 20, `${mix.seconds}`);

  const entries = await timeline(id);
  const said = entries.filter((entry) => entry.event?.kind === 'chat').map((entry) => entry.event.text);
  assert.deepEqual(said, ['trefoil']);
  const last = entries.findLast((entry) => entry.kind === 'snapshot').state;
  assert.deepEqual(Object.keys(last.participants).sort(), ['ada', 'ben']);
  assert.ok(!JSON.stringify(entries).includes('unwritten') && !JSON.stringify(entries).includes('cem'));

  // Found by what was said, and only by those who may.
  const found = async (query, options) => (await read(`?${query}`, options)).recordings.map((entry) => entry.id);
  assert.deepEqual(await found('q=trefoil'), [id]);
  assert.deepEqual(await found('q=unwritten'), []);
  const teacher = await world.server.token({ room, identity: 'ada', role: 'teacher' });
  const other = await world.server.token({ room: 'elsewhere', identity: 'ada', role: 'teacher' });
  const student = await world.server.token({ room, identity: 'ben' });
  assert.deepEqual(await found('', { token: teacher }), [id]);
  assert.deepEqual(await found('', { token: other }), []);
  for (const [token, status] of [
    [null, 401],
    ['wrong', 401],
    [student, 403],
    [other, 404],
    [teacher, 200],
  ]) {
    assert.equal((await ask(`/${id}`, { token })).status, status);
    assert.equal((await ask(`/${id}/files/mix.webm`, { token })).status, status);
  }
  const link = await read(`/${id}/links`, {
    method: 'POST',
    token: teacher,
    body: '{"ttlSeconds": 60, "fromMs": 2500}',
  });
  assert.match(link.url, new RegExp(`/replay/${id}#token=.*&t=2$`));
  const part = await fetch(`${world.server.url}/api/recordings/${id}/files/mix.webm?token=${link.token}`, {
    headers: { range: 'bytes=0-3' },
  });
  assert.deepEqual([part.status, part.headers.get('content-type')], [206, 'audio/webm']);
  assert.equal(Buffer.from(await part.arrayBuffer()).toString('hex'), '1a45dfa3');
  for (const path of ['/../lessons.db', '/manifest.json', '/..%2f..%2fsecrets.toml'])
    assert.equal((await ask(`/${id}/files${path}`)).status, 404, path);
  assert.equal((await ask(`/${id}/links`, { method: 'POST', token: link.token })).status, 403);
  assert.equal((await ask(`/${id}`, { method: 'DELETE', token: link.token })).status, 403);

  // How long it is kept is the operator's to say.
  const keep = (keepUntil, token) => ask(`/${id}`, { method: 'PATCH', token, body: JSON.stringify({ keepUntil }) });
  for (const token of [link.token, teacher]) assert.equal((await keep('forever', token)).status, 403);
  const later = new Date(Date.now() + 3_600_000).toISOString();
  for (const [keepUntil, deleteAfter] of [
    ['forever', null],
    [later, later],
    [null, null],
  ]) {
    const kept = await (await keep(keepUntil)).json();
    assert.deepEqual([kept.id, kept.keepUntil, kept.deleteAfter, kept.inUse], [id, keepUntil, deleteAfter, false]);
  }
  for (const wrong of ['2020-01-01T00:00:00.000Z', 'tomorrow', 7, undefined])
    assert.equal((await keep(wrong)).status, 400, wrong);
  assert.equal((await ask(`/${id}`, { method: 'DELETE', token: teacher })).status, 204);
  assert.equal((await ask(`/${id}`)).status, 404);
  assert.equal((await keep('forever')).status, 404);
  assert.deepEqual(await found(''), []);
  await lab.close();
});

test('kill -9: what was recorded plays, and the recording goes on as another', { timeout: 120_000 }, async () => {
  const room = world.room('torn');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'lecture' });
  await lab.call('ada', 'record', 'start');
  const first = (await until('it is recorded', async () => (await lab.report('ada')).state.recording)).id;
  await sleep(6000);
  const live = await read(`/${first}`);
  await world.server.kill();
  await world.server.up();
  const torn = await until('it is whole again', async () => {
    const manifest = await read(`/${first}`);
    return manifest.state === 'recovered' && manifest;
  });
  assert.ok(torn.durationMs > 5000 && torn.tracks.length >= live.tracks.length, JSON.stringify(torn));
  const scrubbed = await lectern(['recordings', 'scrub', '--json', '--data-dir', join(world.server.folder, 'data')]);
  const reports = scrubbed.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(reports.find((report) => report.id === first)?.problems, [], scrubbed.stdout);
  assert.equal(reports.at(-1).wrong, 0);
  for (const { file, codec, durationMs } of torn.tracks) {
    const probed = await decode(first, file);
    assert.equal(probed.codec_name, codec);
    assert.ok(durationMs > 4000 && Math.abs(probed.seconds * 1000 - durationMs) < 100, `${file}: ${durationMs} ms`);
  }
  const second = await until(
    'the recording goes on',
    async () => {
      const { state } = await lab.report('ada');
      return state.recording?.id !== first && state.recording?.id;
    },
    { within: 45_000 },
  );
  await sleep(2000);
  await lab.call('ada', 'end');
  await until('it has ended with the lesson', async () => (await read(`/${second}`)).state === 'final');
  assert.equal((await read('')).recordings.length, 2);
  await lab.close();
});

test('a disk that cannot be written ends the recording, and the class goes on', { timeout: 120_000 }, async () => {
  const room = world.room('broken');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar' });
  await world.join(lab, { room, identity: 'ben', look: 1 });
  await lab.sees('ben', 'ada', 0);
  await lab.call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await lab.report('ben')).state.recording);
  await until('files are there', async () => (await read(`/${id}`)).tracks.length > 0);
  rmSync(join(world.server.folder, 'data/recordings', id), { recursive: true });
  await until('the class hears of it', async () => !(await lab.report('ben')).state.recording, { within: 20_000 });
  assert.equal((await world.server.metrics()).get('lectern_recordings_ended_total{result="failed"}'), 1);
  await lab.sees('ben', 'ada', 0);
  await lab.call('ada', 'record', 'start');
  const again = await until('another begins', async () => (await lab.report('ben')).state.recording);
  await sleep(1500);
  await lab.call('ada', 'record', 'stop');
  await until('it is whole', async () => (await read(`/${again.id}`)).state === 'final');
  await lab.close();
});
