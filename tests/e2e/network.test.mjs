// Real browsers on bad networks: their media goes through the seeded link of the simulated world (lib/network.mjs).
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { looks } from './lib/looks.mjs';
import { bitsPerSecond, framesPerSecond, freezes, picture, sizes, sound, soundGapMs, stillMs } from './lib/measure.mjs';
import { ONE_PORT } from './lib/network.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start({ args: ONE_PORT })));
after(() => world?.stop());

/** A camera whose picture costs something: three layers, about 1.2 Mbit/s at the top. */
const FILM = { width: 960, height: 540, framesPerSecond: 20 };

/** A teacher on a good network who sends, and students who look at the teacher in full size, each on a network of their own. */
async function classOf(prefix, networks) {
  const room = world.room(prefix);
  const desk = await world.lab();
  await world.join(desk, {
    room,
    identity: 'ada',
    role: 'teacher',
    preset: 'seminar',
    film: FILM,
    watch: false,
  });
  const students = [];
  for (const [index, links] of networks.entries()) {
    const network = await world.network({ seed: index + 1, ...links });
    const lab = await world.lab({ network });
    const identity = `student-${index}`;
    await world.join(lab, { room, identity, sources: [], viewWidth: FILM.width, viewHeight: FILM.height });
    students.push({ identity, lab, network, shows: (width) => shows(lab, identity, width) });
  }
  return { desk, students };
}

/** Waits until the teacher's picture has this width; gives how long that took. */
async function shows(lab, identity, wanted, within = 20_000) {
  const from = performance.now();
  let width;
  await until(
    `${identity} sees the teacher ${wanted} pixels wide`,
    async () => {
      const { streams } = await lab.do('figures');
      width = streams.find(
        ({ type, kind, bytesReceived }) => type === 'inbound-rtp' && kind === 'video' && bytesReceived > 0,
      )?.frameWidth;
      return width === wanted;
    },
    { within, every: 100 },
  );
  return performance.now() - from;
}

looks(
  '2 Mbit/s, 300 kbit/s and back: a smaller picture at once, sound without a gap, the large one again',
  { timeout: 90_000, close: () => world.closeLabs() },
  async () => {
    const rate = (bitsPerSecond) => ({ down: { bitsPerSecond, delayMs: 20 } });
    const room = await classOf('rate', [rate(2_000_000)]);
    const [{ lab, identity, network, shows }] = room.students;
    await shows(FILM.width);
    // Until the estimate has settled.
    await sleep(3000);
    await lab.do('measure', identity, 50);
    await network.change(rate(300_000));
    await sleep(8000);
    const slow = await lab.do('measured', identity);
    await lab.do('measure', identity, 50);
    await network.change(rate(2_000_000));
    await sleep(10_000);
    const fast = await lab.do('measured', identity);

    const down = sizes(picture(slow, 'ada'));
    const afterMs = (change) => Math.round(change.at - slow[0].at);
    const smaller = down.find(({ width }) => width < FILM.width);
    const up = sizes(picture(fast, 'ada'));
    const larger = up.find(({ width }) => width === FILM.width);
    const said = {
      down: down.map((change) => [afterMs(change), change.width]),
      up: up.map(({ at, width }) => [Math.round(at - fast[0].at), width]),
      gapMs: soundGapMs(sound(slow, 'ada')),
      slow: freezes(picture(slow, 'ada')),
      fast: freezes(picture(fast, 'ada')),
    };
    console.log(JSON.stringify(said));
    assert.ok(smaller && afterMs(smaller) <= 2000, `down within 2 s: ${JSON.stringify(said)}`);
    // The goal is 200 (docs/benchmarks.md, and held by tests/sim): the queue that builds before the first report of it. A busy machine's
    // report is late, and each 10 ms are 40 ms of queue.
    assert.ok(said.gapMs <= 400, `sound: ${JSON.stringify(said)}`);
    assert.ok(larger, `top layer back within 10 s: ${JSON.stringify(said)}`);
  },
);

looks(
  'one at 200 kbit/s changes nothing for another',
  { timeout: 90_000, close: () => world.closeLabs() },
  async () => {
    const room = await classOf('neighbour', [{ down: { delayMs: 20 } }, { down: { delayMs: 20 } }]);
    const [good, bad] = room.students;
    await good.shows(FILM.width);
    await bad.shows(FILM.width);
    const over = async (seconds) => {
      await good.lab.do('measure', good.identity, 100);
      await sleep(seconds * 1000);
      return picture(await good.lab.do('measured', good.identity), 'ada');
    };
    // Until the teacher's encoder has found its rate.
    await sleep(6000);
    const before = await over(5);
    await bad.network.change({ down: { bitsPerSecond: 200_000, delayMs: 20 } });
    const beside = await over(8);
    const said = {
      before: bitsPerSecond(before),
      beside: bitsPerSecond(beside),
      freezes: freezes(beside),
      sizes: sizes(beside),
    };
    console.log(JSON.stringify(said));
    // The other one has really come down.
    const smaller = ({ type, kind, frameWidth }) =>
      type === 'inbound-rtp' && kind === 'video' && frameWidth < FILM.width;
    await until('the slow one has a smaller picture', async () => {
      const { streams } = await bad.lab.do('figures');
      return streams.some(smaller);
    });
    assert.ok(said.freezes.longestMs <= 500, JSON.stringify(said));
    assert.deepEqual(
      said.sizes.map(({ width }) => width),
      [FILM.width],
    );
    assert.ok(Math.abs(said.beside - said.before) < 0.25 * said.before, JSON.stringify(said));
  },
);

looks(
  'a network too slow for the smallest picture: fewer pictures a second of it, and all of them again',
  { timeout: 90_000, close: () => world.closeLabs() },
  async () => {
    const room = await classOf('temporal', [{ down: { delayMs: 20 } }]);
    const [{ lab, identity, network, shows }] = room.students;
    await shows(FILM.width);
    await network.change({ down: { bitsPerSecond: 210_000, delayMs: 20 } });
    await shows(FILM.width / 4);
    // Until the estimate has settled.
    await sleep(4000);
    await lab.do('measure', identity, 100);
    await sleep(8000);
    const slow = picture(await lab.do('measured', identity), 'ada');
    await network.change({ down: { delayMs: 20 } });
    await shows(FILM.width);
    await lab.do('measure', identity, 100);
    await sleep(3000);
    const fast = picture(await lab.do('measured', identity), 'ada');
    const said = {
      slow: framesPerSecond(slow),
      widths: sizes(slow).map(({ width }) => width),
      stillMs: stillMs(slow),
      keyframes: slow.at(-1).keyFramesDecoded - slow[0].keyFramesDecoded,
      fast: framesPerSecond(fast),
    };
    console.log(JSON.stringify(said));
    // Half or a quarter of twenty, from the temporal layers: the decoder misses nothing, so that it asks for nothing.
    assert.ok(said.slow > 3.5 && said.slow < 15, JSON.stringify(said));
    assert.deepEqual(said.widths, [FILM.width / 4]);
    assert.ok(said.stillMs <= 1500 && said.keyframes <= 1, JSON.stringify(said));
    assert.ok(said.fast > 16, JSON.stringify(said));
  },
);

// The goals are 0.5, 2, 5 and 12 % (docs/benchmarks.md has what is measured); in 15 s with encoders, decoders and the server on the same two cores one
// freeze is worth 2 %, so that what is held here is that the picture goes on.
for (const [loss, most] of [
  [0.01, 0.05],
  [0.05, 0.1],
  [0.1, 0.2],
  [0.2, 0.4],
]) {
  looks(`${loss * 100} % loss: the picture goes on`, { timeout: 90_000, close: () => world.closeLabs() }, async () => {
    const room = await classOf('loss', [{ down: { loss, delayMs: 25 } }]);
    const [{ lab, identity, network, shows }] = room.students;
    await shows(FILM.width);
    const before = await network.counters();
    await lab.do('measure', identity, 100);
    await sleep(15_000);
    const samples = await lab.do('measured', identity);
    const { down } = await network.counters();
    const said = {
      ...freezes(picture(samples, 'ada')),
      soundGapMs: soundGapMs(sound(samples, 'ada')),
      lost: (down.lost - before.down.lost) / (down.sent - before.down.sent),
    };
    console.log(JSON.stringify(said));
    // In some thousand packets.
    assert.ok(Math.abs(said.lost - loss) < loss / 2 + 0.004, `the network lost ${said.lost}`);
    assert.ok(said.share <= most && said.longestMs <= 2000, JSON.stringify(said));
  });
}
