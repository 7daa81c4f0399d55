// Firefox and Chromium in one room, both ways. Firefox never uses 127.0.0.1 for media, so that all of it runs in a network
// namespace whose loopback has another address; without the right to make one, the machine's own address serves.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { networkInterfaces } from 'node:os';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sleep, until } from './lib/until.mjs';

const ADDRESS = '10.77.0.1';
const inside = process.env.LECTERN_E2E_NAMESPACE === 'yes';
const enter = process.getuid() === 0 ? ['unshare', '--net'] : ['unshare', '--map-root-user', '--net'];
const namespaces = inside || spawnSync(enter[0], [...enter.slice(1), 'true']).status === 0;

if (!inside && namespaces) {
  test('Firefox and Chromium in a network of their own', { timeout: 240_000 }, () => {
    // Without a default route Firefox finds no address of its own.
    const script = `ip link set lo up && ip addr add ${ADDRESS}/32 dev lo && ip route add default dev lo src ${ADDRESS} && exec "$0" --test --test-reporter=spec "$1"`;
    const env = { ...process.env, LECTERN_E2E_NAMESPACE: 'yes' };
    // Without this the inner runner would talk to the outer one instead of printing.
    delete env.NODE_TEST_CONTEXT;
    const run = spawnSync(
      enter[0],
      [...enter.slice(1), 'sh', '-c', script, process.execPath, fileURLToPath(import.meta.url)],
      { env, encoding: 'utf8', timeout: 230_000 },
    );
    console.log(run.stdout);
    assert.equal(run.status, 0, run.stdout + run.stderr);
    assert.match(run.stdout, /pass [1-9]/);
  });
} else {
  const { Firefox } = await import('./lib/firefox.mjs');
  const { World } = await import('./lib/world.mjs');
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((address) => address.family === 'IPv4' && !address.internal)?.address;
  let world;
  let firefox;
  before(async () => {
    const publicIp = inside ? ADDRESS : outside;
    assert.ok(publicIp, 'neither a network namespace nor an address of this machine: Firefox cannot be tested');
    world = await World.start({ publicIp: [publicIp] });
    firefox = await Firefox.launch();
  });
  after(async () => {
    await firefox?.stop();
    await world?.stop();
  });

  for (const codec of ['vp8', 'vp9']) {
    test(`Firefox and Chromium see and hear each other (${codec})`, { timeout: 90_000 }, async () => {
      const room = world.room(`firefox-${codec}`);
      const chromium = await world.lab();
      const fox = await firefox.openLab(world.front);
      await world.join(chromium, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar', codec });
      await world.join(fox, { room, identity: 'fox', look: 2, codec, device: true });
      await Promise.all([
        chromium.sees('ada', 'fox', 2, { frames: 20, within: 30_000 }),
        fox.sees('fox', 'ada', 0, { frames: 20, within: 30_000 }),
      ]);
      await chromium.hearsTone('ada', 2);
      // What Firefox hears is told by its own figures: energy comes in while Ada's tone is on, and no longer once she is muted.
      const heard = () => fox.do('audioEnergy');
      const start = await heard();
      await until('Firefox hears Ada', async () => (await heard()) > start + 0.01);
      await chromium.call('ada', 'mute', 'microphone');
      await until('and not when she is muted', async () => {
        const before = await heard();
        await sleep(500);
        return (await heard()) - before < 0.0001;
      });
      await fox.call('fox', 'leave');
      await chromium.call('ada', 'leave');
    });
  }
}
