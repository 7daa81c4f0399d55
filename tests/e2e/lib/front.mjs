// A reverse proxy before the server. It adds the lab (a page without user interface, see lab/) under /lab/, so that the lab
// has the server's origin; and it can cut the signalling: the connections end and no new one comes through, while media,
// which goes over UDP, does not notice.
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { root } from './server.mjs';

const e2e = fileURLToPath(new URL('..', import.meta.url));
const folders = {
  '/lab/client/': join(root, 'web/packages/client/dist/'),
  '/lab/socket.io/': join(e2e, 'node_modules/socket.io-client/dist/'),
  '/lab/': join(e2e, 'lab/'),
};
const types = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.map': 'application/json',
};

/** With the port that stands for itself. */
function addressOf(url) {
  const { protocol, hostname, port } = new URL(url);
  return { protocol, hostname, port: port || (protocol === 'https:' ? 443 : 80) };
}

export class Front {
  #http;
  #sockets = new Set();
  #cut = false;
  /** Connections upgraded to WebSocket so far. */
  upgrades = 0;

  constructor(server) {
    this.server = server;
  }

  static async start(server, host = '127.0.0.1') {
    const front = new Front(server);
    await front.#listen(host);
    return front;
  }

  async #listen(host) {
    this.#http = createServer((incoming, outgoing) => this.#handle(incoming, outgoing));
    this.#http.on('upgrade', (incoming, socket, head) => this.#upgrade(incoming, socket, head));
    this.#http.on('connection', (socket) => {
      if (this.#cut) return socket.destroy();
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    await new Promise((resolve) => this.#http.listen(0, host, resolve));
    this.url = `http://${host}:${this.#http.address().port}`;
  }

  #handle(incoming, outgoing) {
    const path = new URL(incoming.url, 'http://front').pathname;
    const prefix = Object.keys(folders).find((start) => path.startsWith(start));
    if (prefix) {
      const file = normalize(path.slice(prefix.length) || 'index.html');
      try {
        if (file.startsWith('..')) throw new Error('outside');
        const body = readFileSync(join(folders[prefix], file));
        outgoing.writeHead(200, {
          'content-type': types[extname(file)] ?? 'application/octet-stream',
          'cache-control': 'no-store',
        });
        outgoing.end(body);
      } catch {
        outgoing.writeHead(404).end();
      }
      return;
    }
    const { protocol, hostname, port } = addressOf(this.server.url);
    const passed = (protocol === 'https:' ? requestTls : request)(
      {
        hostname,
        port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
        agent: false,
      },
      (response) => {
        outgoing.writeHead(response.statusCode, response.headers);
        response.pipe(outgoing);
      },
    );
    passed.on('error', () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()));
    incoming.pipe(passed);
  }

  #upgrade(incoming, socket, head) {
    this.upgrades += 1;
    const { protocol, hostname, port } = addressOf(this.server.url);
    const upstream = (protocol === 'https:' ? connectTls : connect)(Number(port), hostname, () => {
      const headers = [];
      for (let i = 0; i < incoming.rawHeaders.length; i += 2)
        headers.push(`${incoming.rawHeaders[i]}: ${incoming.rawHeaders[i + 1]}`);
      upstream.write(`${incoming.method} ${incoming.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
      upstream.write(head);
      upstream.pipe(socket);
      socket.pipe(upstream);
    });
    const end = () => {
      upstream.destroy();
      socket.destroy();
    };
    upstream.on('error', end).on('close', end);
    socket.on('error', end).on('close', end);
  }

  /** Ends every connection and lets none through until `restore`. */
  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  restore() {
    this.#cut = false;
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}
