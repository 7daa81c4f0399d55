// The program itself: its arguments, its errors, its beginning and its end.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { certificate } from './lib/certificate.mjs';
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

/** Runs `lectern doctor` and gives its exit code and its findings. */
const doctor = async (args, env) => {
  const all = ['doctor', '--json', '--udp-port', '0', '--public-ip', '127.0.0.1', ...args];
  const { stdout, code } = await lectern(all, env).catch((error) => error);
  const { findings } = JSON.parse(stdout);
  for (const { verdict, advice } of findings) assert.ok(verdict === 'ok' || advice, stdout);
  return {
    code: code ?? 0,
    failed: findings.filter(({ verdict }) => verdict === 'fail'),
    text: findings
      .map(({ verdict, subject, found, advice }) => `${verdict} ${subject}: ${found} ${advice ?? ''}`)
      .join('\n'),
  };
};
const LOOPBACK = ['--http-listen', '127.0.0.1:0'];

test('lectern doctor: a machine that can hold a class, for people and for programs', { timeout: 30_000 }, async () => {
  const place = folder();
  const data = join(place, 'not', 'there');
  const { code, failed, text } = await doctor([...LOOPBACK, '--data-dir', data]);
  assert.deepEqual([code, failed], [0, []], text);
  assert.match(text, /ok data folder: .* will be made at the first start/);
  assert.match(text, /warn reach: loopback alone/);
  assert.throws(() => statSync(data), { code: 'ENOENT' }, 'nothing is made');
  const { stdout } = await lectern(['doctor', ...LOOPBACK, '--udp-port', '0', '--data-dir', data]);
  assert.match(stdout, /^ok +settings .*\n(.*\n)*warn +relay +on a port that changes.*\n +→ set turn_port/);
  const nat = await doctor([...LOOPBACK, '--data-dir', data, '--public-ip', '203.0.113.7']);
  assert.match(nat.text, /203\.0\.113\.7 is not this machine's: a NAT must have it it must forward/);
  rmSync(place, { recursive: true, force: true });
});

test('lectern doctor: a server that runs, asked from inside and outside', { timeout: 30_000 }, async () => {
  const server = await Server.start();
  try {
    const settings = ['--http-listen', new URL(server.url).host, '--data-dir', join(server.folder, 'data')];
    const { code, text } = await doctor([...settings, '--url', server.url]);
    assert.equal(code, 0, text);
    assert.match(text, /ok TCP [\d.:]+: used, .* a server runs with this data folder/);
    assert.match(text, /ok running server: .* answers/);
    assert.match(text, /ok server: it takes participants/);
    assert.equal(await (await fetch(`${server.url}/healthz`)).status, 200, 'the server goes on');
    await server.kill();
    const gone = await doctor([...LOOPBACK, '--data-dir', join(server.folder, 'data'), '--url', server.url]);
    assert.equal(gone.code, 1);
    assert.match(gone.text, /fail server: no connection to 127\.0\.0\.1:\d+: .*refused.* whether the server runs/);
  } finally {
    await server.kill();
    rmSync(server.folder, { recursive: true, force: true });
  }
});

test('lectern doctor --url: HTTPS counts when somebody vouches for the certificate', { timeout: 30_000 }, async () => {
  const data = folder();
  const { cert, key } = certificate(data);
  const server = new Server({ tls: true, args: ['--tls-cert', cert, '--tls-key', key] });
  // For this test's own questions; the program decides for itself.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  try {
    await server.up();
    const url = `https://localhost:${new URL(server.url).port}`;
    const known = await doctor([...LOOPBACK, '--data-dir', data, '--url', url], { SSL_CERT_FILE: cert });
    assert.equal(known.code, 0, known.text);
    assert.match(known.text, /ok server: it takes participants/);
    const unknown = await doctor([...LOOPBACK, '--data-dir', data, '--url', url]);
    assert.equal(unknown.code, 1);
    assert.match(unknown.text, /fail server: no TLS with localhost:\d+: .*UnknownIssuer/);
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    await server.stop();
    rmSync(data, { recursive: true, force: true });
  }
});

test('lectern doctor: a taken port, a folder that cannot be, a wrong value', { timeout: 30_000 }, async () => {
  const taken = createServer();
  await new Promise((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const data = folder();
  const address = `127.0.0.1:${taken.address().port}`;
  const { code, failed, text } = await doctor(['--http-listen', address, '--data-dir', data]);
  assert.equal(code, 1);
  assert.deepEqual(
    failed.map(({ subject }) => subject),
    [`TCP ${address}`],
    text,
  );
  assert.match(text, /taken by another program.*--http-listen/);
  taken.close();

  const file = join(data, 'file');
  writeFileSync(file, '');
  const blocked = await doctor([...LOOPBACK, '--data-dir', join(file, 'data')]);
  assert.match(blocked.text, /fail data folder: .* is no folder .*--data-dir/);
  const wrong = await doctor([...LOOPBACK, '--workers', '0']);
  assert.equal(wrong.code, 1);
  assert.match(wrong.text, /fail settings: workers: 0 is not between/);
  rmSync(data, { recursive: true, force: true });
});

test(
  'lectern doctor: certificates that are broken, of another pair, or of another name',
  { timeout: 30_000 },
  async () => {
    const data = folder();
    const [good, other] = [
      certificate(data, { name: 'class.example.org' }),
      certificate(data, { name: 'other.example.org' }),
    ];
    const broken = join(data, 'broken.pem');
    writeFileSync(broken, 'not a certificate');
    const run = (cert, key, url = 'https://class.example.org') =>
      doctor([...LOOPBACK, '--data-dir', data, '--tls-cert', cert, '--tls-key', key, '--public-url', url]);
    const fine = await run(good.cert, good.key);
    assert.equal(fine.code, 0, fine.text);
    assert.match(fine.text, /ok certificate: readable, fits its key, (29|30) days left/);
    assert.match(fine.text, /ok certificate: good for class\.example\.org/);
    for (const [args, words] of [
      [[broken, good.key], /fail certificate: tls_cert: .*broken\.pem/],
      [[join(data, 'missing.pem'), good.key], /fail certificate: tls_cert: .*missing\.pem/],
      [[good.cert, other.key], /fail certificate: tls_key: /],
      [[good.cert, good.key, 'https://school.example.org'], /fail certificate: not good for school\.example\.org/],
    ]) {
      const { code, text } = await run(...args);
      assert.equal(code, 1, text);
      assert.match(text, words);
    }
    rmSync(data, { recursive: true, force: true });
  },
);

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
