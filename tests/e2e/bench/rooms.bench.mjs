// What a packet, a participant and a join cost, in lectures and a seminar: `lectern bench` of the release build, which starts
// its own server for each and runs its yardsticks beside it.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../lib/server.mjs';
import { table } from './table.mjs';

const ROOMS = [
  ['lecture', 1],
  ['lecture', 10],
  ['lecture', 50],
  ['lecture', 150],
  ['lecture', 500],
  ['seminar', 10],
];

const fixed = (value, digits = 0) => (typeof value === 'number' ? value.toFixed(digits) : '-');
const ms = (micros) => fixed(micros / 1000, 2);
const times = (latency) => [latency?.p50Micros, latency?.p99Micros, latency?.p999Micros].map(ms).join(' / ');

export async function measure() {
  const results = [];
  for (const [scenario, people] of ROOMS) {
    const { stdout } = await promisify(execFile)(
      join(root, 'target/release/lectern'),
      ['bench', '--scenario', scenario, '--people', String(people), '--json'],
      { maxBuffer: 1 << 24 },
    );
    results.push(JSON.parse(stdout));
  }
  const row = (what, value) => [what, ...results.map(value)];
  return table(
    ['', ...ROOMS.map(([scenario, people]) => `${scenario} ${people}`)],
    [
      row('packets forwarded a second', (one) => fixed(one.packetsPerSecond)),
      row('lost, of all', (one) => `${one.lost} of ${one.packets}`),
      row('server CPU a packet', (one) => `${fixed(one.server.cpuNanosPerPacket)} ns`),
      row('bare loop a packet', (one) => `${fixed(one.yardsticks.bare.nanosPerPacket)} ns`),
      row('server over bare loop', (one) => `${fixed(one.ratios.bare, 2)}x`),
      row('server over bare loop with segments', (one) => `${fixed(one.ratios.bareSegments, 2)}x`),
      row('server over coturn', (one) => (one.ratios.coturn ? `${fixed(one.ratios.coturn, 2)}x` : '-')),
      row('latency p50 / p99 / p99.9, ms', (one) => times(one.latency)),
      row('nearest to half load, ms (% of a core)', ({ limit }) =>
        limit?.halfLoad ? `${times(limit.halfLoad)} (${fixed(limit.halfLoad.mediaCpuShare * 100)} %)` : '-',
      ),
      row('most packets a second (% of a core; what broke)', ({ limit }) =>
        limit?.best
          ? `${fixed(limit.best.packetsPerSecond)} (${fixed(limit.best.mediaCpuShare * 100)} %; ${limit.brokeBy ?? 'nothing'})`
          : '-',
      ),
      row('idle, of a core a participant', ({ idle }) =>
        idle ? `${fixed(idle.cpuMicrosPerParticipantSecond / 1e4, 3)} % (of ${idle.people})` : '-',
      ),
      row('heap a participant', (one) => `${fixed(one.memory.heapKibPerParticipant)} KiB`),
      row('resident a participant', (one) => `${fixed(one.memory.residentKibPerParticipant)} KiB`),
      row(
        'join answered p50 / p95, ms',
        ({ joins }) => `${fixed(joins.answeredMillisP50, 1)} / ${fixed(joins.answeredMillisP95, 1)}`,
      ),
      row(
        'media connected p50 / p95, ms',
        ({ joins }) => `${fixed(joins.connectedMillisP50, 1)} / ${fixed(joins.connectedMillisP95, 1)}`,
      ),
      row('server CPU a join', (one) => `${fixed(one.joins.serverCpuMillis, 1)} ms`),
    ],
  );
}
