// Every file of a recording plays in Chromium and in Firefox as it is, from a plain <video> or <audio>: to its end, and from its middle. ffmpeg reads
// them in recording.test.mjs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { newPage } from './lib/chromium.mjs';
import { Firefox } from './lib/firefox.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

/** Whose camera is sent in which codec; the screen is Ada's. */
const PEOPLE = [
  ['ada', 'vp8'],
  ['ben', 'h264'],
  ['cem', 'vp9'],
  ['dan', 'av1'],
];
const SECONDS = 6;

let world, firefox, made;
before(
  async () => {
    world = await World.start();
    made = await record();
    firefox = await Firefox.launch();
  },
  { timeout: 120_000 },
);
after(async () => {
  await firefox?.stop();
  await world?.stop();
});

async function api(path, { method = 'GET', body } = {}) {
  const headers = { authorization: `Bearer ${world.server.apiKey}` };
  const response = await fetch(`${world.server.url}/api/recordings${path}`, { method, headers, body });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

/** How many frames a file has, as ffprobe counts them. */
async function packetsOf(path) {
  const count = ['-count_packets', '-show_entries', 'stream=nb_read_packets', '-of', 'csv=p=0'];
  const { stdout } = await promisify(execFile)('ffprobe', ['-v', 'error', ...count, world.server.url + path]);
  return Number(stdout.trim());
}

/** A class of four codecs and a screen, recorded: its files with their addresses. */
async function record() {
  const room = world.room('plays');
  const labs = [await world.lab(), await world.lab()];
  for (const [look, [identity, codec]] of PEOPLE.entries()) {
    const role = look === 0 ? 'teacher' : 'student';
    await world.join(labs[look % 2], { room, identity, look, role, preset: 'seminar', codec });
  }
  await labs[0].call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await labs[0].report('ada')).state.recording);
  for (const [look, [identity]] of PEOPLE.entries()) await labs[look % 2].call(identity, 'consent', true);
  await labs[0].must('publish', 'ada', 'screen', { screen: { everyMs: 1000 } });
  // Five pictures, of which some come when their encoder has found its feet.
  await until(
    'all are in it',
    async () => (await api(`/${id}`)).tracks.filter(({ source }) => source !== 'microphone').length === 5,
    { within: 30_000 },
  );
  await sleep(SECONDS * 1000);
  await labs[0].call('ada', 'record', 'stop');
  const manifest = await until('it is finished', async () => {
    const found = await api(`/${id}`);
    return found.state === 'final' && found;
  });
  await world.closeLabs();
  const { token } = await api(`/${id}/links`, { method: 'POST' });
  const files = [
    ...manifest.tracks.map(({ file, codec, source, durationMs }) => ({ file, codec, source, durationMs })),
    { ...manifest.mix, codec: 'opus', source: 'mix' },
  ];
  const withPath = files.map((one) => ({ ...one, path: `/api/recordings/${id}/files/${one.file}?token=${token}` }));
  return Promise.all(withPath.map(async (one) => ({ ...one, packets: await packetsOf(one.path) })));
}

/**
 * In the page: plays a file from its beginning to its end, then from its middle, and tells how that went. An element whose file goes wrong tells its
 * error's words.
 */
async function playThrough(path, isPicture) {
  const element = document.createElement(isPicture ? 'video' : 'audio');
  Object.assign(element, { muted: true, preload: 'auto' });
  const type = (await fetch(path, { headers: { range: 'bytes=0-0' } })).headers.get('content-type');
  const told = { type, canPlay: element.canPlayType(type) };
  const frames = () => (isPicture ? element.getVideoPlaybackQuality().totalVideoFrames : undefined);
  const wait = (what, condition, events) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${what} did not come; at ${element.currentTime} s`)), 45_000);
      const look = () => {
        if (element.error) reject(new Error(`${what}: ${element.error.code} ${element.error.message}`));
        else if (condition()) resolve();
        else return;
        clearTimeout(timer);
      };
      for (const event of ['error', 'timeupdate', ...events]) element.addEventListener(event, look);
      look();
    });
  try {
    element.src = path;
    document.body.append(element);
    await wait('its head', () => element.readyState >= 1, ['loadedmetadata']);
    Object.assign(told, { seconds: element.duration, width: element.videoWidth });
    element.play().catch(() => undefined);
    await wait('its end', () => element.ended, ['ended']);
    Object.assign(told, { endedAt: element.currentTime, frames: frames() });
    const middle = element.duration / 2;
    element.currentTime = middle;
    await wait('its middle', () => !element.seeking && element.readyState >= 2, ['seeked', 'canplay']);
    Object.assign(told, { soughtTo: element.currentTime - middle });
    const before = frames();
    element.play().catch(() => undefined);
    await wait('what follows its middle', () => element.currentTime > middle + 1 || element.ended, ['ended']);
    told.framesAfter = isPicture ? frames() - before : undefined;
    told.bytes = element.webkitAudioDecodedByteCount;
  } catch (error) {
    told.failed = error.message;
  }
  element.remove();
  return told;
}

/** Holds what a browser says of each file against what the recording says. */
function check(browser, files, told) {
  const rows = files.map((one, index) => ({ ...one, ...told[index] }));
  for (const { source, codec, type, failed, ...row } of rows) {
    const what = `${browser}, ${source} in ${codec} (${type})`;
    console.log(
      `# ${what}: ${failed ?? `${row.endedAt.toFixed(2)} of ${row.seconds.toFixed(2)} s, ${isPicture({ source }) ? `${row.frames} of ${row.packets} frames` : 'sound'}`}`,
    );
    assert.equal(failed, undefined, what);
    assert.ok(Math.abs(row.seconds * 1000 - row.durationMs) < 150, `${what}: ${row.seconds} s, ${row.durationMs} ms`);
    assert.ok(row.endedAt > row.seconds - 0.2, `${what} ended at ${row.endedAt} of ${row.seconds} s`);
    assert.ok(Math.abs(row.soughtTo) < 0.1, `${what}: sought ${row.soughtTo} s beside`);
    if (source === 'camera' || source === 'screen') {
      // Those that a busy machine drops are counted too; at the very end a browser need not show what is there.
      assert.ok(row.width > 0 && row.frames >= 0.9 * row.packets, `${what}: ${row.frames} of ${row.packets} frames`);
      assert.ok(row.framesAfter > 0, `${what} stands after its middle`);
    } else if (row.bytes !== undefined) {
      assert.ok(row.bytes > 0, `${what} is silent`);
    }
  }
}

const isPicture = ({ source }) => source === 'camera' || source === 'screen';
const code = ({ path, ...one }) =>
  `(${playThrough})(${JSON.stringify(path)}, ${JSON.stringify(isPicture({ path, ...one }))})`;

test('the recording has what is to be played', () => {
  const kinds = new Set(made.map(({ source, codec }) => `${source} ${codec}`));
  for (const [, codec] of PEOPLE) assert.ok(kinds.has(`camera ${codec}`), [...kinds].join());
  for (const kind of ['microphone opus', 'mix opus']) assert.ok(kinds.has(kind), [...kinds].join());
  assert.ok([...kinds].some((kind) => kind.startsWith('screen')));
});

test('in Chromium each file plays to its end and from its middle', { timeout: 120_000 }, async () => {
  const page = await newPage(world.browser);
  await page.goto(`${world.server.url}/check`);
  const told = await Promise.all(made.map((one) => page.evaluate(code(one))));
  check('Chromium', made, told);
  assert.deepEqual(page.troubles, []);
  await page.context().close();
});

test('in Firefox each file that it knows plays to its end and from its middle', { timeout: 120_000 }, async () => {
  const evaluate = await firefox.open(`${world.server.url}/check`);
  const told = await Promise.all(made.map((one) => evaluate(code(one))));
  // Matroska is the one container for H264 that is written as it comes and read after a crash; Firefox may not know it.
  const knows = (_, index) => !(made[index].codec === 'h264' && told[index].canPlay === '');
  const unknown = made.filter((one, index) => !knows(one, index));
  for (const { file } of unknown) {
    const { type, failed } = told[made.findIndex((one) => one.file === file)];
    console.log(`# Firefox, camera in h264: not tested, canPlayType('${type}') is ''; ${failed ?? 'and yet it plays'}`);
  }
  assert.ok(unknown.length <= 1);
  check('Firefox', made.filter(knows), told.filter(knows));
});
