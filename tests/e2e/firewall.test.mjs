// Firewalls as schools and companies have them, and real Chromium behind them: the browser is in a network namespace of its own, which
// reaches the server's by one cable, with a firewall (nftables) on the browser's side; or by a router in a third, with a NAT.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { certificate } from './lib/certificate.mjs';
import { executable, launchChromium } from './lib/chromium.mjs';
import { Lab } from './lib/lab.mjs';
import { looks } from './lib/looks.mjs';
import { picture, stillMs } from './lib/measure.mjs';
import { meet } from './lib/meet.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

// TEST-NET-3 (RFC 5737) stands for the internet: Chromium sends nothing to 443 of a private address.
const SERVER = '203.0.113.1';
const BROWSER = '203.0.113.2';
const ELSEWHERE = '203.0.113.3';
// TEST-NET-2, for the router of a home.
const ROUTER = '198.51.100.2';
const inside = process.env.LECTERN_E2E_NAMESPACE === 'yes';
/** The browser itself, whatever a test puts before it. */
const CHROMIUM = inside && executable(['chromium', 'chromium-browser', 'google-chrome'], process.env.CHROMIUM);
const enter = process.getuid() === 0 ? ['unshare', '--net'] : ['unshare', '--map-root-user', '--net'];
// The folder of administrators' programs is not on everybody's path.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** Runs a program to its end; what it said. */
function run(program, args, options = {}) {
  const ran = spawnSync(program, args, { encoding: 'utf8', env, ...options });
  assert.equal(ran.status, 0, `${program} ${args.join(' ')}: ${ran.error?.message ?? ran.stderr}`);
  return ran.stdout;
}

/** A network of its own, for as long as it is open. */
class Space {
  #holder;

  static async open() {
    const space = new Space();
    space.#holder = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
    const own = run('readlink', ['/proc/self/ns/net']);
    await until('the namespace is there', () => run('readlink', [`/proc/${space.pid}/ns/net`]) !== own);
    space.run('ip', ['link', 'set', 'lo', 'up']);
    return space;
  }

  get pid() {
    return this.#holder.pid;
  }

  run(program, args, options) {
    return run('nsenter', ['--target', String(this.pid), '--net', program, ...args], options);
  }

  set(name, value) {
    this.run('sh', ['-c', `echo ${value} >/proc/sys/net/${name}`]);
  }

  /** An end of a cable, with its address. */
  plug(end, address) {
    this.run('ip', ['addr', 'add', `${address}/24`, 'dev', end]);
    this.run('ip', ['link', 'set', end, 'up']);
  }

  /** Browsers that start from now on are in this network. */
  use(folder) {
    const wrapper = join(folder, `chromium-${this.pid}`);
    const enter = `nsenter --target ${this.pid} --net ${CHROMIUM}`;
    writeFileSync(wrapper, `#!/bin/sh\nexec ${enter} "$@"\n`, { mode: 0o755 });
    process.env.CHROMIUM = wrapper;
  }

  /**
   * Until nothing of it changes by itself any more: Chromium breaks off what it loads (`ERR_NETWORK_CHANGED`) when a cable comes up or an address
   * passes its check for a duplicate (RFC 4862, section 5.4), seconds after it was given.
   */
  async settled() {
    await until('cables and addresses are up', () => {
      const links = JSON.parse(this.run('ip', ['-json', 'addr'])).filter(({ ifname }) => ifname !== 'lo');
      // A kernel may put tunnels there that are never set up.
      const cables = links.filter(({ flags }) => flags.includes('UP'));
      const rises = (link) => link.operstate !== 'UP' || link.addr_info.some(({ tentative }) => tentative);
      return cables.length > 0 && !cables.some(rises);
    });
  }

  /** Rules of nftables, instead of those before. */
  filter(...tables) {
    this.run('nft', ['-f', '-'], { input: `flush ruleset\n${tables.join('\n')}\n` });
  }

  close() {
    this.#holder?.kill();
  }
}

/** A cable between the server's network and another; gives the other's end its name and address. */
function cable(name, address, space, end, endAddress) {
  run('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', end, 'netns', String(space.pid)]);
  run('ip', ['addr', 'add', `${address}/24`, 'dev', name]);
  run('ip', ['link', 'set', name, 'up']);
  space.plug(end, endAddress);
  space.run('ip', ['route', 'add', 'default', 'via', address]);
}

/** The browser's side of the cable. */
class Site {
  #space;
  #folder;

  static async start(folder) {
    const site = new Site();
    site.#folder = folder;
    site.#space = await Space.open();
    cable('server', SERVER, site.#space, 'site', BROWSER);
    site.#space.set('netfilter/nf_conntrack_acct', 1);
    // An address that goes does not take the others of its network along.
    site.#space.set('ipv4/conf/all/promote_secondaries', 1);
    await site.#space.settled();
    return site;
  }

  run(program, args, options) {
    return this.#space.run(program, args, options);
  }

  /** Browsers start here, and rules for what leaves, instead of those before. */
  firewall(...rules) {
    this.#space.use(this.#folder);
    this.#space.filter(`table inet firewall {
        chain out {
          type filter hook output priority 0; policy accept;
          ${rules.join('\n          ')}
        }
      }`);
  }

  stop() {
    this.#space?.close();
  }
}

/**
 * A browser behind a router with a symmetric NAT: each destination sees another port, at which nobody else gets in (RFC 4787: address and
 * port-dependent mapping and filtering).
 */
class Home {
  #router;
  #inside;
  #folder;

  static async start(folder) {
    const home = new Home();
    home.#folder = folder;
    [home.#router, home.#inside] = [await Space.open(), await Space.open()];
    cable('home', '198.51.100.1', home.#router, 'outside', ROUTER);
    home.#router.set('ipv4/ip_forward', 1);
    const { pid } = home.#inside;
    home.#router.run('ip', ['link', 'add', 'inside', 'type', 'veth', 'peer', 'name', 'desk', 'netns', String(pid)]);
    home.#router.plug('inside', '10.7.0.1');
    home.#inside.plug('desk', '10.7.0.2');
    home.#inside.run('ip', ['route', 'add', 'default', 'via', '10.7.0.1']);
    await home.#inside.settled();
    await home.#router.settled();
    return home;
  }

  /** Browsers start here; rules for what goes out, instead of those before. */
  firewall(...rules) {
    this.#inside.use(this.#folder);
    this.#router.filter(
      `table ip nat {
        chain post {
          type nat hook postrouting priority srcnat;
          oifname "outside" masquerade random,fully-random
        }
      }`,
      `table inet firewall {
        chain through {
          type filter hook forward priority 0; policy accept;
          ct state established,related accept
          iifname "outside" drop
          ${rules.join('\n          ')}
        }
      }`,
    );
  }

  /** The ports at which two sockets of the server see one socket of the browser's side. */
  async portsOfOne() {
    const seen = await Promise.all([0, 1].map(() => listen()));
    const script = `const socket = require('node:dgram').createSocket('udp4');
      let left = 2;
      for (const port of [${seen.map(({ port }) => port)}]) socket.send('x', port, '${SERVER}', () => --left || socket.close());`;
    this.#inside.run(process.execPath, ['-e', script]);
    const from = await Promise.all(seen.map(({ first }) => first));
    assert.deepEqual([...new Set(from.map(({ address }) => address))], [ROUTER]);
    return from.map(({ port }) => port);
  }

  stop() {
    this.#router?.close();
    this.#inside?.close();
  }
}

/** A socket of the server's, and who sends the first datagram to it. */
async function listen() {
  const socket = createSocket('udp4').bind(0, SERVER);
  const first = once(socket, 'message').then(([, from]) => {
    socket.close();
    return from;
  });
  await once(socket, 'listening');
  return { port: socket.address().port, first };
}

const NO_UDP = 'meta l4proto udp drop';
/** Nothing but port 443, and this one: of the front that stands for the site's pages in tests. */
const only443 = (front) => `tcp flags & (syn | ack) == syn tcp dport != { 443, ${front} } drop`;
/** What does not begin like TLS is no HTTPS, and is cut off. */
const ONLY_TLS = 'tcp dport 443 ct original packets <= 3 @ih,0,8 != 0x16 reject with tcp reset';

/** Why this machine cannot have such a firewall, if so. */
function unable() {
  const rules = `add table inet t; add chain inet t o { type filter hook output priority 0; }; add rule inet t o ${ONLY_TLS}`;
  const tried = spawnSync(enter[0], [...enter.slice(1), 'nft', rules], { encoding: 'utf8', env });
  return tried.status === 0 ? false : `no namespace with a firewall here: ${tried.error?.message ?? tried.stderr}`;
}

if (!inside) {
  test('behind firewalls, in networks of their own', { timeout: 330_000, skip: unable() }, () => {
    const there = { ...env, LECTERN_E2E_NAMESPACE: 'yes' };
    // Without this the inner runner would talk to the outer one instead of printing.
    delete there.NODE_TEST_CONTEXT;
    const script = 'ip link set lo up && exec "$0" --test --test-reporter=spec "$1"';
    const inner = spawnSync(
      enter[0],
      [...enter.slice(1), 'sh', '-c', script, process.execPath, fileURLToPath(import.meta.url)],
      { env: there, encoding: 'utf8', timeout: 320_000 },
    );
    console.log(inner.stdout);
    assert.equal(inner.status, 0, inner.stdout + inner.stderr);
    assert.match(inner.stdout, /pass [1-9]/);
  });
} else {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  process.removeAllListeners('warning');
  let folder;
  let pair;
  let site;
  let home;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lectern-firewall-'));
    pair = certificate(folder, { ip: SERVER });
    site = await Site.start(folder);
    home = await Home.start(folder);
  });
  after(() => {
    site?.stop();
    home?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  // The front has no HTTPS. Pages that are not secure may not ask for a camera, and to pages that have none Chromium gives no TCP.
  const secure = ({ front }) => `--unsafely-treat-insecure-origin-as-secure=${front.url}`;
  const at = (options) =>
    World.start({
      host: SERVER,
      publicIp: [SERVER],
      chromium: (world) => ({ args: [secure(world), pair.known] }),
      ...options,
    });
  const on443 = (...args) =>
    at({
      tls: true,
      port: 443,
      args: ['--one-port', '--tls-cert', pair.cert, '--tls-key', pair.key, ...args],
    });

  for (const [name, start, rules, way] of [
    ['nothing is blocked: media over UDP', () => at(), () => [], { protocol: 'udp', relayProtocol: undefined }],
    // Chromium looks for relays first and for TCP a moment later, if nothing has come up until then.
    ['UDP is blocked', () => at(), () => [NO_UDP], {}],
    [
      'UDP is blocked, and there is no relay: media over TCP',
      () => at({ args: ['--turn-port', '0'] }),
      () => [NO_UDP],
      { protocol: 'tcp', relayProtocol: undefined },
    ],
    [
      'only 443 is open, and there is no relay: media over TCP',
      () => on443('--turn-port', '0'),
      (front) => [NO_UDP, only443(front)],
      { protocol: 'tcp', relayProtocol: undefined },
    ],
    [
      'only 443 is open, and only for TLS: the relay over TLS',
      () => on443(),
      (front) => [NO_UDP, only443(front), ONLY_TLS],
      { candidateType: 'relay', relayProtocol: 'tls' },
    ],
  ]) {
    test(name, { timeout: 90_000 }, async () => {
      site.firewall();
      const world = await start();
      try {
        site.firewall(...rules(new URL(world.front.url).port));
        await meet(world, undefined, way);
      } finally {
        await world.stop();
      }
    });
  }

  for (const [name, rules, way] of [
    // The server has an address of its own, and answers whatever port it sees.
    ['a symmetric NAT: media over UDP all the same', () => [], { protocol: 'udp', relayProtocol: undefined }],
    [
      'a symmetric NAT that lets nothing out but pages and TURN: the relay over UDP',
      ({ front, turn }) => [`udp dport != ${turn} drop`, `tcp dport != ${front} drop`],
      { candidateType: 'relay', relayProtocol: 'udp' },
    ],
  ]) {
    test(name, { timeout: 90_000 }, async () => {
      home.firewall();
      const world = await at();
      try {
        const [one, other] = await home.portsOfOne();
        assert.notEqual(one, other, 'each destination sees another port');
        const { turn } = JSON.parse(readFileSync(world.server.readyFile, 'utf8'));
        const ports = { front: new URL(world.front.url).port, turn: turn.split(':').at(-1) };
        home.firewall(...rules(ports));
        await meet(world, undefined, way);
      } finally {
        await world.stop();
      }
    });
  }

  looks('another address, as from Wi-Fi to mobile: media is back by itself', { timeout: 90_000 }, async () => {
    site.firewall();
    const world = await at();
    // Whom nothing happens to.
    process.env.CHROMIUM = CHROMIUM;
    const elsewhere = await launchChromium({ args: [secure(world)] });
    try {
      const room = world.room('moves');
      const [desk, lab] = [await Lab.open(elsewhere, world.front), await world.lab()];
      await world.join(desk, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'tutoring' });
      await world.join(lab, { room, identity: 'ben', look: 2 });
      await Promise.all([desk.sees('ada', 'ben', 2, { frames: 20 }), lab.sees('ben', 'ada', 0, { frames: 20 })]);
      const gaps = [];
      for (const [from, to] of [
        [BROWSER, ELSEWHERE],
        [ELSEWHERE, BROWSER],
      ]) {
        await Promise.all([lab.do('measure', 'ben', 50), desk.do('measure', 'ada', 50)]);
        // First the new one: without any the route would go too.
        site.run('ip', ['addr', 'add', `${to}/24`, 'dev', 'site']);
        site.run('ip', ['addr', 'del', `${from}/24`, 'dev', 'site']);
        if (!site.run('ip', ['route']).includes('default')) site.run('ip', ['route', 'add', 'default', 'via', SERVER]);
        await sleep(1000);
        await lab.sees('ben', 'ada', 0, { frames: 20 });
        await desk.sees('ada', 'ben', 2, { frames: 20 });
        const [bens, adas] = await Promise.all([lab.do('measured', 'ben'), desk.do('measured', 'ada')]);
        gaps.push(stillMs(picture(bens, 'ada')), stillMs(picture(adas, 'ben')));
      }
      console.log(`# another address: ${gaps.join(', ')} ms without a picture, down and up`);
      // Chromium itself learns of another address after 2.1 s (web/packages/client/src/fresh.ts).
      assert.ok(Math.max(...gaps) < 2000, `${gaps} ms`);
      const { participants } = await world.server.rooms(room);
      assert.deepEqual(participants.map(({ identity }) => identity).sort(), ['ada', 'ben'], 'nobody is there twice');
      const came = (await desk.do('events', 'ada')).filter(({ kind }) =>
        ['joined', 'left', 'unpublished'].includes(kind),
      );
      assert.deepEqual(
        came.map(({ kind, participant }) => `${participant} ${kind}`),
        ['ben joined'],
        'nobody went',
      );
    } finally {
      await elsewhere.close();
      await world.stop();
    }
  });
}
