// What exports cost: a lesson of six people with cameras in 640x360 and 25 frames a second, of whom another one speaks each ten seconds, and a screen of
// 1280x720 for a third of the time. The tracks are made by ffmpeg, with a keyframe each minute. CPU is what the server's children took.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Server } from '../lib/server.mjs';
import { until } from '../lib/until.mjs';
import { table } from './table.mjs';

const ID = 'bench-1';
const LOOPS = 3;
const LOOP_SECONDS = 60;
const SECONDS = LOOPS * LOOP_SECONDS;
const PEOPLE = ['ada', 'ben', 'cem', 'dan', 'eve', 'fay'];
/** Of six people four send VP8, one VP9, one H264. */
const CODECS = {
  vp8: ['webm', 'libvpx', ['-deadline', 'realtime', '-cpu-used', '8']],
  vp9: ['webm', 'libvpx-vp9', ['-deadline', 'realtime', '-cpu-used', '8']],
  h264: ['mkv', 'libx264', ['-preset', 'veryfast', '-bf', '0']],
};

const ffmpeg = (cwd, ...args) => execFileSync('ffmpeg', ['-v', 'error', '-y', ...args], { cwd });

function draw(folder, file, codec, input, rate, bits, loops = LOOPS) {
  const [, encoder, options] = CODECS[codec];
  const part = `part-${file}`;
  const coded = ['-c:v', encoder, ...options, '-b:v', bits, '-g', '3000'];
  ffmpeg(folder, '-f', 'lavfi', '-i', `${input}:rate=${rate}:duration=${LOOP_SECONDS}`, ...coded, part);
  ffmpeg(folder, '-stream_loop', String(loops - 1), '-i', part, '-c', 'copy', file);
  rmSync(join(folder, part));
}

function crc32c(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}

/** A recording in the server's folder, as if it had made it. */
function record(folder) {
  mkdirSync(folder, { recursive: true });
  const tracks = [];
  const add = (participant, source, codec, file, offset, seconds) =>
    tracks.push({
      ...{ track: tracks.length + 1, file, participant, name: participant, source, codec },
      ...{
        offsetMs: offset * 1000,
        durationMs: seconds * 1000,
        bytes: statSync(join(folder, file)).size,
        clockFit: [],
      },
    });
  for (const [index, who] of PEOPLE.entries()) {
    const codec = ['vp8', 'vp9', 'h264', 'vp8', 'vp8', 'vp8'][index];
    const file = `v-${index}.${CODECS[codec][0]}`;
    draw(folder, file, codec, 'testsrc2=size=640x360', 25, '500k');
    add(who, 'camera', codec, file, 0, SECONDS);
    const tone = `sine=frequency=${300 + 70 * index}:duration=${SECONDS}`;
    ffmpeg(folder, '-f', 'lavfi', '-i', tone, '-c:a', 'libopus', '-b:a', '32k', `a-${index}.webm`);
    add(who, 'microphone', 'opus', `a-${index}.webm`, 0, SECONDS);
  }
  draw(folder, 'v-screen.webm', 'vp8', 'testsrc2=size=1280x720', 5, '900k', 1);
  add('ada', 'screen', 'vp8', 'v-screen.webm', LOOP_SECONDS, LOOP_SECONDS);
  const tone = `sine=frequency=440:duration=${SECONDS}`;
  ffmpeg(folder, '-f', 'lavfi', '-i', tone, '-c:a', 'libopus', '-b:a', '40k', 'mix.webm');
  const person = (name, index) => ({ name, role: index === 0 ? 'teacher' : 'student', present: true, tracks: {} });
  const participants = Object.fromEntries(PEOPLE.map((name, index) => [name, person(name, index)]));
  const state = { settings: { preset: 'seminar' }, chat: [], participants };
  const entries = [{ atMs: 0, kind: 'snapshot', state }];
  for (let at = 0; at < SECONDS; at += 10)
    entries.push({ atMs: at * 1000, kind: 'speaker', participant: PEOPLE[(at / 10) % PEOPLE.length] });
  const lines = entries.map((entry) => JSON.stringify(entry)).map((json) => `${crc32c(Buffer.from(json))} ${json}\n`);
  const timeline = lines.join('');
  writeFileSync(join(folder, 'timeline.ndjson'), timeline);
  const durationMs = SECONDS * 1000;
  const mix = { file: 'mix.webm', offsetMs: 0, durationMs, bytes: statSync(join(folder, 'mix.webm')).size };
  const manifest = {
    ...{
      version: 1,
      id: ID,
      room: 'bench',
      title: 'Bench',
      lesson: 'l',
      state: 'final',
      began: '2026-11-26T18:00:00Z',
    },
    ...{ durationMs, tracks, mix, pauses: [], timeline: 'timeline.ndjson', timelineBytes: timeline.length },
  };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
}

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
    record(join(server.folder, 'data/recordings', ID));
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
