// A shared screen that can be judged: pages of small text, each with its number on it, so that a receiver can draw the same page
// and compare what came with what was shown (SSIM); and a film, every frame of which is new.

const FONT_PX = 15;
const LINE_PX = 22;
const MARK_PX = 24;
/** A strip at the bottom in which somebody writes; it is not judged, for nobody knows how far the writing was. */
const WRITING_PX = 40;
const WRITING_EVERY_MS = 200;
const MARK_BITS = 16;

const WORDS =
  'the knot is a closed curve in space that cannot be untied without a cut two knots are equal if one can be moved into the other ' +
  'crossing number unknotting genus polynomial invariant Reidemeister Alexander Jones trefoil figure eight braid link torus 3_1 4_1';

/** A small generator, so that a page is the same in every browser page (mulberry32). */
function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws page `number`: a heading, lines of small text, a code listing, and its number as black and white blocks on top. */
export function drawPage(pen, width, height, number) {
  const random = chance(number + 1);
  const words = WORDS.split(' ');
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, width, height);
  for (let bit = 0; bit < MARK_BITS; bit += 1) {
    pen.fillStyle = (number >> bit) & 1 ? '#000' : '#fff';
    pen.fillRect((bit * width) / MARK_BITS, 0, width / MARK_BITS, MARK_PX);
  }
  pen.fillStyle = '#123';
  pen.font = '600 34px sans-serif';
  pen.fillText(`${number}. Knots and links`, 40, MARK_PX + 50);
  const top = MARK_PX + 70 + LINE_PX;
  const column = (x, wide, font, colour) => {
    pen.font = font;
    for (let y = top; y < height - WRITING_PX - 8; y += LINE_PX) {
      let line = '';
      const most = wide * (0.55 + 0.45 * random());
      while (pen.measureText(line).width < most) line += `${words[Math.floor(random() * words.length)]} `;
      pen.fillStyle = colour;
      pen.fillText(line.trim(), x, y, wide);
    }
  };
  column(40, width / 2 - 70, `${FONT_PX}px sans-serif`, '#222');
  pen.fillStyle = '#f3f5f7';
  pen.fillRect(width / 2, top - LINE_PX, width / 2 - 40, height - top - WRITING_PX);
  column(width / 2 + 14, width / 2 - 80, `${FONT_PX - 1}px monospace`, '#0b4f6c');
}

/** The number on a page, from its pixels; it survives any codec. */
export function numberOf({ data, width }) {
  let number = 0;
  for (let bit = 0; bit < MARK_BITS; bit += 1) {
    const x = Math.floor(((bit + 0.5) * width) / MARK_BITS);
    if (data[(Math.floor(MARK_PX / 2) * width + x) * 4 + 1] < 128) number |= 1 << bit;
  }
  return number;
}

/**
 * A screen of `width` by `height`. `kind` `text`: the page changes each `everyMs`, like slides, and meanwhile somebody writes
 * at the bottom, five letters a second; `film`: a picture with much movement in every frame.
 */
export function screen({ kind = 'text', hint, width = 1280, height = 720, everyMs = 3000, framesPerSecond = 30 }) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext('2d', { alpha: false });
  let number = 0;
  const draw = () => {
    if (kind === 'text') drawPage(pen, width, height, number);
    else drawFilm(pen, width, height, number);
    number += 1;
  };
  draw();
  const timers = [setInterval(draw, kind === 'text' ? everyMs : 1000 / framesPerSecond)];
  if (kind === 'text') timers.push(setInterval(() => write(pen, width, height), WRITING_EVERY_MS));
  const track = canvas.captureStream(framesPerSecond).getVideoTracks()[0];
  track.contentHint = hint ?? (kind === 'text' ? 'detail' : 'motion');
  // Not fired for `stop`, which is how a test ends it.
  const stop = track.stop.bind(track);
  track.stop = () => {
    timers.forEach(clearInterval);
    stop();
  };
  return track;
}

const written = new WeakMap();

function write(pen, width, height) {
  const letters = `${written.get(pen) ?? ''}${'abcdefghijkl mnopqrstuvwxyz'[Math.floor(Math.random() * 27)]}`.slice(
    -60,
  );
  written.set(pen, letters);
  pen.fillStyle = '#fff';
  pen.fillRect(0, height - WRITING_PX, width, WRITING_PX);
  pen.fillStyle = '#800';
  pen.font = `${FONT_PX}px sans-serif`;
  pen.fillText(letters, 40, height - 14);
}

function drawFilm(pen, width, height, frame) {
  const sky = pen.createLinearGradient(0, 0, width, height);
  sky.addColorStop(0, `hsl(${frame % 360} 60% 45%)`);
  sky.addColorStop(1, `hsl(${(frame + 120) % 360} 60% 25%)`);
  pen.fillStyle = sky;
  pen.fillRect(0, 0, width, height);
  const random = chance(7);
  for (let i = 0; i < 60; i += 1) {
    const [x, y, size, fast] = [random(), random(), 10 + random() * 60, 1 + random() * 6];
    pen.fillStyle = `hsl(${Math.floor(random() * 360)} 70% 60%)`;
    pen.beginPath();
    pen.arc((x * width + frame * fast) % width, (y * height + frame * (fast / 2)) % height, size, 0, Math.PI * 2);
    pen.fill();
  }
}

const luma = ({ data }) => {
  const grey = new Float32Array(data.length / 4);
  for (let i = 0, j = 0; i < grey.length; i += 1, j += 4)
    grey[i] = 0.299 * data[j] + 0.587 * data[j + 1] + 0.114 * data[j + 2];
  return grey;
};

/**
 * Mean structural similarity of two pictures' brightness, 0 to 1 (Wang, Bovik, Sheikh, Simoncelli 2004), over windows of 8 by 8 at every
 * fourth pixel. Windows in which the first is one flat colour are left out: an empty margin is easy, and would make any text look good.
 */
export function ssim(one, other) {
  const { width, height } = one;
  if (width !== other.width || height !== other.height) return 0;
  const [a, b] = [luma(one), luma(other)];
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  let [sum, windows] = [0, 0];
  for (let y = 0; y + 8 <= height; y += 4) {
    for (let x = 0; x + 8 <= width; x += 4) {
      let [sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0];
      for (let row = y; row < y + 8; row += 1) {
        for (let i = row * width + x; i < row * width + x + 8; i += 1) {
          sa += a[i];
          sb += b[i];
          saa += a[i] * a[i];
          sbb += b[i] * b[i];
          sab += a[i] * b[i];
        }
      }
      const [ma, mb] = [sa / 64, sb / 64];
      const [va, vb, cov] = [saa / 64 - ma * ma, sbb / 64 - mb * mb, sab / 64 - ma * mb];
      if (va < 4) continue;
      windows += 1;
      sum += ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
    }
  }
  return windows ? sum / windows : 1;
}

/** How a received screen of pages reads: `{number, ssim, width, height}` of the frame that is shown now, at the size of the source. */
export function read(video, { width = 1280, height = 720 } = {}) {
  if (video.videoWidth === 0) return undefined;
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
  // A smaller picture is scaled up, as a viewer's page does.
  pen.imageSmoothingQuality = 'high';
  pen.drawImage(video, 0, 0, width, height);
  const came = pen.getImageData(0, 0, width, height - WRITING_PX);
  const number = numberOf(came);
  drawPage(pen, width, height, number);
  const shown = pen.getImageData(0, 0, width, height - WRITING_PX);
  return { number, ssim: ssim(shown, came), width: video.videoWidth, height: video.videoHeight };
}
