// Strangers' clients: the official Socket.IO libraries for JavaScript and Python, written from docs/protocol.md alone.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join as join_ } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { root } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start({ browser: false })));
after(() => world?.stop());

/** A client of the official library that keeps what it is told. */
function connect(token, options = {}) {
  const socket = io(world.server.url, { auth: { token }, reconnection: false, forceNew: true, ...options });
  socket.lesson = [];
  socket.on('lesson', ({ events }) => socket.lesson.push(...events));
  socket.on('ended', ({ reason }) => (socket.endedBecause = reason));
  socket.request = (event, payload = {}) => socket.timeout(10_000).emitWithAck(event, payload);
  return socket;
}

const connected = (socket) =>
  new Promise((resolve, reject) => socket.once('connect', () => resolve(socket)).once('connect_error', reject));

async function join(room, identity, role = 'student', options = {}) {
  const socket = await connected(
    connect(await world.server.token({ room, identity, role, preset: 'seminar' }), options),
  );
  const answer = await socket.request('join', { version: 1 });
  assert.ok(answer.data, JSON.stringify(answer));
  return Object.assign(socket, { joined: answer.data });
}

for (const transports of [['websocket'], ['polling', 'websocket'], ['polling']]) {
  test(
    `official JavaScript client over ${transports.join(', then ')}: join, chat, resume, leave`,
    { timeout: 30_000 },
    async (t) => {
      const room = world.room('js');
      let teacher;
      try {
        teacher = await join(room, 'teacher', 'teacher', { transports });
      } catch (error) {
        // A server may offer WebSocket alone; then a client that wants only polling must get a clean error.
        if (transports.length === 1 && transports[0] === 'polling')
          return t.skip(`polling is not offered: ${error.message}`);
        throw error;
      }
      assert.equal(teacher.joined.version, 1);
      assert.equal(teacher.joined.participant, 'teacher');
      assert.equal(teacher.joined.role, 'teacher');
      assert.ok(teacher.joined.permissions.includes('give-floor'));
      assert.match(teacher.joined.serverTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.equal(teacher.joined.state.seq, teacher.joined.seq);

      const ben = await join(room, 'ben', 'student', { transports });
      const { data } = await ben.request('chat', { text: 'Grüezi 你好', nonce: 'n-1' });
      const again = await ben.request('chat', { text: 'Grüezi 你好', nonce: 'n-1' });
      assert.deepEqual(again.data, data, 'a repeat is acknowledged and not said twice');
      await until('the teacher reads it', () =>
        teacher.lesson.some((event) => event.kind === 'chat' && event.text === 'Grüezi 你好'),
      );
      assert.equal(teacher.lesson.filter((event) => event.kind === 'chat').length, 1);
      assert.equal(teacher.lesson.find((event) => event.kind === 'chat').by, 'ben');

      // The connection is lost; the session resumes on a new one by its number.
      const after = data.seq;
      ben.disconnect();
      await teacher.request('chat', { text: 'are you there?', nonce: 't-1' });
      const back = await connected(connect(await world.server.token({ room, identity: 'ben' }), { transports }));
      const resumed = await back.request('join', { version: 1, resume: { session: ben.joined.session, after } });
      assert.equal(resumed.data?.resumed, true, JSON.stringify(resumed));
      assert.deepEqual(
        resumed.data.events.map((event) => event.seq),
        resumed.data.events.map((_, i) => after + 1 + i),
      );
      assert.ok(resumed.data.events.some((event) => event.kind === 'chat' && event.text === 'are you there?'));
      assert.equal(teacher.lesson.filter((event) => event.kind === 'left').length, 0);

      assert.deepEqual((await back.request('leave')).data, {});
      await until('the teacher sees ben leave', () =>
        teacher.lesson.some((event) => event.kind === 'left' && event.participant === 'ben'),
      );
      const seqs = teacher.lesson.map((event) => event.seq);
      assert.deepEqual(
        seqs,
        seqs.map((_, i) => seqs[0] + i),
        'no gap and no repeat',
      );
      teacher.disconnect();
    },
  );
}

test('refused at the door: a code for each reason', { timeout: 30_000 }, async () => {
  const room = world.room('door');
  const claims = { room, identity: 'eve', name: 'Eve', role: 'teacher' };
  const past = Math.floor(Date.now() / 1000) - 120;
  const doors = [
    ['no token', undefined, 'unauthenticated'],
    ['nonsense', 'nonsense', 'unauthenticated'],
    ['expired', world.server.forge({ ...claims, exp: past }), 'token-expired'],
    ['exp as a string (CVE-2026-25537)', world.server.forge({ ...claims, exp: '9999999999' }), 'unauthenticated'],
    ['no exp', world.server.forge({ ...claims, exp: undefined }), 'unauthenticated'],
    ['alg none', world.server.forge(claims, { alg: 'none', typ: 'JWT' }), 'unauthenticated'],
    ['alg swapped', world.server.forge(claims, { alg: 'RS256', typ: 'JWT' }), 'unauthenticated'],
    ['wrong audience', world.server.forge({ ...claims, aud: 'elsewhere' }), 'unauthenticated'],
    ['no audience', world.server.forge({ ...claims, aud: undefined }), 'unauthenticated'],
    ['unknown role', world.server.forge({ ...claims, role: 'king' }), 'unauthenticated'],
    ['bad room', world.server.forge({ ...claims, room: '../etc' }), 'unauthenticated'],
  ];
  for (const [what, token, code] of doors) {
    await assert.rejects(connected(connect(token)), (error) => {
      assert.equal(error.message, code, what);
      return true;
    });
  }
});

test(
  'a bad token that names somebody else: the attacker fails, the victim stays (CVE-2022-41960)',
  { timeout: 30_000 },
  async () => {
    const room = world.room('victim');
    const victim = await join(room, 'victim', 'teacher');
    await assert.rejects(
      connected(connect(world.server.forge({ room, identity: 'victim', role: 'teacher', name: 'x', exp: 1 }))),
    );
    assert.ok((await victim.request('chat', { text: 'still here', nonce: 'v' })).data);
    victim.disconnect();
  },
);

test('typed errors', { timeout: 30_000 }, async () => {
  const room = world.room('errors');
  const waiting = await connected(connect(await world.server.token({ room, identity: 'early' })));
  assert.equal((await waiting.request('chat', { text: 'x', nonce: 'x' })).error.code, 'not-joined');
  assert.equal((await waiting.request('join', { version: 99 })).error.code, 'unsupported-version');
  assert.equal(
    (await waiting.request('join', { version: 1, resume: { session: 'no-such-session', after: 0 } })).error.code,
    'session-unknown',
  );
  assert.equal((await waiting.request('join', { version: 1, offer: 'v=0 nonsense' })).error.code, 'offer-refused');
  waiting.disconnect();

  const student = await join(room, 'student');
  assert.equal((await student.request('join', { version: 1 })).error.code, 'already-joined');
  for (const [event, payload] of [
    ['floor', { participant: 'student', granted: true }],
    ['mute-all', { source: 'microphone' }],
    ['remove', { participant: 'student' }],
    ['role', { participant: 'student', role: 'teacher' }],
    ['settings', { locked: true }],
    ['end', {}],
  ]) {
    assert.equal((await student.request(event, payload)).error?.code, 'forbidden', event);
  }
  for (const [event, payload] of [
    ['chat', { text: 5, nonce: 'x' }],
    ['chat', 'just text'],
    ['chat', null],
    ['chat', { text: { $ne: null }, nonce: 'x' }],
    ['mute', { source: 'nose', muted: true }],
    ['view', { pictures: 'all' }],
    ['publish', {}],
  ]) {
    assert.equal(
      (await student.request(event, payload)).error?.code,
      'bad-request',
      `${event} ${JSON.stringify(payload)}`,
    );
  }
  assert.equal((await student.request('chat', { text: 'x'.repeat(4097), nonce: 'long' })).error?.code, 'too-large');
  const burst = await Promise.all(
    Array.from({ length: 12 }, (_, i) => student.request('chat', { text: `${i}`, nonce: `burst-${i}` })),
  );
  assert.ok(
    burst.some((answer) => answer.error?.code === 'rate-limited'),
    JSON.stringify(burst),
  );
  assert.ok(burst[0].data || burst[1].data);
  student.disconnect();
});

test('what no library would send: the server closes or refuses, and lives', { timeout: 60_000 }, async () => {
  const { server } = world;
  const room = world.room('raw');
  const bystander = await join(room, 'bystander', 'teacher');
  const address = `${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`;
  const raw = async (...packets) => {
    const socket = new WebSocket(address);
    const said = [];
    const closed = new Promise((resolve) => socket.once('close', (code) => resolve({ code })));
    socket.on('error', () => {});
    socket.on('message', (data) => said.push(String(data)));
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    await until('the handshake', () => said.length > 0);
    for (const packet of packets) if (socket.readyState === WebSocket.OPEN) socket.send(packet);
    return { socket, said, closed };
  };
  const within = (promise, ms, what) =>
    Promise.race([
      promise,
      new Promise((_, reject) => setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms).unref()),
    ]);

  // HARDENING 19: over 256 KiB, closed before it is buffered.
  const large = await raw('x'.repeat(300 * 1024));
  const { code } = await within(large.closed, 5000, 'the large message closes the connection');
  assert.ok([1006, 1009].includes(code), `closed with ${code}`);

  // HARDENING 20: a binary event announced without its attachments.
  const token = await server.token({ room, identity: 'raw' });
  const owing = await raw(`40{"token":"${token}"}`);
  await until('the namespace opens', () => owing.said.some((packet) => packet.startsWith('40')));
  owing.socket.send('451-["chat",{"_placeholder":true,"num":0}]');
  await within(owing.closed, 10_000, 'the missing attachment closes the connection');

  // HARDENING 21 and 22: truncated, forged, duplicate.
  for (const packet of [
    '4',
    '42',
    '42[',
    '42[]',
    '42{}',
    '42[5]',
    '42["join"',
    '42["chat",{"_placeholder":true,"num":7}]',
    '49',
    '9',
    '40/other,',
    '40',
    '42["\ud800"]',
    '42["é',
    '4510000-["a"]',
    `42${'['.repeat(5000)}`,
  ]) {
    const one = await raw(`40{"token":"${token}"}`, packet);
    one.socket.terminate();
  }
  assert.ok((await bystander.request('chat', { text: 'still well', nonce: 'b' })).data);
  assert.ok(server.running);
  bystander.disconnect();
});

test('python-socketio: join, chat, resume, errors', { timeout: 60_000 }, async () => {
  const room = world.room('python');
  const tokens = {
    teacher: await world.server.token({ room, identity: 'teacher', role: 'teacher', preset: 'seminar' }),
    student: await world.server.token({ room, identity: 'student' }),
    expired: world.server.forge({ room, identity: 'late', name: 'Late', role: 'student', exp: 1 }),
  };
  const python = join_(root, '.venv/bin/python');
  const script = fileURLToPath(new URL('python/client.py', import.meta.url));
  const run = spawnSync(python, [script, world.server.url, JSON.stringify(tokens)], {
    encoding: 'utf8',
    timeout: 50_000,
  });
  assert.equal(run.status, 0, `${run.stdout}\n${run.stderr}`);
  assert.match(run.stdout, /python client: all passed/);
});
