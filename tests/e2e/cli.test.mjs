// The program itself: its arguments, its errors, its beginning and its end.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { lectern, Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const folder = () => mkdtempSync(join(tmpdir(), 'lectern-cli-'));
const fails = async (args, env) => {
  try {
    const { stdout } = await lectern(args, env);
    throw Object.assign(new Error(`succeeded: ${stdout}`), { unexpected: true });
  } catch (error) {
    if (error.unexpected) throw error;
    return { code: error.code, text: error.stderr };
  }
};

test('lectern token prints the token and nothing else, and it opens the door', { timeout: 30_000 }, async () => {
  const server = await Server.start();
  try {
    const claims = [
      '--room',
      'cli',
      '--identity',
      'ada',
      '--name',
      'Ada L.',
      '--role',
      'teacher',
      '--title',
      'Engines',
    ];
    const { stdout } = await lectern(['token', ...claims], { LECTERN_TOKEN_SECRET: server.secret });
    const token = stdout.trimEnd();
    assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    assert.equal(stdout, `${token}\n`);
    const socket = io(server.url, { auth: { token }, reconnection: false, transports: ['websocket'] });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
    const { data } = await socket.timeout(5000).emitWithAck('join', { version: 1 });
    assert.equal(data.participant, 'ada');
    assert.equal(data.role, 'teacher');
    assert.equal(data.state.settings.title, 'Engines');
    socket.disconnect();
  } finally {
    await server.stop();
  }
});

test('a wrong value is an error that names the key and where it came from', { timeout: 30_000 }, async () => {
  const data = folder();
  for (const [args, env, pattern] of [
    [['--http-listen', 'nonsense'], {}, /http.listen/i],
    [['--workers', '0'], {}, /workers/i],
    [[], { LECTERN_UDP_PORT: 'many' }, /udp.port/i],
    [['--token-secret', 'short'], {}, /token.secret/i],
    [['--no-such-flag'], {}, /no-such-flag/],
  ]) {
    const { code, text } = await fails(['serve', '--data-dir', data, ...args], env);
    assert.ok(code > 0, `${args} ${JSON.stringify(env)}`);
    assert.match(text, pattern);
    assert.doesNotMatch(text, /panicked|RUST_BACKTRACE/);
  }
  const { text } = await fails([
    'token',
    '--room',
    '../x',
    '--identity',
    'a',
    '--name',
    'a',
    '--role',
    'student',
    '--data-dir',
    data,
  ]);
  assert.match(text, /room/i);
  rmSync(data, { recursive: true, force: true });
});

test('a port in use is said plainly', { timeout: 30_000 }, async () => {
  const taken = createServer();
  await new Promise((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const data = folder();
  const { port } = taken.address();
  const { code, text } = await fails([
    'serve',
    '--http-listen',
    `127.0.0.1:${port}`,
    '--udp-port',
    '0',
    '--data-dir',
    data,
  ]);
  assert.ok(code > 0);
  assert.match(text, new RegExp(String(port)));
  assert.doesNotMatch(text, /panicked/);
  taken.close();
  rmSync(data, { recursive: true, force: true });
});

test('secrets that nobody set are made once, for the owner alone, and kept', { timeout: 30_000 }, async () => {
  const data = folder();
  const env = { LECTERN_TOKEN_SECRET: undefined };
  const args = ['token', '--room', 'r', '--identity', 'a', '--name', 'A', '--role', 'student', '--data-dir', data];
  await lectern(args, env);
  const file = join(data, 'secrets.toml');
  const kept = readFileSync(file, 'utf8');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await lectern(args, env);
  assert.equal(readFileSync(file, 'utf8'), kept);
  rmSync(data, { recursive: true, force: true });
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal}: participants are told, the process ends with 0`, { timeout: 30_000 }, async () => {
    const server = await Server.start();
    const token = await server.token({ room: 'end', identity: 'ada', role: 'teacher' });
    const socket = io(server.url, { auth: { token }, reconnection: false, transports: ['websocket'] });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
    await socket.timeout(5000).emitWithAck('join', { version: 1 });
    let told;
    socket.on('ended', ({ reason }) => (told = reason));
    process.kill(server.pid, signal);
    await until('the participant is told', () => told);
    assert.equal(told, 'shutdown');
    await until('the process is gone', () => !server.running, { within: 12_000 });
    await server.stop();
    socket.disconnect();
  });
}
