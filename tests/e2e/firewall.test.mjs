// Firewalls as schools and companies have them, and real Chromium behind them: the browser is in a network namespace of its own, which
// reaches the server's by one cable, with a firewall (nftables) on the browser's side.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { certificate } from './lib/certificate.mjs';
import { executable } from './lib/chromium.mjs';
import { picture, stillMs } from './lib/measure.mjs';
import { meet } from './lib/meet.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

// TEST-NET-3 (RFC 5737) stands for the internet: Chromium sends nothing to 443 of a private address.
const SERVER = '203.0.113.1';
const BROWSER = '203.0.113.2';
const ELSEWHERE = '203.0.113.3';
const inside = process.env.LECTERN_E2E_NAMESPACE === 'yes';
const enter = process.getuid() === 0 ? ['unshare', '--net'] : ['unshare', '--map-root-user', '--net'];
// The folder of administrators' programs is not on everybody's path.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** Runs a program to its end; what it said. */
function run(program, args, options = {}) {
  const ran = spawnSync(program, args, { encoding: 'utf8', env, ...options });
  assert.equal(ran.status, 0, `${program} ${args.join(' ')}: ${ran.error?.message ?? ran.stderr}`);
  return ran.stdout;
}

/** The browser's side of the cable. */
class Site {
  #holder;

  static async start(folder) {
    const site = new Site();
    site.#holder = spawn('unshare', ['--net', 'sleep', '600'], { stdio: 'ignore' });
    const { pid } = site.#holder;
    const own = run('readlink', ['/proc/self/ns/net']);
    await until('the namespace is there', () => run('readlink', [`/proc/${pid}/ns/net`]) !== own);
    run('ip', ['link', 'add', 'server', 'type', 'veth', 'peer', 'name', 'site', 'netns', String(pid)]);
    run('ip', ['addr', 'add', `${SERVER}/24`, 'dev', 'server']);
    run('ip', ['link', 'set', 'server', 'up']);
    site.run('ip', ['link', 'set', 'lo', 'up']);
    site.run('ip', ['addr', 'add', `${BROWSER}/24`, 'dev', 'site']);
    site.run('ip', ['link', 'set', 'site', 'up']);
    site.run('ip', ['route', 'add', 'default', 'via', SERVER]);
    site.run('sh', ['-c', 'echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct']);
    // An address that goes does not take the others of its network along.
    site.run('sh', ['-c', 'echo 1 >/proc/sys/net/ipv4/conf/all/promote_secondaries']);
    const browser = executable(['chromium', 'chromium-browser', 'google-chrome'], process.env.CHROMIUM);
    const wrapper = join(folder, 'chromium');
    writeFileSync(wrapper, `#!/bin/sh\nexec nsenter --target ${pid} --net ${browser} "$@"\n`, { mode: 0o755 });
    process.env.CHROMIUM = wrapper;
    return site;
  }

  run(program, args, options) {
    return run('nsenter', ['--target', String(this.#holder.pid), '--net', program, ...args], options);
  }

  /** Rules for what leaves, instead of those before. */
  firewall(...rules) {
    const input = `flush ruleset
      table inet firewall {
        chain out {
          type filter hook output priority 0; policy accept;
          ${rules.join('\n          ')}
        }
      }
    `;
    this.run('nft', ['-f', '-'], { input });
  }

  stop() {
    this.#holder?.kill();
  }
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
  test('behind firewalls, in networks of their own', { timeout: 240_000, skip: unable() }, () => {
    const there = { ...env, LECTERN_E2E_NAMESPACE: 'yes' };
    // Without this the inner runner would talk to the outer one instead of printing.
    delete there.NODE_TEST_CONTEXT;
    const script = 'ip link set lo up && exec "$0" --test --test-reporter=spec "$1"';
    const inner = spawnSync(
      enter[0],
      [...enter.slice(1), 'sh', '-c', script, process.execPath, fileURLToPath(import.meta.url)],
      { env: there, encoding: 'utf8', timeout: 230_000 },
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
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lectern-firewall-'));
    pair = certificate(folder, { ip: SERVER });
    site = await Site.start(folder);
  });
  after(() => {
    site?.stop();
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

  test('another address, as from Wi-Fi to mobile: media is back by itself', { timeout: 90_000 }, async () => {
    site.firewall();
    const world = await at();
    try {
      const room = world.room('moves');
      const [desk, lab] = [await world.lab(), await world.lab()];
      await world.join(desk, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'tutoring' });
      await world.join(lab, { room, identity: 'ben', look: 2 });
      await Promise.all([desk.sees('ada', 'ben', 2, { frames: 20 }), lab.sees('ben', 'ada', 0, { frames: 20 })]);
      const gaps = [];
      for (const [from, to] of [
        [BROWSER, ELSEWHERE],
        [ELSEWHERE, BROWSER],
      ]) {
        await lab.do('measure', 'ben', 50);
        // First the new one: without any the route would go too.
        site.run('ip', ['addr', 'add', `${to}/24`, 'dev', 'site']);
        site.run('ip', ['addr', 'del', `${from}/24`, 'dev', 'site']);
        if (!site.run('ip', ['route']).includes('default')) site.run('ip', ['route', 'add', 'default', 'via', SERVER]);
        await sleep(1000);
        await lab.sees('ben', 'ada', 0, { frames: 20 });
        await desk.sees('ada', 'ben', 2, { frames: 20 });
        gaps.push(stillMs(picture(await lab.do('measured', 'ben'), 'ada')));
      }
      console.log(`# another address: ${gaps.join(' and ')} ms without a picture`);
      assert.ok(Math.max(...gaps) < 7000, `${gaps} ms`);
      const { participants } = await world.server.rooms(room);
      assert.deepEqual(participants.map(({ identity }) => identity).sort(), ['ada', 'ben'], 'nobody is there twice');
    } finally {
      await world.stop();
    }
  });
}
