// A bad network for one page: the seeded link of the simulated world (tests/sim/src/link.rs) between a real browser and the
// real server. The page finds the proxy (tests/load/src/proxy) instead of the server in the answer to its offer.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './server.mjs';

const program = process.env.LECTERN_UDP_PROXY ?? join(root, 'target/debug/udp-proxy');

/** For servers whose media goes through a network: one worker, thus one port, and neither relay nor TCP as a way around. */
export const ONE_PORT = ['--workers', '1', '--turn-port', '0', '--ice-tcp=false'];

export class Network {
  #child;
  #exited;
  #lines;
  #log = '';
  port;

  /**
   * `up` and `down` are links, from the page and to it: `{delayMs, jitterMs, loss: 0..1, burstLength, bitsPerSecond, queueMs, …}`, all
   * fields in tests/load/src/proxy/link.rs. Pages that share a network share its rate.
   */
  static async start(server, { up = {}, down = {}, seed = 1 } = {}) {
    const { udp } = JSON.parse(readFileSync(server.readyFile, 'utf8'));
    const ports = [udp].flat();
    if (ports.length !== 1) throw new Error(`a network needs a server with ONE_PORT, not ${ports.join(', ')}`);
    const network = new Network();
    const port = ports[0].split(':').at(-1);
    const links = ['--up', JSON.stringify(up), '--down', JSON.stringify(down), '--seed', String(seed)];
    network.#child = spawn(program, ['--to', `127.0.0.1:${port}`, ...links], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    network.#exited = new Promise((resolve) => network.#child.once('close', resolve).once('error', resolve));
    network.#child.stderr.setEncoding('utf8').on('data', (chunk) => (network.#log += chunk));
    network.#child.stdin.on('error', () => {}); // it has ended; the answer that does not come says so
    network.#lines = createInterface({ input: network.#child.stdout })[Symbol.asyncIterator]();
    network.port = (await network.#read()).port;
    return network;
  }

  async #read() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${program} ended: ${this.#log || (await this.#exited)}`);
    const said = JSON.parse(value);
    if (said.error) throw new Error(`${program}: ${said.error}`);
    return said;
  }

  /** Other links from now on; `{up}` or `{down}` alone leaves the other way as it is. Gives the counters until now. */
  async change(links) {
    this.#child.stdin.write(`${JSON.stringify(links)}\n`);
    return this.#read();
  }

  /** `{up: {sent, bytes, lost, overflowed, duplicated}, down: {…}, clients, failed}` since the start. */
  counters() {
    return this.change({});
  }

  /**
   * Sends this page's media through the network; to be called before the page is opened. With `tcp` connections go around it, to the
   * server itself.
   */
  async carries(page, { tcp = false } = {}) {
    await page.addInitScript(
      ([port, tcp]) => {
        const real = RTCPeerConnection.prototype.setRemoteDescription;
        RTCPeerConnection.prototype.setRemoteDescription = function (description, ...rest) {
          // RFC 8839, 5.1: foundation, component, transport, priority, address, port. Without TCP there is no way around.
          let sdp = description.sdp.replace(/^(a=candidate:\S+ \d+ udp \d+ \S+) \d+ /gim, `$1 ${port} `);
          if (!tcp) sdp = sdp.replace(/^a=candidate:\S+ \d+ tcp .*\r\n/gim, '');
          return real.call(this, { type: description.type, sdp }, ...rest);
        };
      },
      [this.port, tcp],
    );
  }

  async stop() {
    this.#child.stdin.end();
    await this.#exited;
  }
}
