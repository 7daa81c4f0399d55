// Whether a browser plays a file of a recording, from a plain <video> or <audio>: to its end, and from its middle.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** How many frames a file has, as ffprobe counts them. */
export async function packetsOf(url) {
  const count = ['-count_packets', '-show_entries', 'stream=nb_read_packets', '-of', 'csv=p=0'];
  const { stdout } = await promisify(execFile)('ffprobe', ['-v', 'error', ...count, url]);
  return Number(stdout.trim());
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
export function check(browser, files, told) {
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
/** The code of `playThrough` for a file, for a page to run. */
export const playing = ({ path, source }) =>
  `(${playThrough})(${JSON.stringify(path)}, ${JSON.stringify(isPicture({ source }))})`;
