// An authority of the test's own: pebble, the small ACME server of Let's Encrypt's makers, with name service of its own.
import { spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { certificate } from './certificate.mjs';
import { root } from './server.mjs';
import { until } from './until.mjs';

const program = process.env.PEBBLE ?? join(root, '.tools/bin/pebble');

/** A port that is free now, TCP and UDP. */
export async function freePort() {
  for (;;) {
    const [tcp, udp] = [createServer(), createSocket('udp4')];
    tcp.listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const { port } = tcp.address();
    const free = await new Promise((resolve) => {
      udp.once('error', () => resolve(false)).bind(port, '127.0.0.1', () => resolve(true));
    });
    udp.close();
    tcp.close();
    await once(tcp, 'close');
    if (free) return port;
  }
}

/** The answer to a question (RFC 1035) for the A record of one of `names` (name: address); other names do not exist. */
function answer(question, names) {
  const labels = [];
  let at = 12;
  for (; question[at] !== 0; at += 1 + question[at])
    labels.push(question.toString('latin1', at + 1, at + 1 + question[at]));
  const ip = names[labels.join('.').toLowerCase()];
  const hasAddress = ip !== undefined && question.readUInt16BE(at + 1) === 1;
  const head = Buffer.alloc(12);
  question.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | (ip ? 0 : 3), 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(hasAddress ? 1 : 0, 6);
  const parts = [head, question.subarray(12, at + 5)];
  // The name again, A, IN, not to be kept, four bytes.
  if (hasAddress) parts.push(Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...ip.split('.').map(Number)]));
  return Buffer.concat(parts);
}

/** Name service over TCP, which is how pebble asks: each message behind its length (RFC 7766). */
async function nameServer(names) {
  const server = createServer((socket) => {
    let bytes = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      while (bytes.length >= 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        const end = 2 + bytes.readUInt16BE(0);
        const reply = answer(bytes.subarray(2, end), names);
        const length = Buffer.alloc(2);
        length.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([length, reply]));
        bytes = bytes.subarray(end);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

const get = async (url) => (await fetch(url)).text();

export class Authority {
  #child;
  #names;
  log = '';

  /** It comes to `tlsPort` where real ones come to 443, and its certificates live for `lifeSeconds`. */
  static async start(folder, { names, tlsPort, lifeSeconds }) {
    const authority = new Authority();
    // Its own HTTPS.
    const { cert, key } = certificate(folder, { name: 'localhost' });
    authority.caFile = cert;
    const [port, management] = [await freePort(), await freePort()];
    const config = join(folder, 'pebble.json');
    const pebble = {
      listenAddress: `127.0.0.1:${port}`,
      managementListenAddress: `127.0.0.1:${management}`,
      certificate: cert,
      privateKey: key,
      httpPort: 1,
      tlsPort,
      keyAlgorithm: 'ecdsa',
      retryAfter: { authz: 1, order: 1 },
      profiles: { default: { description: 'short', validityPeriod: lifeSeconds } },
    };
    writeFileSync(config, JSON.stringify({ pebble }));
    authority.#names = await nameServer(names);
    const dns = `127.0.0.1:${authority.#names.address().port}`;
    // It looks at each name for each order.
    const env = { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_AUTHZREUSE: '0' };
    authority.#child = spawn(program, ['-config', config, '-dnsserver', dns], { env });
    const keep = (chunk) => (authority.log += chunk);
    authority.#child.stdout.setEncoding('utf8').on('data', keep);
    authority.#child.stderr.setEncoding('utf8').on('data', keep);
    authority.#child.once('error', (error) => keep(`${program}: ${error.message}`));
    authority.directory = `https://localhost:${port}/dir`;
    const manage = `https://127.0.0.1:${management}`;
    try {
      authority.root = await until('pebble answers', () => get(`${manage}/roots/0`));
      authority.intermediate = await get(`${manage}/intermediates/0`);
    } catch (error) {
      authority.stop();
      throw new Error(`pebble does not run: ${authority.log}`, { cause: error });
    }
    return authority;
  }

  /** Settings of a server that gets its certificates here. */
  settings(...names) {
    return [
      ...names.flatMap((name) => ['--acme-domains', name]),
      ...['--acme-directory', this.directory, '--acme-ca-file', this.caFile, '--acme-email', 'ada@class.test'],
    ];
  }

  /** The argument that makes Chromium trust what it signs. */
  get known() {
    const { publicKey } = new X509Certificate(this.intermediate);
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    return `--ignore-certificate-errors-spki-list=${createHash('sha256').update(spki).digest('base64')}`;
  }

  stop() {
    this.#child?.kill('SIGKILL');
    this.#names?.close();
    this.#names = undefined;
  }
}
