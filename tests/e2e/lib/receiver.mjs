// A school's system that takes webhooks: it tests each signature as docs/webhooks.md says, and fails as it is told to.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

export const SECRET = 'the-secret-of-the-webhooks-of-a-test';

/** Whether a body comes from who has the secret, and was sent less than five minutes ago. */
export function isGenuine(secret, header, body, now = Date.now()) {
  const parts = new Map(header.split(',').map((part) => part.split('=', 2)));
  const expected = createHmac('sha256', secret)
    .update(`${parts.get('t')}.`)
    .update(body)
    .digest();
  const given = Buffer.from(parts.get('v1') ?? '', 'hex');
  const isFresh = Math.abs(now / 1000 - Number(parts.get('t'))) < 300;
  return isFresh && given.length === expected.length && timingSafeEqual(given, expected);
}

export class Receiver {
  /** What came and was acknowledged, in order: `{event, headers}`. */
  taken = [];
  /** How many requests came, and how many connections. */
  requests = 0;
  connections = 0;
  /** Says what to do with a request: a status, `"hang"`, or `"reset"`; 204 when it gives nothing. */
  behave = () => undefined;
  forged = [];
  #server;
  #port = 0;
  #tls;

  /** Listens; with a certificate (`{cert, key}`, files) for HTTPS. */
  static async start(tls) {
    const receiver = new Receiver();
    receiver.#tls = tls && { cert: readFileSync(tls.cert), key: readFileSync(tls.key) };
    await receiver.up();
    return receiver;
  }

  /** Listens; again after `down` on the same port. */
  async up() {
    const take = (request, response) => this.#take(request, response);
    this.#server = this.#tls ? createTlsServer(this.#tls, take) : createServer(take);
    this.#server.on('connection', () => (this.connections += 1));
    await new Promise((resolve, reject) => {
      this.#server.once('error', reject).listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = this.#server.address().port;
  }

  /** Nobody answers at the port any more. */
  async down() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get url() {
    return `${this.#tls ? 'https' : 'http'}://127.0.0.1:${this.#port}/hooks?school=1`;
  }

  get events() {
    return this.taken.map(({ event }) => event);
  }

  #take(request, response) {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      this.requests += 1;
      const body = Buffer.concat(chunks);
      if (!isGenuine(SECRET, request.headers['lectern-signature'] ?? '', body)) this.forged.push(body.toString());
      const event = JSON.parse(body.toString());
      const behaviour = this.behave(event) ?? 204;
      if (behaviour === 'hang') return;
      if (behaviour === 'reset') return void request.socket.destroy();
      if (behaviour < 300) this.taken.push({ event, headers: request.headers, path: request.url });
      const location = behaviour >= 300 && behaviour < 400 ? { location: `${this.url}&moved=1` } : {};
      response.writeHead(behaviour, location).end('thanks');
    });
  }
}
