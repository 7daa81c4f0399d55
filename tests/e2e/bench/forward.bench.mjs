// What the server adds to a packet, with nine people in a seminar who all send and see each other (72 pictures, three voices
// each): from the kernel's receive to the system call that sends, as the server's own histogram counts it over 20 s. The
// browsers share the machine with the server, so this includes waiting for a core.
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

export async function measure() {
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
    const [before, cpuBefore] = [await world.server.metrics(), world.server.cpuSeconds()];
    await sleep(SECONDS * 1000);
    const [after, cpuAfter] = [await world.server.metrics(), world.server.cpuSeconds()];
    const from = buckets(before);
    const counts = new Map([...buckets(after)].map(([bound, count]) => [bound, count - (from.get(bound) ?? 0)]));
    const forwarded =
      total(after, 'lectern_rtp_packets_forwarded_total') - total(before, 'lectern_rtp_packets_forwarded_total');
    return table(
      ['nine in a seminar, 20 s', 'value'],
      [
        ['forwarding added, p50', `${Math.round(quantile(counts, 50))} µs`],
        ['forwarding added, p99', `${Math.round(quantile(counts, 99))} µs`],
        ['packets forwarded', `${Math.round(forwarded / SECONDS)} a second`],
        ['server CPU', `${(((cpuAfter - cpuBefore) / SECONDS) * 100).toFixed(1)} % of a core`],
        ['server CPU a forwarded packet', `${(((cpuAfter - cpuBefore) / forwarded) * 1e6).toFixed(1)} µs`],
      ],
    );
  } finally {
    await world.stop();
  }
}
