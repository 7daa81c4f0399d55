// A bucket by the real protocol of S3: versitygw on a folder, behind a door of the test's own that counts, refuses and holds back.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './server.mjs';
import { until } from './until.mjs';

const program = process.env.VERSITYGW ?? join(root, '.tools/bin/versitygw');
const [ACCESS, SECRET, BUCKET] = ['lectern-tests', 'a key that only the tests know', 'school'];

/** What is passed on in one piece with its head. */
const AT_ONCE_BYTES = 64 * 1024;

export class S3 {
  #child;
  #door;
  #exited;
  /** What was asked for, as `PUT /school/…?query`. */
  requests = [];
  /** Called with each of them before it is passed on: true refuses it, a promise holds it back. */
  gate = () => false;
  /** Called with the headers of each before it is passed on, which it may change. */
  change = () => {};
  log = '';

  /** With `readOnly`, nobody may write. */
  static async start({ readOnly = false } = {}) {
    const s3 = new S3();
    s3.folder = mkdtempSync(join(tmpdir(), 'lectern-s3-'));
    for (const name of ['root', `root/${BUCKET}`, 'meta']) mkdirSync(join(s3.folder, name));
    const socket = join(s3.folder, 'socket');
    const keys = ['--access', ACCESS, '--secret', SECRET];
    s3.#child = spawn(
      program,
      [
        ...keys,
        '--port',
        socket,
        ...(readOnly ? ['--readonly'] : []),
        'posix',
        '--sidecar',
        join(s3.folder, 'meta'),
        join(s3.folder, 'root'),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const keep = (chunk) => (s3.log += chunk);
    s3.#child.stdout.setEncoding('utf8').on('data', keep);
    s3.#child.stderr.setEncoding('utf8').on('data', keep);
    s3.#exited = once(s3.#child, 'exit');
    s3.#door = createServer((incoming, answer) => void s3.#pass(socket, incoming, answer));
    s3.#door.listen(0, '127.0.0.1');
    await once(s3.#door, 'listening');
    s3.endpoint = `http://127.0.0.1:${s3.#door.address().port}`;
    await until('the bucket answers', async () => {
      if (s3.#child.exitCode !== null) throw new Error(`versitygw ended:\n${s3.log}`);
      return (await fetch(s3.endpoint)).status < 500;
    });
    s3.requests = [];
    return s3;
  }

  /** Settings of a server that keeps its recordings here. */
  get args() {
    return Object.entries({
      'recording-store': 's3',
      'recording-s3-bucket': BUCKET,
      'recording-s3-endpoint': this.endpoint,
      'recording-s3-access-key': ACCESS,
      'recording-s3-secret-key': SECRET,
      'recording-s3-prefix': 'class/rooms',
      'recording-local-days': '0',
    }).flatMap(([name, value]) => [`--${name}`, value]);
  }

  /** Where a file of the bucket is on this disk. */
  at(path) {
    return join(this.folder, 'root', BUCKET, 'class/rooms', path);
  }

  async #pass(socket, incoming, answer) {
    const { method, url, headers } = incoming;
    const line = `${method} ${url}`;
    this.requests.push(line);
    incoming.on('error', () => {});
    answer.on('error', () => {});
    if (await this.gate(line)) {
      incoming.resume();
      answer.writeHead(503).end();
      return;
    }
    this.change(headers);
    const onward = ask({ socketPath: socket, method, path: url, headers, agent: false }, (found) => {
      answer.writeHead(found.statusCode, found.headers);
      found.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    if (Number(headers['content-length'] ?? 0) > AT_ONCE_BYTES) {
      incoming.pipe(onward);
      return;
    }
    // The gateway may refuse by the head alone and close: what is still being sent then would break off, and its answer be lost with it.
    const pieces = [];
    incoming.on('data', (piece) => pieces.push(piece));
    incoming.on('end', () => onward.end(Buffer.concat(pieces)));
    incoming.on('close', () => incoming.complete || onward.destroy());
  }

  async stop() {
    this.#door.closeAllConnections();
    this.#door.close();
    this.#child.kill();
    await this.#exited;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
