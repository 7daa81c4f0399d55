// Webhooks: a real receiver on loopback gets every event, signed, in order and at least once, however it fails and however the server ends.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as path } from 'node:path';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { certificate } from './lib/certificate.mjs';
import { isGenuine, Receiver, SECRET } from './lib/receiver.mjs';
import { Server, lectern } from './lib/server.mjs';
import { until } from './lib/until.mjs';

let receiver, other, server;
const sockets = [];
const folder = mkdtempSync(path(tmpdir(), 'lectern-webhooks-'));
before(async () => {
  const tls = certificate(folder);
  // The other speaks HTTPS, with a certificate that this system knows.
  [receiver, other] = [await Receiver.start(), await Receiver.start(tls)];
  const urls = [receiver, other].flatMap(({ url }) => ['--webhook-url', url]);
  server = await Server.start({ args: [...urls, '--webhook-secret', SECRET], env: { SSL_CERT_FILE: tls.cert } });
});
after(async () => {
  for (const socket of sockets) socket.disconnect();
  await server?.stop();
  await receiver?.down();
  await other?.down();
  rmSync(folder, { recursive: true, force: true });
});

let rooms = 0;
const newRoom = () => `hooks-${(rooms += 1)}`;

async function join(room, identity, role = 'student') {
  const token = await server.token({ room, identity, name: `${identity} 李`, role, preset: 'seminar', title: 'Knots' });
  const socket = io(server.url, { auth: { token }, reconnection: false, forceNew: true, transports: ['websocket'] });
  sockets.push(socket);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  socket.request = async (event, payload = {}) => {
    const answer = await socket.timeout(10_000).emitWithAck(event, payload);
    assert.ok(!answer.error, `${event}: ${JSON.stringify(answer)}`);
    return answer.data;
  };
  socket.joined = await socket.request('join', { version: 1 });
  return socket;
}

const of = (room, from = receiver) => from.events.filter((event) => event.room === room);
const kinds = (room, from) => of(room, from).map(({ type }) => type);
const got = (room, type, from) =>
  until(`${type} of ${room} is told`, () => of(room, from).find((event) => event.type === type), { within: 45_000 });

async function stream(query = '', token = server.apiKey) {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${server.url}/api/events${query}`, { headers });
  return { status: response.status, ...(await response.json()) };
}

/** Each event came once (but for `repeats`), in order, without a gap, and as the stream has it. */
async function assertWhole(from, { repeats = 0 } = {}) {
  const { events, last } = await stream('?limit=1000');
  await until('all is delivered', () => from.events.some(({ seq }) => seq === last), { within: 45_000 });
  const taken = from.events.filter(({ seq }) => seq <= last);
  const numbers = taken.map(({ seq }) => seq);
  assert.deepEqual(
    [...numbers].sort((a, b) => a - b),
    numbers,
    'in order',
  );
  assert.deepEqual(
    [...new Set(numbers)],
    events.map(({ seq }) => seq),
  );
  assert.ok(numbers.length - events.length <= repeats, `${numbers.length - events.length} came twice`);
  for (const event of taken)
    assert.deepEqual(
      event,
      events.find(({ seq }) => seq === event.seq),
    );
  assert.deepEqual(from.forged, []);
}

test('a lesson and its recording are told to each receiver, signed and in order', { timeout: 90_000 }, async () => {
  const room = newRoom();
  const teacher = await join(room, 'ada', 'teacher');
  const student = await join(room, 'ben');
  await teacher.request('record', { action: 'start' });
  await teacher.request('record', { action: 'pause' });
  await teacher.request('record', { action: 'resume' });
  await teacher.request('record', { action: 'stop' });
  await student.request('leave');
  const ready = await got(room, 'recording.ready');
  const { data } = ready;
  const headers = { authorization: `Bearer ${server.apiKey}` };
  assert.equal((await fetch(`${server.url}/api/recordings/${data.recording}`, { headers })).status, 200);
  assert.equal(data.isWhole, true);
  const removed = await fetch(`${server.url}/api/recordings/${data.recording}`, { method: 'DELETE', headers });
  assert.equal(removed.status, 204);
  await teacher.request('end');
  await got(room, 'room.ended');
  await got(room, 'recording.deleted');

  const events = of(room);
  // Whether a recording is ready before somebody leaves is the disk's matter.
  const lesson = kinds(room).filter((type) => type !== 'recording.ready' && type !== 'recording.deleted');
  assert.deepEqual(lesson, [
    'room.opened',
    'participant.joined',
    'participant.joined',
    'recording.started',
    'recording.paused',
    'recording.resumed',
    'recording.stopped',
    'participant.left',
    'room.ended',
  ]);
  const recordings = events.filter(({ type }) => type.startsWith('recording.'));
  assert.ok(recordings.every((event) => event.data.recording === data.recording));
  assert.equal(new Set(events.map(({ lesson }) => lesson)).size, 1);
  const [opened, joined] = events;
  assert.deepEqual(opened.data, { title: 'Knots', preset: 'seminar' });
  assert.deepEqual(joined.data, { identity: 'ada', name: 'ada 李', role: 'teacher' });
  assert.match(opened.at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.match(opened.id, /^[0-9a-f]{16}-\d+$/);
  const { headers: sent, path: asked } = receiver.taken[0];
  assert.equal(asked, '/hooks?school=1');
  assert.equal(sent['content-type'], 'application/json');
  assert.match(sent['user-agent'], /^Lectern\//);
  assert.equal(isGenuine('x'.repeat(32), sent['lectern-signature'], Buffer.from('{}')), false);

  await assertWhole(receiver);
  await assertWhole(other);
  assert.equal(receiver.connections, 1, 'one connection is enough');
});

test(
  'errors, redirects, resets and silence are tried again; the other receiver does not wait',
  { timeout: 120_000 },
  async () => {
    const room = newRoom();
    const troubles = [500, 302, 'reset', 'hang'];
    receiver.behave = () => troubles.shift();
    const before = (await server.metrics()).get('lectern_webhook_deliveries_total{result="failed"}') ?? 0;
    const teacher = await join(room, 'ada', 'teacher');
    // The class goes on, and the other receiver hears of it, while this one fails.
    await got(room, 'participant.joined', other);
    assert.deepEqual(of(room), []);
    await until('the backlog shows', async () => {
      const metrics = await server.metrics();
      return (
        metrics.get('lectern_webhook_backlog_events{receiver="1"}') === 2 &&
        metrics.get('lectern_webhook_backlog_events{receiver="2"}') === 0 &&
        metrics.get('lectern_webhook_oldest_timestamp_seconds{receiver="1"}') > Date.now() / 1000 - 60
      );
    });
    await teacher.request('end');
    await got(room, 'room.ended');
    assert.deepEqual(troubles, []);
    await assertWhole(receiver);
    const metrics = await server.metrics();
    assert.equal(
      metrics.get('lectern_webhook_deliveries_total{result="failed"}') - before,
      3,
      'a reset of a connection that was kept is tried again at once',
    );
    assert.equal(metrics.get('lectern_webhook_deliveries_total{result="retried"}'), 3);
    assert.equal(metrics.get('lectern_webhook_backlog_events{receiver="1"}'), 0);
    assert.equal(metrics.get('lectern_webhook_oldest_timestamp_seconds{receiver="1"}'), 0);
  },
);

test('a receiver that is away, and a server that is killed: no event is lost', { timeout: 120_000 }, async () => {
  const room = newRoom();
  await receiver.down();
  const teacher = await join(room, 'ada', 'teacher');
  await join(room, 'ben');
  await got(room, 'participant.joined', other);
  // Killed while one receiver is behind; what was acknowledged to the teacher is in the stream afterwards.
  await teacher.request('record', { action: 'start' });
  await until('there is something to be repaired', async () => {
    const headers = { authorization: `Bearer ${server.apiKey}` };
    const { recordings } = await (await fetch(`${server.url}/api/recordings?room=${room}`, { headers })).json();
    return recordings.length === 1;
  });
  await server.kill();
  await receiver.up();
  await server.up();
  assert.ok(
    (await stream('?limit=1000')).events.some(({ type, room: of }) => type === 'recording.started' && of === room),
  );
  const { data: stopped } = await got(room, 'recording.stopped');
  assert.equal(stopped.reason, 'interrupted');
  const { data: ready } = await got(room, 'recording.ready');
  assert.equal(ready.recording, stopped.recording);
  await assertWhole(receiver, { repeats: 1 });
  await assertWhole(other, { repeats: 1 });
});

test(
  'kill -9 again and again in the middle of deliveries: each event comes, in order',
  { timeout: 120_000 },
  async () => {
    const kills = 4;
    const rooms = [];
    for (let round = 0; round < kills; round += 1) {
      const room = newRoom();
      rooms.push(room);
      const before = receiver.events.length;
      await Promise.all(['ada', 'ben', 'cem', 'dee', 'eva'].map((identity) => join(room, identity, 'teacher')));
      // What was acknowledged is stored; it is being told, one by one, when the process dies.
      await until('some are told', () => receiver.events.length > before + round);
      await server.kill();
      await server.up();
    }
    await assertWhole(receiver, { repeats: 1 + kills });
    await assertWhole(other, { repeats: 1 + kills });
    for (const room of rooms)
      assert.equal(
        new Set(
          of(room)
            .filter(({ type }) => type === 'participant.joined')
            .map(({ id }) => id),
        ).size,
        5,
      );
  },
);

test('who was away catches up by the cursor, with the API key', { timeout: 60_000 }, async () => {
  const all = await stream('?limit=1000');
  assert.equal(all.status, 200);
  assert.equal(all.first, 1);
  assert.equal(all.last, all.events.at(-1).seq);
  const pages = [];
  for (let after = 0; ;) {
    const page = await stream(`?after=${after}&limit=4`);
    assert.ok(page.events.length <= 4);
    if (page.events.length === 0) break;
    pages.push(...page.events);
    after = page.next;
  }
  assert.deepEqual(pages, all.events);
  assert.deepEqual((await stream(`?after=${all.last}`)).events, []);
  for (const query of ['?limit=0', '?limit=1001', '?after=-1', '?before=3'])
    assert.equal((await stream(query)).error?.code, 'bad-request', query);
  assert.equal((await stream('', 'wrong')).status, 401);
});

test('settings that would not work are refused at the start', { timeout: 60_000 }, async () => {
  const refused = async (...args) => {
    const error = await lectern(['serve', '--http-listen', '127.0.0.1:0', ...args]).catch((error) => error);
    return error.stderr ?? '';
  };
  const secret = ['--webhook-secret', SECRET];
  assert.match(await refused('--webhook-url', 'https://school.example/hooks'), /webhook_secret: needed/);
  assert.match(await refused('--webhook-url', 'ftp://school.example/', ...secret), /webhook_url: .*http/);
  assert.match(await refused('--webhook-secret', 'short'), /webhook_secret: too short/);
  const withName = await refused('--webhook-url', 'https://ada:topsecret@school.example/', ...secret);
  assert.match(withName, /webhook_url: .*name and password/);
  assert.doesNotMatch(withName, /topsecret/);
});
