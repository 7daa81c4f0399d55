// WebRTC stacks that nobody here wrote, each of which sends media that Chromium shows and receives media that Chromium sends.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ForeignClient } from './lib/foreign.mjs';
import { LOOKS } from './lib/lab.mjs';
import { root } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const PYTHON = join(root, '.venv/bin/python');
const CHROMIUM = 1;
const FOREIGN = 0;

let world;
/** What clients without encoders send: a file of encoded pictures and sound that look and sound like LOOKS[FOREIGN]. */
let film;
before(async () => {
  world = await World.start();
  film = join(world.server.folder, 'film.json');
  const encode = [file('python/film.py'), JSON.stringify(LOOKS[FOREIGN])];
  writeFileSync(film, (await promisify(execFile)(PYTHON, encode, { maxBuffer: 2 ** 20 })).stdout);
});
after(() => world?.stop());

/** Starts a client that is ended with the test, whatever becomes of it. */
function start(t, command, args, options) {
  const client = new ForeignClient(command, args, options);
  t.after(() => client.kill());
  return client;
}

/** Chromium in a room, as a teacher, whom everybody hears. */
async function chromium(room) {
  const lab = await world.lab();
  await world.join(lab, {
    room,
    identity: 'ben',
    look: CHROMIUM,
    role: 'teacher',
    preset: 'seminar',
    width: 1280,
    height: 720,
  });
  return lab;
}

const gone = (lab, identity) =>
  until(`${identity} is gone`, async () => !(`${identity} camera` in (await lab.report('ben')).pictures));

/**
 * A client without decoders gets Chromium's picture and voice: of one payload type each, without a gap, the picture from a keyframe on and
 * in the size that it was sent.
 */
async function receives(client) {
  const first = await client.until(
    'gets packets',
    ({ video, audio }) => video?.frames > 0 && audio?.packets > 0 && video,
  );
  const { video, audio } = await client.until(
    'gets 30 pictures and 100 packets of sound, all of them',
    (report) =>
      report.video.frames >= first.frames + 30 &&
      report.audio.packets >= 100 &&
      report.video.missing === 0 &&
      report.audio.missing === 0 &&
      report,
  );
  assert.equal(video.startsWithKeyframe, true, JSON.stringify(video));
  assert.ok(video.width > 0 && video.width * 9 === video.height * 16, JSON.stringify(video));
  assert.equal(video.payloadTypes.length, 1, JSON.stringify(video));
  assert.equal(audio.payloadTypes.length, 1, JSON.stringify(audio));
  assert.notEqual(video.payloadTypes[0], audio.payloadTypes[0]);
}

test('aiortc joins over python-socketio: seen and heard, sees and hears', { timeout: 90_000 }, async (t) => {
  const room = world.room('aiortc');
  const lab = await chromium(room);
  const token = await world.server.token({ room, identity: 'ada', role: 'teacher' });
  const ada = start(t, PYTHON, [file('python/aiortc_client.py')], {
    url: world.server.url,
    token,
    ...LOOKS[FOREIGN],
    watch: 'ben',
  });
  await ada.connected();
  await lab.sees('ben', 'ada', FOREIGN, { frames: 20 });
  await lab.hearsTone('ben', FOREIGN);
  await ada.sees(CHROMIUM);
  await ada.hearsTone(CHROMIUM);
  await ada.until('sees the picture in the size of its view', ({ picture }) => picture.width === 320);
  await ada.end();
  await gone(lab, 'ada');
});

test("GStreamer's webrtcbin publishes by WHIP and plays by WHEP", { timeout: 90_000 }, async (t) => {
  const room = world.room('gstreamer');
  const lab = await chromium(room);
  const { url } = world.server;
  const client = async (mode, identity, role) => {
    const token = await world.server.token({ room, identity, role });
    // The system's Python, which has GStreamer's.
    const client = start(t, '/usr/bin/python3', [file('python/gstreamer_client.py')], {
      url: `${url}/${mode}/${room}`,
      token,
      mode,
      ...LOOKS[FOREIGN],
    });
    await client.connected();
    return client;
  };
  const wall = await client('whep', 'wall', 'observer');
  await wall.sees(CHROMIUM);
  await wall.hearsTone(CHROMIUM);
  await wall.end();

  const ada = await client('whip', 'ada', 'teacher');
  await lab.sees('ben', 'ada', FOREIGN, { frames: 20 });
  await lab.hearsTone('ben', FOREIGN);
  await ada.end();
  await gone(lab, 'ada');
});

test('werift joins over socket.io-client: seen and heard, gets every packet', { timeout: 90_000 }, async (t) => {
  const room = world.room('werift');
  const lab = await chromium(room);
  const token = await world.server.token({ room, identity: 'ada', role: 'teacher' });
  const options = { url: world.server.url, token, film, watch: 'ben' };
  const ada = start(t, process.execPath, [file('foreign/werift.mjs')], options);
  await ada.connected();
  await lab.sees('ben', 'ada', FOREIGN, { frames: 20 });
  await lab.hearsTone('ben', FOREIGN);
  await receives(ada);
  await ada.until(
    'gets the picture in the size of its view',
    ({ video }) => video.width === 320 && video.missing === 0,
  );
  await ada.end();
  await gone(lab, 'ada');
});

test('the webrtc crate publishes by WHIP and plays by WHEP: gets every packet', { timeout: 90_000 }, async (t) => {
  const room = world.room('webrtc-rs');
  const lab = await chromium(room);
  const client = async (mode, identity, role) => {
    const token = await world.server.token({ room, identity, role });
    const url = `${world.server.url}/${mode}/${room}`;
    const client = start(t, join(root, 'target/debug/webrtc-client'), [], { url, token, mode, film });
    await client.connected();
    return client;
  };
  const wall = await client('whep', 'wall', 'observer');
  await receives(wall);
  await wall.end();

  const ada = await client('whip', 'ada', 'teacher');
  await lab.sees('ben', 'ada', FOREIGN, { frames: 20 });
  await lab.hearsTone('ben', FOREIGN);
  await ada.end();
  await gone(lab, 'ada');
});
