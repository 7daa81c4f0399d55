// A recording is watched in the page: pictures and mixed sound on one clock, the chat of the moment, also while the class goes on.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPage } from './lib/chromium.mjs';
import { percentile, sleep, until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

async function recordings(path, { method = 'GET', body } = {}) {
  const response = await fetch(`${world.server.url}/api/recordings${path}`, {
    method,
    headers: { authorization: `Bearer ${world.server.apiKey}` },
    body,
  });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

const link = async (id) => (await recordings(`/${id}/links`, { method: 'POST' })).url;

/** A page that remembers what has played in it: sound is in no document. */
async function newReplayPage() {
  const page = await newPage(world.browser);
  await page.addInitScript(() => {
    globalThis.played = new Set();
    const { play } = HTMLMediaElement.prototype;
    HTMLMediaElement.prototype.play = function remembered() {
      globalThis.played.add(this);
      return play.call(this);
    };
  });
  return page;
}

/** What plays: the sound's time, and of each picture that is shown its file, time and frames. */
const playing = (page) =>
  page.evaluate(() => {
    const name = (element) => new URL(element.currentSrc || element.src).pathname.split('/').at(-1);
    const sound = [...globalThis.played].find((element) => element instanceof HTMLAudioElement && !element.paused);
    return {
      sound: sound && { file: name(sound), seconds: sound.currentTime },
      pictures: [...document.querySelectorAll('video')]
        .filter((video) => video.src && video.videoWidth > 0)
        .map((video) => ({
          file: name(video),
          seconds: video.currentTime,
          frames: video.getVideoPlaybackQuality().totalVideoFrames,
        })),
    };
  });

/** How far pictures and sound are apart in the class's time, in milliseconds, over two seconds. */
async function spread(page, manifest, cameras) {
  const apart = [];
  for (let look = 0; look < 20; look += 1) {
    const { sound, pictures } = await playing(page);
    assert.equal(sound?.file, manifest.mix.file);
    for (const { file, seconds } of pictures) {
      const track = cameras.find((camera) => camera.file === file);
      // Where a file's time is in the class: as the manifest says.
      const fit =
        track.clockFit.length > 1
          ? track.clockFit
          : [
              [0, track.offsetMs],
              [1000, track.offsetMs + 1000],
            ];
      const next = fit.findIndex(([fileMs]) => fileMs > seconds * 1000);
      const [[x0, y0], [x1, y1]] = next < 1 ? fit.slice(-2) : fit.slice(next - 1, next + 1);
      const roomMs = y0 + ((seconds * 1000 - x0) * (y1 - y0)) / (x1 - x0);
      apart.push(Math.abs(roomMs - sound.seconds * 1000));
    }
    await sleep(100);
  }
  return apart;
}

test('each codec is recorded and played back in step with the sound', { timeout: 180_000 }, async () => {
  const room = world.room('replay');
  const labs = [await world.lab(), await world.lab()];
  const people = [
    ['ada', 'vp8'],
    ['ben', 'h264'],
    ['cem', 'vp9'],
    ['dan', 'av1'],
  ];
  for (const [look, [identity, codec]] of people.entries()) {
    const role = look === 0 ? 'teacher' : 'student';
    await world.join(labs[look % 2], { room, identity, look, role, preset: 'seminar', title: 'Knots', codec });
  }
  await labs[0].call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await labs[0].report('ada')).state.recording);
  for (const [look, [identity]] of people.entries()) await labs[look % 2].call(identity, 'consent', true);
  await sleep(4000);
  await labs[0].call('ada', 'chat', 'a trefoil');
  await sleep(8000);
  await labs[0].call('ada', 'record', 'stop');
  const stopped = performance.now();
  const manifest = await until('it is finished', async () => {
    const found = await recordings(`/${id}`);
    return found.state === 'final' && found;
  });
  const finishedMs = Math.round(performance.now() - stopped);
  for (const lab of labs) await lab.close();
  const cameras = manifest.tracks.filter((track) => track.source === 'camera');
  assert.deepEqual(cameras.map((track) => track.codec).sort(), ['av1', 'h264', 'vp8', 'vp9']);

  const page = await newReplayPage();
  const opened = performance.now();
  await page.goto(await link(id));
  await page.getByRole('heading', { name: 'Knots' }).waitFor();
  await page.keyboard.press('Space');
  await until('a picture plays', async () => (await playing(page)).pictures.some(({ frames }) => frames > 0));
  const firstMs = Math.round(performance.now() - opened);
  const all = await until('all four pictures play', async () => {
    const { pictures, sound } = await playing(page);
    return sound?.seconds > 3 && pictures.filter(({ frames }) => frames > 10).length === 4 && pictures;
  });
  let p95;
  // A machine that was busy with something else gets a second and a third look.
  for (let look = 1; look <= 3 && !(p95 < 250); look += 1)
    p95 = Math.round(percentile(await spread(page, manifest, cameras), 95));
  console.log(
    `# finished ${finishedMs} ms after the stop, first picture ${firstMs} ms after the link, p95 ${p95} ms apart`,
  );
  assert.ok(p95 < 250, `pictures and sound are ${p95} ms apart`);
  const now = (await playing(page)).pictures;
  for (const { file, frames } of all)
    assert.ok(now.find((picture) => picture.file === file)?.frames > frames, `${file} stands still`);
  // What was said is there at its time, and not before.
  await page.getByText('a trefoil').first().waitFor({ timeout: 15_000 });
  await page.keyboard.press('Space');
  for (let jump = 0; jump < 3; jump += 1) await page.keyboard.press('j');
  await until('it is not said yet', async () => !(await page.getByText('a trefoil').first().isVisible()));
  assert.deepEqual(page.troubles, []);
  await page.context().close();
});

test('who comes late catches up while the class goes on, and a bad link says so', { timeout: 120_000 }, async () => {
  const room = world.room('live');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'lecture', title: 'Live knots' });
  await lab.call('ada', 'record', 'start');
  const { id } = await until('it is recorded', async () => (await lab.report('ada')).state.recording);
  await sleep(5000);
  const page = await newReplayPage();
  const url = await link(id);
  await page.goto(url);
  await page.getByRole('heading', { name: 'Live knots' }).waitFor();
  await page.keyboard.press('Space');
  const first = await until('what was recorded so far plays', async () => {
    const { pictures } = await playing(page);
    return pictures.find(({ frames }) => frames > 5);
  });
  await until('it goes on', async () => {
    const { pictures } = await playing(page);
    return pictures.some(({ file, frames }) => file === first.file && frames > first.frames + 20);
  });
  await page.goto('about:blank');
  await page.goto(url.replace(/token=.{20}/, 'token=forged'));
  await page.getByRole('heading', { name: say('replay.problem.forbidden.title') }).waitFor();
  await page.context().close();
  await lab.call('ada', 'end');
  await until('it has ended with the lesson', async () => (await recordings(`/${id}`)).state === 'final');
  await lab.close();
});
