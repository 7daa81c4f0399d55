// A recording of six people with cameras in 640x360 and 25 frames a second, of whom another one speaks each ten seconds, as a server would have
// written it. ffmpeg draws the tracks: one picture of each codec, which all who send it share.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const ID = 'bench-1';
const BEGAN = '2026-11-26T18:00:00.000Z';
/** What is drawn, and then repeated. */
const LOOP_SECONDS = 60;
const RATE = 25;
const PEOPLE = ['ada', 'ben', 'cem', 'dan', 'eve', 'fay'];
/** Of six people four send VP8, one VP9, one H264. */
const CODECS = {
  vp8: ['webm', 'libvpx', ['-deadline', 'realtime', '-cpu-used', '8']],
  vp9: ['webm', 'libvpx-vp9', ['-deadline', 'realtime', '-cpu-used', '8']],
  h264: ['mkv', 'libx264', ['-preset', 'veryfast', '-bf', '0']],
};

const ffmpeg = (cwd, ...args) => execFileSync('ffmpeg', ['-v', 'error', '-y', ...args], { cwd });

function draw(folder, file, codec, input, { rate, bits, seconds, keyframeSeconds }) {
  const [, encoder, options] = CODECS[codec];
  const part = `part-${file}`;
  const coded = [
    '-c:v',
    encoder,
    ...options,
    '-b:v',
    bits,
    '-g',
    String(keyframeSeconds * rate),
    '-keyint_min',
    String(rate),
  ];
  ffmpeg(folder, '-f', 'lavfi', '-i', `${input}:rate=${rate}:duration=${LOOP_SECONDS}`, ...coded, part);
  ffmpeg(folder, '-stream_loop', String(seconds / LOOP_SECONDS - 1), '-i', part, '-c', 'copy', file);
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

/** Puts it into a folder, `seconds` long, which is a number of whole minutes. With a `screen`, one of 1280x720 is shared in the second minute. */
export function record(folder, { seconds, keyframeSeconds, screen }) {
  mkdirSync(folder, { recursive: true });
  const tracks = [];
  const add = (participant, source, codec, file, offset, length) =>
    tracks.push({
      ...{ track: tracks.length + 1, file, participant, name: participant, source, codec },
      ...{
        offsetMs: offset * 1000,
        durationMs: length * 1000,
        bytes: statSync(join(folder, file)).size,
        clockFit: [],
      },
    });
  for (const [index, who] of PEOPLE.entries()) {
    const codec = ['vp8', 'vp9', 'h264', 'vp8', 'vp8', 'vp8'][index];
    const file = `v-${index}.${CODECS[codec][0]}`;
    const drawn = join(folder, `v-of-${codec}`);
    if (existsSync(drawn)) copyFileSync(drawn, join(folder, file));
    else {
      draw(folder, file, codec, 'testsrc2=size=640x360', { rate: RATE, bits: '500k', seconds, keyframeSeconds });
      copyFileSync(join(folder, file), drawn);
    }
    add(who, 'camera', codec, file, 0, seconds);
    const tone = `sine=frequency=${300 + 70 * index}:duration=${seconds}`;
    ffmpeg(folder, '-f', 'lavfi', '-i', tone, '-c:a', 'libopus', '-b:a', '32k', `a-${index}.webm`);
    add(who, 'microphone', 'opus', `a-${index}.webm`, 0, seconds);
  }
  if (screen) {
    const shape = { rate: 5, bits: '900k', seconds: LOOP_SECONDS, keyframeSeconds };
    draw(folder, 'v-screen.webm', 'vp8', 'testsrc2=size=1280x720', shape);
    add('ada', 'screen', 'vp8', 'v-screen.webm', LOOP_SECONDS, LOOP_SECONDS);
  }
  for (const codec of Object.keys(CODECS)) rmSync(join(folder, `v-of-${codec}`));
  const tone = `sine=frequency=440:duration=${seconds}`;
  ffmpeg(folder, '-f', 'lavfi', '-i', tone, '-c:a', 'libopus', '-b:a', '40k', 'mix.webm');
  const person = (name, index) => ({
    ...{ name, role: index === 0 ? 'teacher' : 'student', present: true },
    ...{ joinedAt: BEGAN, tracks: { microphone: { muted: false }, camera: { muted: false } } },
  });
  const participants = Object.fromEntries(PEOPLE.map((name, index) => [name, person(name, index)]));
  const none = { hands: [], floor: [], removed: [], chat: [], recordings: [ID], consents: {} };
  const settings = { preset: 'seminar', title: 'Bench', studentsSeeStudents: true };
  const state = { lesson: 'l', room: 'bench', seq: 1, settings, closed: false, participants, ...none };
  const entries = [{ atMs: 0, kind: 'snapshot', state }];
  for (let at = 0; at < seconds; at += 10)
    entries.push({ atMs: at * 1000, kind: 'speaker', participant: PEOPLE[(at / 10) % PEOPLE.length] });
  const lines = entries.map((entry) => JSON.stringify(entry)).map((json) => `${crc32c(Buffer.from(json))} ${json}\n`);
  const timeline = lines.join('');
  writeFileSync(join(folder, 'timeline.ndjson'), timeline);
  const durationMs = seconds * 1000;
  const mix = { file: 'mix.webm', offsetMs: 0, durationMs, bytes: statSync(join(folder, 'mix.webm')).size };
  const manifest = {
    ...{
      version: 1,
      id: ID,
      room: 'bench',
      title: 'Bench',
      lesson: 'l',
      state: 'final',
      began: BEGAN,
    },
    ...{ durationMs, tracks, mix, pauses: [], timeline: 'timeline.ndjson', timelineBytes: timeline.length },
  };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
}
