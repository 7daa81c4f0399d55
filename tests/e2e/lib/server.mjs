// The real server, started as its own process on free ports with its own data folder.
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { signToken } from './jwt.mjs';
import { until } from './until.mjs';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const binary = process.env.LECTERN_BINARY ?? join(root, 'target/debug/lectern');

export class Server {
  #child;
  #exited;
  log = '';
  url;

  constructor(options = {}) {
    this.options = options;
    this.secret = randomBytes(32).toString('hex');
    this.apiKey = randomBytes(24).toString('hex');
    this.folder = mkdtempSync(join(tmpdir(), 'lectern-e2e-'));
  }

  static async start(options = {}) {
    const server = new Server(options);
    try {
      await server.up();
    } catch (error) {
      await server.kill();
      throw error;
    }
    return server;
  }

  /** Starts the process; again after `kill`, on the same data and the same HTTP port. */
  async up() {
    const ready = this.readyFile;
    rmSync(ready, { force: true });
    const listen = this.url ? new URL(this.url).host : `${this.options.host ?? '127.0.0.1'}:${this.options.port ?? 0}`;
    const args = [
      'serve',
      ...['--http-listen', listen],
      ...['--udp-port', '0'],
      ...['--ready-file', ready],
      ...['--data-dir', join(this.folder, 'data')],
      ...['--api-key', this.apiKey],
      ...['--token-secret', this.secret],
      ...(this.options.publicIp ?? ['127.0.0.1']).flatMap((ip) => ['--public-ip', ip]),
      ...(this.options.args ?? []),
    ];
    this.#child = spawn(binary, args, {
      cwd: this.folder,
      env: {
        ...process.env,
        NO_COLOR: '1',
        RUST_BACKTRACE: '1',
        ...this.options.env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const child = this.#child;
    const keep = (chunk) => {
      this.log += chunk;
      if (process.env.LECTERN_E2E_LOG) process.stderr.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    this.#exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    const text = await until('the server says that it is ready', () => {
      if (child.exitCode !== null)
        throw Object.assign(new Error(`the server ended with ${child.exitCode}:\n${this.log}`));
      return readFileSync(ready, 'utf8').trim();
    });
    this.url = readyUrl(text, this.options.tls ? 'https' : 'http');
    // One that waits for its certificate answers nobody.
    if (this.options.answers !== false)
      await until('the server answers', async () => (await fetch(`${this.url}/readyz`)).ok);
    return this;
  }

  /** JSON with the addresses that the server listens on. */
  get readyFile() {
    return join(this.folder, 'ready');
  }

  get pid() {
    return this.#child.pid;
  }

  get running() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** A token from the API, as an operator's backend would ask for it. */
  async token({ room, identity, name = identity, role = 'student', ...rest }) {
    const response = await fetch(`${this.url}/api/tokens`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.apiKey}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ room, identity, name, role, ...rest }),
    });
    if (response.status !== 201) throw new Error(`POST /api/tokens: ${response.status} ${await response.text()}`);
    return (await response.json()).token;
  }

  /** The link that a person opens. */
  async link(claims) {
    return `${this.url}/room/${claims.room}#token=${await this.token(claims)}`;
  }

  /** A token with any claims, signed with the server's secret. */
  forge(claims, header) {
    const exp = Math.floor(Date.now() / 1000) + 3600;
    return signToken(this.secret, { aud: 'lectern', exp, ...claims }, header);
  }

  /** Values of /metrics by name with labels as they stand there. */
  async metrics() {
    const text = await (await fetch(`${this.url}/metrics`)).text();
    const values = new Map();
    for (const line of text.split('\n')) {
      const match = /^([^#\s]\S*(?:\{.*\})?)\s+(\S+)/.exec(line);
      if (match) values.set(match[1], Number(match[2]));
    }
    return values;
  }

  /** A room as the API tells of it. */
  async rooms(name) {
    const headers = { authorization: `Bearer ${this.apiKey}` };
    const { rooms } = await (await fetch(`${this.url}/api/rooms`, { headers })).json();
    return rooms.find(({ room }) => room === name);
  }

  /** CPU seconds used so far, user and system, by all threads. */
  cpuSeconds() {
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
      .replace(/^.*\)\s/, '')
      .split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  /** Resident memory in bytes. */
  residentBytes() {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]) * 1024;
  }

  /** kill -9, as a power cut does. */
  async kill() {
    if (this.#child && this.running) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** SIGTERM: the server must drain and end with 0, and must not have panicked since it started. */
  async stop() {
    try {
      if (this.running) this.#child.kill('SIGTERM');
      const timeout = setTimeout(() => this.#child.kill('SIGKILL'), 15_000);
      const { code, signal } = await this.#exited;
      clearTimeout(timeout);
      if (/panicked at/.test(this.log)) throw new Error(`the server panicked:\n${this.log}`);
      if (code !== 0) throw new Error(`the server ended with ${signal ?? code}:\n${this.log.slice(-4000)}`);
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

function readyUrl(text, scheme) {
  try {
    const told = JSON.parse(text);
    return /^https?:/.test(told.http) ? told.http.replace(/\/$/, '') : `${scheme}://${told.http}`;
  } catch (error) {
    throw new Error(`the ready file is not JSON with "http": ${text}`, {
      cause: error,
    });
  }
}

/** Runs `lectern ARGS…` to its end, in a folder of its own. */
export async function lectern(args, env = {}) {
  const cwd = mkdtempSync(join(tmpdir(), 'lectern-e2e-'));
  try {
    return await promisify(execFile)(binary, args, {
      cwd,
      env: { ...process.env, ...env },
    });
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}
