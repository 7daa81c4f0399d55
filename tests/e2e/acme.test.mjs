// A certificate for a public name from a real authority (pebble): got on the one port, used by real Chromium, renewed while a class
// goes on, and kept over a restart.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { Classroom } from './lib/classroom.mjs';
import { Authority, freePort } from './lib/pebble.mjs';
import { lectern, Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

// Of this file alone: the harness asks by address. What must be vouched for is looked at with `shown`.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.removeAllListeners('warning');

const NAME = 'class.test';
/** Renewed after 30 s. */
const LIFE_SECONDS = 45;

let folder;
let port;
let authority;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lectern-acme-'));
  port = await freePort();
  // Nobody listens at the second name's address.
  const names = { [NAME]: '127.0.0.1', 'www.class.test': '127.0.0.1', 'elsewhere.test': '127.0.0.99' };
  authority = await Authority.start(folder, { names, tlsPort: port, lifeSeconds: LIFE_SECONDS });
});
after(() => {
  if (process.env.LECTERN_E2E_LOG) console.error(authority?.log);
  authority?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A handshake with the server under a name, with nobody trusted but the authority. */
function shown(name = NAME, { protocols = ['http/1.1'], trust = true } = {}) {
  return new Promise((resolve, reject) => {
    const socket = connect(
      {
        host: '127.0.0.1',
        port,
        servername: name,
        ca: authority.root,
        rejectUnauthorized: trust,
        ALPNProtocols: protocols,
      },
      () => {
        resolve(socket.getPeerX509Certificate());
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}

test('a class on a public name, whose certificate is got, renewed and kept', { timeout: 180_000 }, async () => {
  const world = await World.start({
    tls: true,
    port,
    args: ['--one-port', ...authority.settings(NAME, 'www.class.test')],
    chromium: { args: [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`, authority.known] },
  });
  try {
    const first = await shown();
    assert.deepEqual(first.subjectAltName.split(', ').sort(), [`DNS:${NAME}`, 'DNS:www.class.test']);
    assert.equal((await shown('www.class.test')).serialNumber, first.serialNumber);
    await assert.rejects(shown('other.test'), /does not match certificate/, 'this is a strict look');
    // The question is over, so nobody gets its answer.
    await assert.rejects(shown(NAME, { protocols: ['acme-tls/1'], trust: false }));

    const data = join(world.server.folder, 'data');
    const kept = readdirSync(data).filter((name) => name.startsWith('acme-'));
    assert.deepEqual(kept.sort(), ['acme-account.json', 'acme-certificate.json']);
    for (const name of kept) assert.equal(statSync(join(data, name)).mode & 0o777, 0o600, name);

    // Pages, signalling (wss) and media of two people come by the name.
    const opened = [];
    const enter = async (claims) => {
      const link = new URL(await world.server.link(claims));
      link.hostname = NAME;
      const person = await Classroom.open(world.browser, link.href);
      opened.push(person);
      await person.join();
      return person;
    };
    const room = world.room('acme');
    const ada = await enter({ room, identity: 'ada', name: 'Ada', role: 'teacher', preset: 'seminar' });
    const ben = await enter({ room, identity: 'ben', name: 'Ben' });
    await Promise.all([ada.sees('Ben'), ben.sees('Ada')]);

    // A new one takes its place while they go on.
    const renewed = await until(
      'the certificate is renewed',
      async () => {
        const now = await shown();
        return now.serialNumber !== first.serialNumber && now;
      },
      { within: 60_000, every: 500 },
    );
    assert.ok(new Date(renewed.validTo) > new Date(first.validTo));
    assert.ok(new Date() < new Date(first.validTo), 'before the old one was over');
    await ben.say('Still here');
    await ada.reads('Still here');
    await Promise.all([ada.sees('Ben'), ben.sees('Ada')]);
    assert.deepEqual(
      opened.flatMap((person) => person.page.troubles),
      [],
    );
    for (const person of opened) await person.close();

    // Without the authority, the server comes back with what it has.
    assert.equal(authority.log.split('accounts in memory').length - 1, 1, 'one account for all');
    const before = JSON.parse(readFileSync(join(data, 'acme-certificate.json'), 'utf8')).chain;
    const orders = authority.log.split('Added order').length;
    await world.server.kill();
    await world.server.up();
    const again = await shown();
    assert.equal(authority.log.split('Added order').length, orders, 'nobody was asked');
    assert.equal(again.serialNumber, renewed.serialNumber);
    assert.equal(JSON.parse(readFileSync(join(data, 'acme-certificate.json'), 'utf8')).chain, before);
  } finally {
    await world.stop();
  }
});

test('no certificate: the log and the doctor say why, and what helps', { timeout: 60_000 }, async () => {
  const settings = authority.settings('elsewhere.test');
  const server = await Server.start({ tls: true, port, args: ['--one-port', ...settings], answers: false });
  try {
    await until('the log has it', () => /no certificate could be got/.test(server.log), { within: 20_000 });
    const line = server.log.split('\n').find((text) => text.includes('no certificate could be got'));
    assert.match(line, /elsewhere\.test/);
    assert.match(line, /Failed to connect to 127\.0\.0\.99/);
    assert.match(line, /TCP port 443/, line);
    const data = ['--data-dir', join(server.folder, 'data')];
    const doctor = async (...args) => {
      const all = ['doctor', '--json', '--one-port', '--http-listen', `127.0.0.1:${port}`, ...data, ...args];
      const { stdout } = await lectern(all).catch((error) => error);
      return JSON.parse(stdout).findings;
    };
    const found = (await doctor(...settings)).filter(({ verdict }) => verdict === 'fail');
    const said = found.find(({ subject }) => subject === 'certificate');
    assert.match(said?.found ?? JSON.stringify(found), /none could be got .*elsewhere\.test/);
    assert.match(said.advice, /must lead to this machine/);
    assert.ok(
      found.some(({ subject, found }) => subject === 'elsewhere.test' && /leads nowhere/.test(found)),
      JSON.stringify(found),
    );
    const both = await doctor(...settings, '--tls-self-signed');
    assert.ok(
      both.some(({ verdict, found }) => verdict === 'fail' && found.startsWith('acme_domains: tls_self_signed is set')),
      JSON.stringify(both),
    );
  } finally {
    await server.stop();
  }
});
