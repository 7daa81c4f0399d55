// Every file of a recording plays in Chromium and in Firefox as it is, from a plain <video> or <audio>: to its end, and from its middle. ffmpeg reads
// them in recording.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPage } from './lib/chromium.mjs';
import { Firefox } from './lib/firefox.mjs';
import { check, packetsOf, playing } from './lib/plays.mjs';
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
  return Promise.all(withPath.map(async (one) => ({ ...one, packets: await packetsOf(world.server.url + one.path) })));
}

test('the recording has what is to be played', () => {
  const kinds = new Set(made.map(({ source, codec }) => `${source} ${codec}`));
  for (const [, codec] of PEOPLE) assert.ok(kinds.has(`camera ${codec}`), [...kinds].join());
  for (const kind of ['microphone opus', 'mix opus']) assert.ok(kinds.has(kind), [...kinds].join());
  assert.ok([...kinds].some((kind) => kind.startsWith('screen')));
});

test('in Chromium each file plays to its end and from its middle', { timeout: 120_000 }, async () => {
  const page = await newPage(world.browser);
  await page.goto(`${world.server.url}/check`);
  const told = await Promise.all(made.map((one) => page.evaluate(playing(one))));
  check('Chromium', made, told);
  assert.deepEqual(page.troubles, []);
  await page.context().close();
});

test('in Firefox each file that it knows plays to its end and from its middle', { timeout: 120_000 }, async () => {
  const evaluate = await firefox.open(`${world.server.url}/check`);
  const told = await Promise.all(made.map((one) => evaluate(playing(one))));
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
