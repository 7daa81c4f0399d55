// Recordings in a bucket, by the real protocol: they get there whatever happens, are watched from there, and go from there.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newPage } from './lib/chromium.mjs';
import { S3 } from './lib/s3.mjs';
import { lectern, Server } from './lib/server.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const PART = 8 << 20;
let s3;
before(async () => (s3 = await S3.start()));
after(() => s3?.stop());

const api = (server, path, options = {}) =>
  fetch(`${server.url}/api/recordings${path}`, {
    ...options,
    headers: { authorization: `Bearer ${server.apiKey}`, ...options.headers },
  });
const list = async (server) => (await (await api(server, '')).json()).recordings;

/** Settings, of which the later of the same name count. */
const merged = (...lists) => {
  const pairs = lists.flatMap((list) => list.flatMap((name, at) => (at % 2 ? [] : [[name, list[at + 1]]])));
  return [...new Map(pairs)].flat();
};

/** What `lectern doctor` says of the bucket, with these settings besides. */
async function doctor(...args) {
  const folder = mkdtempSync(join(tmpdir(), 'lectern-doctor-'));
  try {
    const settings = ['--http-listen', '127.0.0.1:0', '--udp-port', '0', '--data-dir', folder];
    // Something else on this machine may be wrong, with which it ends.
    const { stdout } = await lectern(['doctor', '--json', ...settings, ...merged(s3.args, args)]).catch(
      (error) => error,
    );
    return JSON.parse(stdout).findings.find(({ subject }) => subject === 'bucket');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('lectern doctor tries the bucket, and says what is wrong with it', { timeout: 120_000 }, async () => {
  // The gateway removes a folder with the last file in it.
  const there = () => (existsSync(s3.at('.')) ? readdirSync(s3.at('.')) : []);
  s3.requests = [];
  const good = await doctor();
  assert.equal(good.verdict, 'ok', JSON.stringify(good));
  assert.match(good.found, /written, read, listed and removed/);
  const asked = s3.requests.map((line) => line.split(' ')[0]);
  // It is removed as a recording is: by a list of one.
  assert.deepEqual([...new Set(asked)].sort(), ['GET', 'POST', 'PUT'], s3.requests.join('\n'));
  assert.deepEqual(there(), [], 'nothing is left');

  const bad = async (said, helps, ...args) => {
    const begun = Date.now();
    const finding = await doctor(...args);
    assert.equal(finding.verdict, 'fail', JSON.stringify(finding));
    assert.match(finding.found, said);
    assert.match(finding.advice, helps);
    assert.ok(Date.now() - begun < 25_000, 'it ends in time');
    console.log(`# ${finding.found} → ${finding.advice}`);
  };
  await bad(/no such bucket/, /recording_s3_bucket/, '--recording-s3-bucket', 'elsewhere');
  await bad(/does not know the key nobody/, /recording_s3_access_key/, '--recording-s3-access-key', 'nobody');
  await bad(/signed with the key/, /recording_s3_secret_key/, '--recording-s3-secret-key', 'another');
  const nobody = createServer().listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port } = nobody.address();
  await new Promise((done) => nobody.close(done));
  await bad(/no connection/, /recording_s3_endpoint/, '--recording-s3-endpoint', `http://127.0.0.1:${port}`);
  try {
    // A clock that is wrong is a date that is: the gateway looks at it before it looks at the signature.
    s3.change = (headers) => {
      headers['x-amz-date'] = headers['x-amz-date'].replace(/^\d{4}/, (year) => year - 1);
    };
    await bad(/clock/, /NTP/);
    s3.change = () => {};
    s3.gate = (line) => line.startsWith('POST');
    await bad(/cannot have files removed.*lectern-doctor-.* is left in it/, /until then recordings stay on the disk/);
    assert.equal(there().length, 1);
    for (const name of there()) rmSync(s3.at(name));
    let release;
    s3.gate = () => new Promise((resolve) => (release = resolve));
    await bad(/no answer/, /firewall/);
    release(true);
  } finally {
    s3.change = () => {};
    s3.gate = () => false;
  }
  const readOnly = await S3.start({ readOnly: true });
  try {
    await bad(/cannot be written to: the key .* may not/, /s3:PutObject.*read-only/, ...readOnly.args);
  } finally {
    await readOnly.stop();
  }
});

/** A finished recording of a server that does not run, with one file of these bytes. */
function lay(server, id, file) {
  const folder = join(server.folder, 'data/recordings', id);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'v-1.webm'), file);
  writeFileSync(join(folder, 'timeline.ndjson'), '');
  const track = {
    ...{ track: 1, file: 'v-1.webm', participant: 'ada', name: 'Ada', source: 'screen', codec: 'vp8' },
    ...{ offsetMs: 0, durationMs: 60_000, bytes: file.length, clockFit: [] },
  };
  const manifest = {
    ...{ version: 1, id, room: 'knots', title: 'Knots', lesson: 'l', state: 'final' },
    ...{ began: '2026-11-21T09:00:00.000Z', durationMs: 60_000, tracks: [track], pauses: [] },
    ...{ timeline: 'timeline.ndjson', timelineBytes: 0 },
  };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  return folder;
}

test(
  'an upload survives kill -9 and a bucket that refuses, and the file is read from there',
  { timeout: 180_000 },
  async () => {
    const server = new Server({ args: s3.args });
    const file = randomBytes(3 * PART + 12_345);
    const folder = lay(server, 'long', file);
    const partOf = (line) => /v-1\.webm\?.*partNumber=(\d+)/.exec(line)?.[1];
    // Two parts get through; the third is held back until the server is dead.
    let release;
    const held = new Promise((resolve) => (release = resolve));
    s3.gate = (line) => (partOf(line) === '3' ? held : false);
    try {
      await server.up();
      await until('two parts are written down', () => {
        const stored = JSON.parse(readFileSync(join(folder, 'stored.json'), 'utf8'));
        return stored.sending?.parts.length === 2 && s3.requests.some((line) => partOf(line) === '3');
      });
      await server.kill();
      release(true);
      assert.ok(existsSync(join(folder, 'v-1.webm')) && !existsSync(s3.at('long/manifest.json')));

      // Nothing gets through for a while.
      s3.requests = [];
      s3.gate = () => true;
      await server.up();
      await until('it is counted', async () => {
        const metrics = await server.metrics();
        return (
          metrics.get('lectern_recording_uploads_total{result="failed"}') > 0 &&
          s3.requests.length > 3 &&
          metrics.get('lectern_recording_uploads_waiting') !== undefined
        );
      });
      assert.ok(existsSync(join(folder, 'v-1.webm')), 'what is not in the bucket stays');
      assert.equal((await api(server, '/long/files/v-1.webm', { headers: { range: 'bytes=0-9' } })).status, 206);
      s3.requests = [];
      s3.gate = () => false;
      await until('it has left the disk', () => !existsSync(join(folder, 'v-1.webm')), { within: 60_000 });
      const parts = s3.requests.map(partOf).filter(Boolean);
      assert.deepEqual([...new Set(parts)], ['3', '4'], 'what was there is not sent again');
      assert.ok(readFileSync(s3.at('long/v-1.webm')).equals(file));
      // The manifest comes last.
      const puts = s3.requests.filter((line) => /^(PUT|POST)/.test(line)).map((line) => line.replace(/\?.*/, ''));
      assert.match(puts.at(-1), /long\/manifest\.json$/);

      // Read in parts, from the bucket.
      const read = async (range) => {
        const response = await api(server, '/long/files/v-1.webm', { headers: range ? { range } : {} });
        return [response.status, response.headers.get('content-range'), Buffer.from(await response.arrayBuffer())];
      };
      const [whole, none, all] = await read();
      assert.deepEqual([whole, none, all.equals(file)], [200, null, true]);
      for (const [range, from, to] of [
        ['bytes=0-3', 0, 4],
        [`bytes=${PART - 5}-${PART + 4}`, PART - 5, PART + 5],
        ['bytes=-100', file.length - 100, file.length],
        [`bytes=${file.length - 7}-`, file.length - 7, file.length],
      ]) {
        const [status, of, part] = await read(range);
        assert.deepEqual([status, of], [206, `bytes ${from}-${to - 1}/${file.length}`]);
        assert.ok(part.equals(file.subarray(from, to)), range);
      }
      assert.deepEqual((await read(`bytes=${file.length}-`)).slice(0, 2), [416, `bytes */${file.length}`]);
      s3.gate = (line) => line.startsWith('GET');
      assert.equal((await api(server, '/long/files/v-1.webm')).status, 503);
      s3.gate = () => false;

      // The list comes from the bucket when the disk is lost.
      await server.kill();
      rmSync(join(server.folder, 'data/recordings'), { recursive: true });
      for (const name of readdirSync(join(server.folder, 'data')).filter((name) => name.startsWith('recordings.db')))
        rmSync(join(server.folder, 'data', name));
      await server.up();
      const [found] = await until('it is listed again', async () => {
        const listed = await list(server);
        return listed.length === 1 && listed;
      });
      assert.deepEqual([found.id, found.room, found.bytes], ['long', 'knots', file.length]);
      assert.ok((await read('bytes=5-9'))[2].equals(file.subarray(5, 10)));

      // Removed: gone here at once and there soon, with a tombstone first; also when the server dies in between.
      s3.requests = [];
      s3.gate = (line) => line.startsWith('DELETE') || line.includes('tombstones');
      assert.equal((await api(server, '/long', { method: 'DELETE' })).status, 204);
      assert.deepEqual(await list(server), []);
      await until('the bucket is asked', () => s3.requests.length > 0);
      await server.kill();
      assert.ok(existsSync(s3.at('long/v-1.webm')));
      s3.requests = [];
      s3.gate = () => false;
      await server.up();
      await until('it is gone from the bucket', () => !existsSync(s3.at('long/manifest.json')));
      assert.equal(JSON.parse(readFileSync(s3.at('tombstones/long.json'), 'utf8')).id, 'long');
      const writes = s3.requests.filter((line) => /^(PUT|DELETE)/.test(line));
      assert.match(writes[0], /PUT .*tombstones\/long\.json/);
      assert.deepEqual(await list(server), []);
    } finally {
      s3.gate = () => false;
      release(true);
      if (server.running) await server.stop();
      else rmSync(server.folder, { recursive: true, force: true });
    }
  },
);

test('a class is watched from the bucket, also where it is sought', { timeout: 180_000 }, async () => {
  const world = await World.start({ args: s3.args });
  try {
    const room = world.room('bucket');
    const lab = await world.lab();
    await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'lecture', title: 'Knots' });
    await lab.call('ada', 'record', 'start');
    const { id } = await until('it is recorded', async () => (await lab.report('ada')).state.recording);
    await sleep(12_000);
    await lab.call('ada', 'record', 'stop');
    await until('it is in the bucket alone', () => {
      const here = readdirSync(join(world.server.folder, 'data/recordings', id));
      return existsSync(s3.at(`${id}/manifest.json`)) && !here.some((name) => /\.(webm|mkv)$/.test(name));
    });
    await lab.close();
    const { url } = await (await api(world.server, `/${id}/links`, { method: 'POST' })).json();
    const page = await newPage(world.browser);
    await page.goto(url);
    await page.getByRole('heading', { name: 'Knots' }).waitFor();
    const picture = () =>
      page.evaluate(() => {
        const video = [...document.querySelectorAll('video')].find(({ videoWidth }) => videoWidth > 0);
        return video && { seconds: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames };
      });
    await page.keyboard.press('Space');
    await until('the picture plays', async () => (await picture())?.frames > 10);
    // Ten seconds on, and back.
    await page.keyboard.press('l');
    await until('it plays from there', async () => (await picture())?.seconds > 8);
    await page.keyboard.press('j');
    const back = await until('it plays from before', async () => {
      const now = await picture();
      return now?.seconds < 6 && now;
    });
    await until('it goes on', async () => (await picture())?.frames > back.frames + 10);
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  } finally {
    await world.stop();
  }
});
