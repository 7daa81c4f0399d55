// coturn's own client of TURN, and the peer that it wants.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';

/** Sends back all that comes. */
export class Echo {
  #socket;

  static async start() {
    const echo = new Echo();
    echo.#socket = createSocket('udp4');
    echo.#socket.on('message', (message, { port, address }) => echo.#socket.send(message, port, address));
    await new Promise((resolve) => echo.#socket.bind(0, '127.0.0.1', resolve));
    return echo;
  }

  get port() {
    return this.#socket.address().port;
  }

  stop() {
    this.#socket.close();
  }
}

/** coturn's client, to its end. */
export async function uclient(...args) {
  const child = spawn('turnutils_uclient', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  const timer = setTimeout(() => child.kill(), 40_000);
  const code = await new Promise((resolve, reject) => child.once('exit', resolve).once('error', reject));
  clearTimeout(timer);
  return { code, said };
}
