// CPU of the server for one join: user and system time of all its threads over 100 joins of one Chromium (offer of the
// library's 16 m-lines, answer, ICE, DTLS, the lesson's events stored), less what it uses idle in the same time.
import { readdirSync, readFileSync } from 'node:fs';
import { sleep, until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';
import { table } from './table.mjs';

const JOINS = 100;

/** Nanoseconds on a processor, over all threads (they live as long as the process). */
const cpuNs = (pid) =>
  readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]))
    .reduce((sum, value) => sum + value, 0);

export async function measure() {
  const world = await World.start();
  try {
    const room = world.room('bench-cpu');
    const lab = await world.lab();
    const one = async (i) => {
      await world.join(lab, { room, identity: `p${i}`, preset: 'seminar', sources: [] });
      await until('media connects', async () => (await lab.report(`p${i}`)).media === 'connected', { every: 5 });
      await lab.do('leave', `p${i}`);
    };
    for (let i = 0; i < 5; i += 1) await one(`warm-${i}`);
    const idleFrom = cpuNs(world.server.pid);
    await sleep(5000);
    const idlePerMs = (cpuNs(world.server.pid) - idleFrom) / 5000;
    const [started, from] = [performance.now(), cpuNs(world.server.pid)];
    for (let i = 0; i < JOINS; i += 1) await one(i);
    const elapsed = performance.now() - started;
    const used = cpuNs(world.server.pid) - from - idlePerMs * elapsed;
    return table(
      ['server CPU', 'value'],
      [
        ['a join with media and its leave (mean of 100)', `${(used / JOINS / 1e6).toFixed(2)} ms`],
        ['idle, one open room', `${(idlePerMs / 1e4).toFixed(2)} % of a core`],
      ],
    );
  } finally {
    await world.stop();
  }
}
