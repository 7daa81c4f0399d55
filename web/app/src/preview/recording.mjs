// A made-up recording for the screenshots: manifest, timeline and media files, which ffmpeg draws into a folder once.
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const SECONDS = 60;
const T0 = Date.UTC(2026, 10, 21, 9, 0, 0);
const iso = (ms) => new Date(T0 + ms).toISOString();

const CRC = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0x82f63b78 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});
const crc32c = (bytes) => {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
};
const line = (entry) => {
  const json = Buffer.from(JSON.stringify(entry));
  return Buffer.concat([Buffer.from(`${crc32c(json).toString(16).padStart(8, '0')} `), json, Buffer.from('\n')]);
};

const PEOPLE = [
  ['ana', 'Ana Souza', 'teacher'],
  ['bo', 'Bo Lindqvist', 'student'],
  ['xm', '王小明', 'student'],
  ['dalia', 'Dalia Farouk', 'student'],
  ['emeka', 'Emeka Obi', 'student'],
];

/** The recording, as the server would give it. */
export function makeRecording(folder, { state = 'final', mix = true, empty = false } = {}) {
  if (!empty) draw(folder);
  const track = (number, participant, source, fromS, toS) => {
    const picture = source !== 'microphone';
    return {
      track: number,
      file: picture ? `v-${participant}-${source}.webm` : `a-${participant}.webm`,
      participant,
      name: PEOPLE.find(([id]) => id === participant)[1],
      source,
      codec: picture ? 'vp8' : 'opus',
      offsetMs: fromS * 1_000,
      durationMs: (toS - fromS) * 1_000,
      bytes: 1,
      clockFit: [],
    };
  };
  const tracks = empty
    ? []
    : [
        track(1, 'ana', 'microphone', 0, 60),
        track(2, 'ana', 'camera', 0, 60),
        track(3, 'bo', 'microphone', 2, 60),
        track(4, 'bo', 'camera', 2, 60),
        track(5, 'xm', 'camera', 4, 60),
        track(6, 'dalia', 'microphone', 5, 60),
        track(7, 'ana', 'screen', 15, 45),
        track(8, 'emeka', 'camera', 6, 60),
      ];
  const participants = Object.fromEntries(
    PEOPLE.map(([id, name, role], index) => [
      id,
      {
        name,
        role,
        present: true,
        joinedAt: iso(index),
        tracks: { microphone: { muted: index > 2 }, camera: { muted: false } },
      },
    ]),
  );
  let seq = 20;
  const lesson = (s, event, by) => ({
    atMs: s * 1_000,
    kind: 'lesson',
    event: { seq: ++seq, at: iso(s * 1_000), by, ...event },
  });
  const chat = (s, by, text) => lesson(s, { kind: 'chat', text, nonce: String(s) }, by);
  const speaker = (s, participant) => ({ atMs: s * 1_000, kind: 'speaker', participant });
  const snapshot = {
    lesson: 'l',
    room: 'algebra-7b',
    seq: 20,
    settings: {
      preset: 'seminar',
      title: 'Algebra, class 7b',
      locked: false,
      chat: true,
      studentMicrophones: true,
      studentCameras: true,
      studentScreens: true,
      studentsSeeStudents: true,
      maxParticipants: 100,
      recordAutomatically: false,
      recordStudentCameras: true,
    },
    closed: false,
    participants,
    hands: [],
    floor: [],
    removed: [],
    chat: [],
    recordingInterrupted: false,
    recordings: ['r'],
    consents: {},
  };
  const entries = [
    { atMs: 0, kind: 'began', id: 'r', room: 'algebra-7b', began: iso(0) },
    { atMs: 0, kind: 'snapshot', state: snapshot },
    speaker(1, 'ana'),
    chat(6, 'ana', 'Good morning! The worksheet: https://example.com/worksheets/7b/quadratics.pdf'),
    speaker(11, 'bo'),
    chat(13, 'bo', 'Got it, thanks'),
    { atMs: 15_000, kind: 'track-started', track: 7, participant: 'ana', source: 'screen', codec: 'vp8' },
    lesson(15, { kind: 'published', participant: 'ana', source: 'screen', muted: false }, 'ana'),
    { atMs: 16_000, kind: 'muted', participant: 'dalia', source: 'microphone', muted: true },
    speaker(17, 'ana'),
    chat(20, 'xm', '老师好！第三题可以用配方法吗？'),
    lesson(24, { kind: 'hand-raised', participant: 'bo' }, 'bo'),
    speaker(29, 'bo'),
    lesson(30, { kind: 'floor-given', participant: 'bo' }, 'ana'),
    chat(33, 'ana', 'Yes, completing the square works, and you will see why it is the nicer way.'),
    speaker(40, 'ana'),
    { atMs: 45_000, kind: 'track-ended', track: 7 },
    lesson(45, { kind: 'unpublished', participant: 'ana', source: 'screen' }, 'ana'),
    lesson(46, { kind: 'floor-taken', participant: 'bo' }, 'ana'),
    speaker(52, 'xm'),
    ...(state === 'live' ? [] : [{ atMs: 60_000, kind: 'stopped' }]),
  ];
  const timeline = Buffer.concat((empty ? entries.slice(0, 2) : entries).map(line));
  const manifest = {
    version: 1,
    id: 'r',
    room: 'algebra-7b',
    title: 'Algebra, class 7b',
    lesson: 'l',
    state,
    began: iso(0),
    durationMs: SECONDS * 1_000,
    tracks,
    ...(mix && !empty ? { mix: { file: 'mix.webm', offsetMs: 0, durationMs: SECONDS * 1_000, bytes: 1 } } : {}),
    pauses: [[48_000, 51_000]],
    timeline: 'timeline.ndjson',
    timelineBytes: timeline.length,
  };
  return {
    manifest,
    file: (name) => (name === 'timeline.ndjson' ? timeline : readFileSync(join(folder, name))),
  };
}

/** Answers for the API, also for parts of files. */
export function answer(recording, url, headers) {
  const file = /\/files\/([^/?]+)/.exec(url)?.[1];
  if (file === undefined) return { json: recording.manifest };
  const body = recording.file(file);
  const contentType = file.endsWith('.webm') ? (file.startsWith('v-') ? 'video/webm' : 'audio/webm') : 'text/plain';
  const range = /bytes=(\d+)-(\d*)/.exec(headers['range'] ?? '');
  if (!range) return { body, contentType, headers: { 'accept-ranges': 'bytes' } };
  const from = Number(range[1]);
  if (from >= body.length) return { status: 416 };
  const to = Math.min(range[2] === '' ? Infinity : Number(range[2]), body.length - 1);
  return {
    status: 206,
    body: body.subarray(from, to + 1),
    contentType,
    headers: { 'accept-ranges': 'bytes', 'content-range': `bytes ${from}-${to}/${body.length}` },
  };
}

function draw(folder) {
  mkdirSync(folder, { recursive: true });
  const make = (name, seconds, input, ...codec) => {
    const path = join(folder, name);
    if (existsSync(path)) return;
    execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', input, '-t', String(seconds), ...codec, path]);
  };
  const vp8 = ['-c:v', 'libvpx', '-b:v', '300k', '-g', '50', '-deadline', 'realtime', '-cpu-used', '8'];
  const opus = ['-c:a', 'libopus', '-b:a', '32k'];
  const face = (hue) => `testsrc2=size=640x360:rate=25,hue=h=${hue}:s=0.35`;
  make('v-ana-camera.webm', 60, face(0), ...vp8);
  make('v-bo-camera.webm', 58, face(90), ...vp8);
  make('v-xm-camera.webm', 56, face(180), ...vp8);
  make('v-emeka-camera.webm', 54, face(270), ...vp8);
  make('v-ana-screen.webm', 30, 'smptehdbars=size=1280x720:rate=10', ...vp8);
  make('mix.webm', 60, 'sine=frequency=440', ...opus);
  for (const who of ['ana', 'bo', 'dalia']) make(`a-${who}.webm`, 60, 'sine=frequency=300', ...opus);
}
