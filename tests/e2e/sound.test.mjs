// Redundant audio (RED, RFC 2198) as a real browser negotiates, sends and hears it.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { looks } from './lib/looks.mjs';
import { ONE_PORT } from './lib/network.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start({ args: ONE_PORT })));
after(() => world?.stop());

looks(
  'a microphone sends RED, a slot takes it, and the sound is whole',
  { timeout: 120_000, close: () => world.closeLabs() },
  async () => {
    const room = world.room('sound');
    // The listener loses one packet in twelve.
    const network = await world.network({ down: { delayMs: 20, loss: 0.08 } });
    const [left, right] = [await world.lab(), await world.lab({ network })];
    await world.join(left, {
      room,
      identity: 'ada',
      look: 0,
      role: 'teacher',
      preset: 'tutoring',
      sources: ['microphone'],
    });
    await world.join(right, { room, identity: 'ben', look: 2, sources: [] });
    await right.hearsTone('ben', 0);

    const { formats } = await left.do('soundFigures');
    const [microphone, screenSound, ...slots] = Object.values(formats);
    assert.deepEqual(microphone, ['red', 'opus']);
    assert.deepEqual(screenSound, ['opus', 'red']);
    for (const slot of slots) assert.deepEqual(slot, ['opus', 'red']);

    // Browsers do not count it (`fecPacketsReceived` stays 0), but a packet with a frame more has its size.
    const bytesAPacket = async () => {
      const one = await right.do('soundFigures');
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const two = await right.do('soundFigures');
      const packets = two.received - one.received;
      return packets > 25 ? (two.receivedBytes - one.receivedBytes) / packets : undefined;
    };
    const repeated = await until('redundancy reaches the listener', async () => {
      const bytes = await bytesAPacket();
      return bytes > 160 && bytes;
    });
    const lossy = await right.do('soundFigures');
    const heard = await until(
      'five seconds more of sound',
      async () => {
        const now = await right.do('soundFigures');
        return now.samples > lossy.samples + 5 * 48_000 && now;
      },
      { within: 30_000 },
    );
    const concealed = (heard.concealed - lossy.concealed) / (heard.samples - lossy.samples);
    assert.ok(concealed < 0.04, `${concealed} of the samples are made up, at 8 % loss`);

    await right.hearsTone('ben', 0);

    // On a clean network it goes: sound takes no more than it must.
    await network.change({ down: { delayMs: 20 } });
    await until(
      'redundancy ends on a clean network',
      async () => {
        const bytes = await bytesAPacket();
        return bytes < repeated / 1.5 && bytes;
      },
      { within: 40_000 },
    );

    const figures = await left.do('soundFigures');
    const bytes = figures.sentBytes / figures.sent;
    console.log(`microphone: ${bytes.toFixed(0)} bytes a packet; concealed ${(concealed * 100).toFixed(2)} %`);
    assert.ok(bytes > 120, `two frames in each packet: ${bytes} bytes`);
  },
);
