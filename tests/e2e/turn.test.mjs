// The relay inside the server, with real clients: Chromium that may use nothing else, and coturn's own client.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { meet } from './lib/meet.mjs';
import { relayOnly } from './lib/relay.mjs';
import { root } from './lib/server.mjs';
import { Echo, uclient } from './lib/turnutils.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const SECRET = 'a secret for every relay';

let world;
/** Somebody who answers all that comes. */
let echo;
before(async () => {
  world = await World.start({
    args: ['--turn-secret', SECRET, '--turn-allow-peers', '127.0.0.1'],
  });
  echo = await Echo.start();
});
after(async () => {
  echo?.stop();
  await world?.stop();
});

const turnPort = ({ readyFile }) => JSON.parse(readFileSync(readyFile, 'utf8')).turn.split(':').at(-1);

for (const transport of ['udp', 'tcp']) {
  test(`Chromium with nothing but the relay over ${transport}`, { timeout: 90_000 }, async () => {
    await meet(world, relayOnly(transport), {
      candidateType: 'relay',
      relayProtocol: transport,
    });
  });
}

test('an ICE restart and a resumed session get new credentials', { timeout: 90_000 }, async () => {
  const room = world.room('restart');
  const lab = await world.lab({ network: relayOnly('udp') });
  await world.join(lab, {
    room,
    identity: 'ada',
    look: 0,
    role: 'teacher',
    preset: 'tutoring',
  });
  await world.join(lab, { room, identity: 'ben', look: 2 });
  await lab.sees('ben', 'ada', 0);
  const usernames = async () => (await lab.do('iceServers')).map(([{ username }]) => username);
  const first = await usernames();
  assert.equal(new Set(first).size, 2, 'each has an own credential');
  await sleep(1100); // a credential has its end in seconds, and is another in the next
  world.front.cut();
  await until('the cut is noticed', async () => (await lab.report('ben')).connection.status === 'reconnecting');
  world.front.restore();
  await until('the sessions are resumed', async () => (await usernames()).every((name) => !first.includes(name)));
  await lab.sees('ben', 'ada', 0, { frames: 10 });
  const second = await usernames();
  await sleep(1100);
  // A change of network, as the page hears of it.
  await lab.evaluate("dispatchEvent(new Event('offline')), dispatchEvent(new Event('online'))");
  await until('ICE is restarted', async () => (await usernames()).every((name) => !second.includes(name)));
  await lab.sees('ben', 'ada', 0, { frames: 10 });
  assert.ok((await lab.do('ways')).every(({ candidateType }) => candidateType === 'relay'));
  await lab.close();
});

test(
  'a server whose public address leads nowhere is reached through the relay alone',
  { timeout: 90_000 },
  async () => {
    // TEST-NET-3 (RFC 5737) stands for the public side of a NAT that lets nothing but the relay's port through.
    const hidden = await World.start({
      publicIp: ['203.0.113.7'],
      args: ['--turn-host', '127.0.0.1'],
    });
    try {
      const room = hidden.room('hidden');
      const [left, right] = [await hidden.lab(), await hidden.lab()];
      await hidden.join(left, {
        room,
        identity: 'ada',
        look: 0,
        role: 'teacher',
        preset: 'tutoring',
      });
      await hidden.join(right, { room, identity: 'ben', look: 2 });
      await Promise.all([left.sees('ada', 'ben', 2, { frames: 20 }), right.sees('ben', 'ada', 0, { frames: 20 })]);
      for (const way of [...(await left.do('ways')), ...(await right.do('ways'))])
        assert.equal(way.candidateType, 'relay', JSON.stringify(way));
    } finally {
      await hidden.stop();
    }
  },
);

for (const [name, way] of [
  ['UDP, channels', []],
  ['UDP, indications', ['-s']],
  ['TCP, channels', ['-t']],
  ['TCP, indications', ['-t', '-s']],
]) {
  test(`turnutils_uclient over ${name}: nothing is lost`, { timeout: 60_000 }, async () => {
    const peer = ['-e', '127.0.0.1', '-r', String(echo.port)];
    const { code, said } = await uclient(
      ...[...way, ...peer, '-p', turnPort(world.server), '-u', 'somebody', '-W', SECRET],
      // Two clients, 40 messages each, without the port next to theirs that RTCP once had.
      ...['-m', '2', '-n', '40', '-l', '301', '-c', '127.0.0.1'],
    );
    assert.equal(code, 0, said);
    assert.match(said, /tot_send_msgs=80, tot_recv_msgs=80/, said);
    assert.match(said, /Total lost packets 0 /, said);
  });
}

/** coturn as `deploy/coturn` configures it, but for addresses and certificates that a test does not have. */
async function coturn(secret) {
  const folder = mkdtempSync(join(tmpdir(), 'lectern-coturn-'));
  const reserved = createSocket('udp4');
  const port = await new Promise((resolve) => reserved.bind(0, '127.0.0.1', () => resolve(reserved.address().port)));
  reserved.close();
  const text = readFileSync(join(root, 'deploy/coturn/turnserver.conf'), 'utf8')
    .replace('=SECRET', `=${secret}`)
    .replace('=MEDIA.NODE.ADDRESS', '=127.0.0.1')
    .replace(/^(listening-port)=.*$/m, `$1=${port}`)
    // Debian's version does not know these, and says so once for each.
    .replace(/^(cert|pkey|tls-listening-port|unauthorized-ratelimit.*|stateless-nonce|prometheus)\b.*$/gm, '');
  writeFileSync(join(folder, 'turnserver.conf'), text, { mode: 0o600 });
  const more = ['--no-tls', '--listening-ip', '127.0.0.1', '--relay-ip', '127.0.0.1', '--allow-loopback-peers'];
  const files = ['--pidfile', join(folder, 'pid'), '--userdb', join(folder, 'db'), '--cli-password', 'none'];
  const child = spawn('turnserver', ['-c', join(folder, 'turnserver.conf'), ...more, ...files]);
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  return {
    port,
    log: () => log,
    async stop() {
      child.kill();
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

test('coturn, configured as in deploy/, takes the credentials of the shared secret', { timeout: 90_000 }, async () => {
  const relay = await coturn(SECRET.replaceAll(' ', '-'));
  const urls = ['udp', 'tcp'].map((transport) => `turn:127.0.0.1:${relay.port}?transport=${transport}`);
  const secret = SECRET.replaceAll(' ', '-');
  const site = await World.start({
    args: ['--turn-secret', secret, '--turn-urls', urls.join(',')],
  });
  try {
    const room = site.room('coturn');
    for (const transport of ['udp', 'tcp']) {
      const lab = await site.lab({ network: relayOnly(transport) });
      await site.join(lab, {
        room,
        identity: `ada-${transport}`,
        look: 0,
        role: 'teacher',
        preset: 'tutoring',
      });
      await site.join(lab, { room, identity: `ben-${transport}`, look: 2 });
      await lab.sees(`ben-${transport}`, `ada-${transport}`, 0, {
        frames: 20,
      });
      for (const way of await lab.do('ways')) assert.equal(way.relayProtocol, transport, JSON.stringify(way));
      await lab.close();
    }
  } catch (error) {
    error.message += `\n${relay.log().slice(-3000)}`;
    throw error;
  } finally {
    await site.stop();
    await relay.stop();
  }
});

test('turnutils_uclient with a wrong secret is refused', { timeout: 60_000 }, async () => {
  const peer = ['-e', '127.0.0.1', '-r', String(echo.port)];
  const wrong = ['-u', 'somebody', '-W', 'not the secret of this relay'];
  const refused = async () =>
    (await world.server.metrics()).get('lectern_turn_refusals_total{reason="credentials"}') ?? 0;
  const before = await refused();
  const { said } = await uclient(...peer, '-p', turnPort(world.server), ...wrong, '-n', '1', '-c', '127.0.0.1');
  assert.match(said, /Cannot complete Allocation/, said);
  assert.ok((await refused()) > before);
});
