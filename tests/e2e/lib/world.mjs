// What most tests need: a server, the front before it, a browser, and people with known looks.
import assert from 'node:assert/strict';
import { launchChromium } from './chromium.mjs';
import { Front } from './front.mjs';
import { Lab, LOOKS } from './lab.mjs';
import { Network } from './network.mjs';
import { Server } from './server.mjs';

export class World {
  #labs = [];
  #open = [];
  #networks = [];
  #rooms = 0;

  static async start({ browser = true, ...options } = {}) {
    const world = new World();
    world.host = options.host ?? '127.0.0.1';
    world.server = await Server.start(options);
    try {
      world.front = await Front.start(world.server, world.host);
      if (browser)
        world.browser = await launchChromium(
          typeof options.chromium === 'function' ? options.chromium(world) : options.chromium,
        );
    } catch (error) {
      await world.front?.stop();
      await world.server.kill();
      throw error;
    }
    return world;
  }

  /** A room nobody has used. */
  room(prefix = 'room') {
    this.#rooms += 1;
    return `${prefix}-${this.#rooms}`;
  }

  async lab(options) {
    const lab = await Lab.open(this.browser, this.front, options);
    this.#labs.push(lab);
    this.#open.push(lab);
    return lab;
  }

  /** Closes the pages that `lab` has opened since the last time, so that they do not work beside the next ones. */
  async closeLabs() {
    for (const lab of this.#open.splice(0)) await lab.close();
  }

  /** A network to open a lab in; the server must have been started with ONE_PORT. */
  async network(links) {
    const network = await Network.start(this.server, links);
    this.#networks.push(network);
    return network;
  }

  /** Joins `identity`, who looks and sounds like LOOKS[look], and stays known in `lab` by the identity. */
  async join(lab, { room, identity, look = 0, role = 'student', preset, title, name, ...options }) {
    const token = await this.server.token({ room, identity, role, preset, title, name });
    await lab.join(identity, { token, ...LOOKS[look], ...options });
    return identity;
  }

  /** Everything ends cleanly, and no page had an uncaught error. */
  async stop() {
    const troubles = this.#labs.flatMap((lab) => lab.page.troubles);
    await this.browser?.close();
    await this.front?.stop();
    await this.server.stop();
    for (const network of this.#networks) await network.stop();
    assert.deepEqual(troubles, []);
  }
}
