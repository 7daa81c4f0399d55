// What the server adds to a packet, with nine people in a seminar who all send and see each other (72 pictures, three voices
// each): from the kernel's receive to the system call that sends, as the server's own histogram counts it. Once with nine
// people in Chromium, whose nine encoders and 72 decoders want more than this machine's cores, so that the figure is mostly waiting for
// one; and once with nine synthetic ones (`lectern bench`), which leave the server room.
import { lectern, Server } from '../lib/server.mjs';
import { sleep, until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';
import { table } from './table.mjs';

const SECONDS = 20;

const buckets = (metrics) => {
  const sums = new Map();
  for (const [key, value] of metrics) {
    const bound = /^lectern_forward_latency_seconds_bucket\{.*le="([^"]+)"/.exec(key)?.[1];
    if (bound) sums.set(bound, (sums.get(bound) ?? 0) + value);
  }
  return sums;
};

const total = (metrics, name) =>
  [...metrics].filter(([key]) => key.startsWith(name)).reduce((sum, [, value]) => sum + value, 0);

/** The p-th percentile in microseconds, straight within its bucket. */
function quantile(counts, p) {
  const bounds = [...counts]
    .map(([bound, count]) => [bound === '+Inf' ? Infinity : Number(bound), count])
    .sort((a, b) => a[0] - b[0]);
  const rank = (p / 100) * bounds.at(-1)[1];
  let [lower, below] = [0, 0];
  for (const [upper, count] of bounds) {
    if (count >= rank)
      return (
        (upper === Infinity ? lower : lower + ((upper - lower) * (rank - below)) / Math.max(1, count - below)) * 1e6
      );
    [lower, below] = [upper, count];
  }
  return lower * 1e6;
}

/** Figures of a server over the time that `action` takes. */
async function over(server, action) {
  const [before, cpuBefore, started] = [await server.metrics(), server.cpuSeconds(), performance.now()];
  await action();
  const [after, cpuAfter, seconds] = [
    await server.metrics(),
    server.cpuSeconds(),
    (performance.now() - started) / 1000,
  ];
  const from = buckets(before);
  const name = 'lectern_rtp_packets_forwarded_total';
  return {
    counts: new Map([...buckets(after)].map(([bound, count]) => [bound, count - (from.get(bound) ?? 0)])),
    forwarded: total(after, name) - total(before, name),
    cpu: cpuAfter - cpuBefore,
    seconds,
  };
}

async function synthetic() {
  const server = await Server.start();
  try {
    const who = ['--scenario', 'seminar', '--people', '9', '--seconds', String(SECONDS), '--ramp-steps', '0', '--json'];
    const where = ['--url', server.url, '--secret', server.secret, '--pid', String(server.pid)];
    return await over(server, () => lectern(['bench', ...who, ...where]));
  } finally {
    await server.stop();
  }
}

export async function measure() {
  const runs = [await synthetic(), await inChromium()];
  const row = (what, value) => [what, ...runs.map(value)];
  return table(
    ['nine in a seminar', 'nine synthetic people', 'nine in Chromium, machine saturated'],
    [
      row('forwarding added, p50', ({ counts }) => `${Math.round(quantile(counts, 50))} µs`),
      row('forwarding added, p99', ({ counts }) => `${Math.round(quantile(counts, 99))} µs`),
      row('packets forwarded', ({ forwarded, seconds }) => `${Math.round(forwarded / seconds)} a second`),
      row('server CPU', ({ cpu, seconds }) => `${((cpu / seconds) * 100).toFixed(1)} % of a core`),
      row('server CPU a forwarded packet', ({ cpu, forwarded }) => `${((cpu / forwarded) * 1e6).toFixed(1)} µs`),
    ],
  );
}

async function inChromium() {
  const world = await World.start();
  try {
    const room = world.room('bench-nine');
    const labs = [await world.lab(), await world.lab(), await world.lab()];
    for (let look = 0; look < 9; look += 1) {
      await world.join(labs[look % 3], {
        room,
        identity: `p${look}`,
        look,
        preset: 'seminar',
        role: look === 0 ? 'teacher' : 'student',
        width: 320,
        height: 180,
        framesPerSecond: 15,
        viewWidth: 320,
        viewHeight: 180,
      });
    }
    await until(
      'all see all',
      async () => {
        for (let look = 0; look < 9; look += 1) {
          const { pictures } = await labs[look % 3].report(`p${look}`);
          if (Object.values(pictures).filter((picture) => picture.frames > 10).length < 8) return false;
        }
        return true;
      },
      { within: 60_000 },
    );
    return await over(world.server, () => sleep(SECONDS * 1000));
  } finally {
    await world.stop();
  }
}
