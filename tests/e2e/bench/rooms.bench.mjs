// Rooms of 2, 50 and 500 people: memory and CPU of the server a participant. The people are those of tests/load: real
// signalling, real UDP, valid VP8 and Opus, no browser. A fresh server for each room.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root, Server } from '../lib/server.mjs';
import { table } from './table.mjs';

const ROOMS = [
  { participants: 2, publishers: 2 },
  { participants: 50, publishers: 4 },
  { participants: 500, publishers: 1 },
];

export async function measure() {
  const results = [];
  for (const { participants, publishers } of ROOMS) {
    const server = await Server.start();
    try {
      const { stdout } = await promisify(execFile)(
        join(root, 'target/debug/load'),
        [
          ...['--http', new URL(server.url).host, '--secret', server.secret, '--pid', String(server.pid)],
          ...['--participants', String(participants), '--publishers', String(publishers), '--seconds', '10', '--json'],
        ],
        { maxBuffer: 1 << 24 },
      );
      results.push(JSON.parse(stdout));
    } finally {
      await server.stop();
    }
  }
  const row = (what, value) => [what, ...results.map(value)];
  return table(
    ['room of', ...results.map(({ participants, publishers }) => `${participants} (${publishers} send)`)],
    [
      row('resident memory a participant', (one) => `${Math.round(one.residentKiBPerParticipant)} KiB`),
      row('heap a participant', (one) => `${Math.round(one.heapKiBPerParticipant)} KiB`),
      row('server CPU a join', (one) => `${one.serverCpuMillisPerJoin.toFixed(1)} ms`),
      row('join p50 / p95', (one) => `${one.joinMillisP50.toFixed(0)} / ${one.joinMillisP95.toFixed(0)} ms`),
      row('packets received a second, all together', (one) => Math.round(one.receivedPacketsPerSecond)),
      row('server CPU, of one core', (one) => `${(one.serverCpuShare * 100).toFixed(0)} %`),
      row('server CPU a packet', (one) => `${one.serverCpuMicrosPerReceivedPacket.toFixed(1)} µs`),
      row(
        'sender to receiver p50 / p99',
        (one) => `${one.latencyMillisP50.toFixed(1)} / ${one.latencyMillisP99.toFixed(1)} ms`,
      ),
      row('faults a decoder would see', (one) => one.decoderViolations),
    ],
  );
}
