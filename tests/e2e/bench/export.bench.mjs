// What exports cost: a lesson of six people with cameras in 640x360 and 25 frames a second, of whom another one speaks each ten seconds, and a screen of
// 1280x720 for a third of the time. The tracks are made by ffmpeg, with a keyframe each minute. CPU is what the server's children took.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Server } from '../lib/server.mjs';
import { until } from '../lib/until.mjs';
import { ID, record } from './made.mjs';
import { table } from './table.mjs';

const SECONDS = 180;

/** CPU seconds of the server's children that have ended. */
function childSeconds(server) {
  const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8')
    .replace(/^.*\)\s/, '')
    .split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

export async function measure() {
  const server = new Server();
  try {
    record(join(server.folder, 'data/recordings', ID), { seconds: SECONDS, keyframeSeconds: 60, screen: true });
    await server.up();
    const headers = { authorization: `Bearer ${server.apiKey}` };
    const exports = `${server.url}/api/recordings/${ID}/exports`;
    const rows = [];
    for (const kind of ['copy', 'sound', 'screen', 'composed']) {
      const [cpu, began] = [childSeconds(server), performance.now()];
      await fetch(exports, { method: 'POST', headers, body: JSON.stringify({ kind }) });
      const job = await until(
        `${kind} is made`,
        async () => {
          const found = await (await fetch(`${exports}/${kind}`, { headers })).json();
          if (found.state === 'failed') console.error(found.error);
          return (found.state === 'done' || found.state === 'failed') && found;
        },
        { within: 3_600_000, every: 20 },
      );
      const wall = (performance.now() - began) / 1000;
      const used = childSeconds(server) - cpu;
      rows.push([
        kind,
        `${((wall / SECONDS) * 100).toFixed(wall < SECONDS / 20 ? 2 : 0)} %`,
        (used / SECONDS).toFixed(used < SECONDS / 20 ? 4 : 2),
        `${(job.bytes / 1e6).toFixed(1)} MB`,
      ]);
    }
    await server.stop();
    return table(['export', 'time taken, of the recording’s', 'core-seconds a second of it', 'size'], rows);
  } finally {
    await server.kill();
    rmSync(server.folder, { recursive: true, force: true });
  }
}
