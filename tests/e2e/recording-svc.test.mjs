// Cameras in scalable VP9 and AV1, as Chromium sends them, are recorded while their sender drops layers and takes them up again.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { newPage } from './lib/chromium.mjs';
import { Firefox } from './lib/firefox.mjs';
import { ONE_PORT } from './lib/network.mjs';
import { check, packetsOf, playing } from './lib/plays.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const run = promisify(execFile);
const FRAMES_PER_SECOND = 15;
/** A network that carries all layers, and one for the lowest alone. */
const [WIDE, NARROW] = [4_000_000, 300_000].map((bitsPerSecond) => ({ up: { bitsPerSecond, queueMs: 300 } }));
let world, firefox, folder;
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lectern-svc-'));
  world = await World.start({ args: ONE_PORT });
  firefox = await Firefox.launch();
});
after(async () => {
  await firefox?.stop();
  await world?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function api(path, { method = 'GET' } = {}) {
  const headers = { authorization: `Bearer ${world.server.apiKey}` };
  const response = await fetch(`${world.server.url}/api/recordings${path}`, { method, headers });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response;
}

/** Records a teacher whose network becomes narrow and wide again; gives the camera's track, its file, and the widths that were sent. */
async function record(codec) {
  const network = await world.network(WIDE);
  const lab = await world.lab({ network });
  const room = world.room(codec);
  const film = { width: 1280, height: 720, framesPerSecond: FRAMES_PER_SECOND };
  const options = { codec, cameraLayers: 'svc', film };
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'tutoring', ...options });
  const sends = (what, test) =>
    until(
      what,
      async () => {
        const { width } = (await lab.do('stats', 'ada')).sent.find((stream) => stream.kind === 'video');
        return test(width) && width;
      },
      { within: 45_000, every: 200 },
    );
  await lab.call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await lab.report('ada')).state.recording);
  const widths = [await sends('all layers are sent', (width) => width >= 960)];
  await sleep(4_000);
  await network.change(NARROW);
  widths.push(await sends('few layers are sent', (width) => width <= 480));
  await sleep(4_000);
  await network.change(WIDE);
  widths.push(await sends('more layers are sent', (width) => width > widths[1]));
  await sleep(4_000);
  await lab.call('ada', 'record', 'stop');
  const manifest = await until('it is finished', async () => {
    const found = await (await api(`/${id}`)).json();
    return found.state === 'final' && found.tracks.every((track) => track.blake3) && found;
  });
  await world.closeLabs();
  const tracks = manifest.tracks.filter(({ source }) => source === 'camera');
  assert.deepEqual(
    tracks.map((track) => track.codec),
    [codec],
    'one file, whatever the layers do',
  );
  const { token } = await (await api(`/${id}/links`, { method: 'POST' })).json();
  const [track] = tracks;
  const path = `/api/recordings/${id}/files/${track.file}?token=${token}`;
  const file = join(folder, `${codec}.webm`);
  writeFileSync(file, Buffer.from(await (await fetch(world.server.url + path)).arrayBuffer()));
  return { ...track, path, onDisk: file, widths, packets: await packetsOf(world.server.url + path) };
}

/** Each frame that ffmpeg makes of a file: when and how wide. */
async function frames(file) {
  const entries = ['-show_entries', 'frame=pts_time,width', '-of', 'json'];
  const { stdout } = await run('ffprobe', ['-v', 'error', ...entries, file], { maxBuffer: 16 << 20 });
  return JSON.parse(stdout).frames.map(({ pts_time, width }) => ({ at: Number(pts_time), width }));
}

for (const codec of ['vp9', 'av1']) {
  test(`${codec} with spatial layers`, { timeout: 240_000 }, async () => {
    const track = await record(codec);
    // Read without a word to its end, at the file's own times.
    const times = ['-fps_mode', 'passthrough', '-enc_time_base:v', '1:1000'];
    const decoding = run('ffmpeg', ['-v', 'error', '-xerror', '-i', track.onDisk, ...times, '-f', 'null', '-']);
    assert.equal((await decoding).stderr, '');
    // A picture is one frame, whatever layers it has.
    const made = await frames(track.onDisk);
    assert.equal(made.length, track.packets, 'a frame for each picture');
    assert.ok(made.every(({ at }, index) => index === 0 || at > made[index - 1].at));
    const seconds = track.durationMs / 1000;
    const rate = made.length / seconds;
    console.log(
      `# ${codec}: ${made.length} frames in ${seconds} s; sent ${track.widths}, recorded ${[...new Set(made.map(({ width }) => width))]}`,
    );
    // The narrow network itself loses some, and the machine may be busy.
    assert.ok(rate > 0.5 * FRAMES_PER_SECOND && rate < 1.2 * FRAMES_PER_SECOND, `${rate} a second`);
    // The changes are in it, in their order.
    let from = 0;
    for (const width of track.widths) {
      const found = made.findIndex((frame, index) => index >= from && Math.abs(frame.width - width) <= 2);
      assert.ok(found >= 0, `${width} wide after frame ${from}, of ${made.length}`);
      from = found;
    }

    const page = await newPage(world.browser);
    await page.goto(`${world.server.url}/check`);
    check('Chromium', [track], [await page.evaluate(playing(track))]);
    await page.context().close();
    const evaluate = await firefox.open(`${world.server.url}/check`);
    check('Firefox', [track], [await evaluate(playing(track))]);
  });
}
