// How a recording of six videos and the mixed sound is watched, in Chromium on the replay page: how far the pictures' and the sound's clocks are apart
// while it plays, and how long a seek takes until all six pictures show what is there. The tracks are made by ffmpeg (made.mjs): four in VP8, one in VP9,
// one in H264, with a keyframe each five seconds, as the recorder asks cameras for that are not on a slow network.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { launchChromium, newPage } from '../lib/chromium.mjs';
import { Server } from '../lib/server.mjs';
import { percentile, sleep, until } from '../lib/until.mjs';
import { ID, record } from './made.mjs';
import { ms, table } from './table.mjs';

const SECONDS = 120;
const KEYFRAME_SECONDS = 5;
const PLAYED_MS = 20_000;
const SEEKS = 40;
/** A picture is shown when it is as near to the clock as this. */
const SHOWN_MS = 150;

/** What is run in the page: `replayed.clocks()` reads all clocks at one moment, `replayed.seek(share)` seeks and times it. */
function instruments() {
  const { play } = HTMLMediaElement.prototype;
  let sound;
  HTMLMediaElement.prototype.play = function remembered() {
    if (this instanceof HTMLAudioElement) sound = this;
    return play.call(this);
  };
  const videos = () => [...document.querySelectorAll('video')].filter(({ src, videoWidth }) => src && videoWidth > 0);
  globalThis.replayed = {
    clocks: () => ({
      playing: sound !== undefined && !sound.paused && !sound.seeking && sound.readyState >= 3,
      sound: sound?.currentTime * 1000,
      pictures: videos().map(({ currentTime }) => currentTime * 1000),
      frames: videos().map((video) => {
        const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
        return { totalVideoFrames, droppedVideoFrames };
      }),
    }),
    /** Milliseconds until each picture shows a frame of the new place and the sound goes on there. */
    async seek(toMs, shownMs) {
      const bar = document.querySelector('input.seek');
      const began = performance.now();
      bar.value = String(toMs);
      bar.dispatchEvent(new Event('input', { bubbles: true }));
      const shown = videos().map(
        (video) =>
          new Promise((resolve) => {
            const look = (now, { mediaTime }) => {
              const at = sound.currentTime * 1000;
              if (!video.seeking && Math.abs(mediaTime * 1000 - at) < shownMs) resolve(now - began);
              else video.requestVideoFrameCallback(look);
            };
            video.requestVideoFrameCallback(look);
          }),
      );
      const heard = new Promise((resolve) => {
        const look = () => {
          if (!sound.seeking && !sound.paused && sound.currentTime * 1000 > toMs + 1)
            resolve(performance.now() - began);
          else setTimeout(look, 5);
        };
        look();
      });
      const times = await Promise.all([...shown, heard]);
      return { pictures: Math.max(...times.slice(0, -1)), sound: times.at(-1), count: shown.length };
    },
  };
}

/** How far the clocks are apart, the first of all from the last, at each look. */
async function spread(page) {
  const apart = [];
  const first = await page.evaluate('replayed.clocks()');
  const end = performance.now() + PLAYED_MS;
  while (performance.now() < end) {
    const { playing, sound, pictures } = await page.evaluate('replayed.clocks()');
    if (playing && pictures.length === 6) {
      const all = [sound, ...pictures];
      apart.push(Math.max(...all) - Math.min(...all));
    }
    await sleep(50);
  }
  const last = await page.evaluate('replayed.clocks()');
  const count = ({ frames }, name) => frames.reduce((sum, one) => sum + one[name], 0);
  const all = count(last, 'totalVideoFrames') - count(first, 'totalVideoFrames');
  const dropped = count(last, 'droppedVideoFrames') - count(first, 'droppedVideoFrames');
  return { apart, dropped: dropped / all };
}

/** Two steps of the page's speeds, which lie between 1 and 1.5. */
async function paced(page, key, speed) {
  for (let step = 0; step < 2; step += 1) await page.keyboard.press(key);
  await until(`${speed}x`, () =>
    page.evaluate(`Math.abs(document.querySelector('video').playbackRate - ${speed}) < 0.1`),
  );
}

const figures = (values) => [50, 95, 100].map((p) => ms(percentile(values, p))).join(' / ');

export async function measure() {
  const server = new Server();
  let browser;
  try {
    record(join(server.folder, 'data/recordings', ID), {
      seconds: SECONDS,
      keyframeSeconds: Number(process.env.KEYFRAME_SECONDS ?? KEYFRAME_SECONDS),
      screen: false,
    });
    await server.up();
    browser = await launchChromium();
    const headers = { authorization: `Bearer ${server.apiKey}` };
    const made = await fetch(`${server.url}/api/recordings/${ID}/links`, { method: 'POST', headers });
    const page = await newPage(browser);
    await page.addInitScript(instruments);
    await page.goto((await made.json()).url);
    await page.getByRole('heading', { name: 'Bench' }).waitFor();
    await page.keyboard.press('Space');
    const plays = async () => {
      const { playing, pictures } = await page.evaluate('replayed.clocks()');
      return playing && pictures.length === 6 && pictures.every((at) => at > 1000);
    };
    await until('all six play', plays, { within: 30_000 });
    await sleep(3000);
    const rows = [];
    for (const speed of [1, 1.5]) {
      await page.evaluate('replayed.seek(5000, 150)');
      if (speed === 1.5) await paced(page, '>', speed);
      await sleep(2000);
      const { apart, dropped } = await spread(page);
      rows.push([`clocks apart at ${speed}x, p50 / p95 / most`, figures(apart), '40 ms (p95)']);
      rows.push([`pictures dropped at ${speed}x`, `${(dropped * 100).toFixed(1)} %`, '']);
    }
    await paced(page, '<', 1);
    const [pictures, sound] = [[], []];
    for (let seek = 0; seek < SEEKS; seek += 1) {
      // Places that come near keyframes and far from them, before and after where it is.
      const toMs = (((seek * 37) % 100) / 100) * (SECONDS - 10) * 1000 + 2000;
      const took = await page.evaluate(`replayed.seek(${Math.round(toMs / 100) * 100}, ${SHOWN_MS})`);
      pictures.push(took.pictures);
      sound.push(took.sound);
      await sleep(600);
    }
    rows.push(['seek until all six pictures show the place, p50 / p95 / most', figures(pictures), '500 ms (p95)']);
    rows.push(['seek until the sound goes on, p50 / p95 / most', figures(sound), '']);
    await browser.close();
    await server.stop();
    return table(['', 'measured', 'goal'], rows);
  } finally {
    await browser?.close();
    await server.kill();
    rmSync(server.folder, { recursive: true, force: true });
  }
}
