// The test's hand on a lab page (lab/), whatever the browser: people join, and tell what they see and hear.
import assert from 'node:assert/strict';
import { newPage } from './chromium.mjs';
import { until } from './until.mjs';

/** Colours far enough apart to survive a codec at low rates, and tones that fall between each other's overtones. */
export const LOOKS = [
  { colour: [220, 30, 30], frequency: 440 },
  { colour: [30, 200, 40], frequency: 620 },
  { colour: [40, 60, 230], frequency: 830 },
  { colour: [230, 220, 40], frequency: 1050 },
  { colour: [220, 40, 220], frequency: 1300 },
  { colour: [30, 210, 220], frequency: 1570 },
  { colour: [240, 240, 240], frequency: 1870 },
  { colour: [120, 70, 20], frequency: 2210 },
  { colour: [120, 120, 120], frequency: 2590 },
  { colour: [15, 60, 40], frequency: 3000 },
];

/** Index in LOOKS of the nearest colour. */
export function whose(colour) {
  const distance = (other) => colour.reduce((sum, value, i) => sum + (value - other[i]) ** 2, 0);
  const distances = LOOKS.map((look) => distance(look.colour));
  return distances.indexOf(Math.min(...distances));
}

/** Whether a tone stands out in what `report().sound` heard. */
export const hears = (sound, frequency) => sound.peaks.some((peak) => Math.abs(peak - frequency) < 25);

export class Lab {
  /** `evaluate(code)` runs code in the page and gives its (awaited) value. */
  constructor(evaluate, close = async () => {}) {
    this.evaluate = evaluate;
    this.close = close;
  }

  /** With a `network` (lib/network.mjs), the page's media goes through it. */
  static async open(browser, front, { network } = {}) {
    const page = await newPage(browser);
    await network?.carries(page);
    const lost = [];
    page.on('requestfailed', (request) => lost.push(`${request.url()}: ${request.failure()?.errorText}`));
    await page.goto(`${front.url}/lab/`);
    await page.waitForFunction('globalThis.labReady').catch((error) => {
      throw new Error(`the lab page does not come up: ${[...lost, ...page.troubles, ...page.said].join('\n')}`, {
        cause: error,
      });
    });
    const lab = new Lab(
      (code) => page.evaluate(code),
      () => page.context().close(),
    );
    lab.page = page;
    return lab;
  }

  async do(name, ...args) {
    return this.evaluate(`lab.${name}(...${JSON.stringify(args)})`);
  }

  /** What must succeed. */
  async must(name, ...args) {
    const result = await this.do(name, ...args);
    if (result?.error)
      throw new Error(
        `${name} ${JSON.stringify(args.slice(0, 2))}: ${result.error.code} ${result.error.message}\n${result.error.stack}`,
      );
    return result?.ok;
  }

  join(id, options) {
    return this.must('join', id, options);
  }

  /** A method of the session that must succeed. */
  call(id, method, ...args) {
    return this.must('call', id, method, args);
  }

  /** A method of the session that must be refused with this code. */
  async refused(code, id, method, ...args) {
    const result = await this.do('call', id, method, args);
    assert.equal(result?.error?.code, code, `${id} ${method}: ${JSON.stringify(result)}`);
  }

  report(id) {
    return this.do('report', id);
  }

  /** Waits until `id` sees `other` (an index in LOOKS) as it looks, in frames that go on. */
  async sees(id, participant, look, { source = 'camera', within = 15_000, frames = 5 } = {}) {
    const key = `${participant} ${source}`;
    const first = await until(
      `${id} sees ${key}`,
      async () => {
        const picture = (await this.report(id)).pictures[key];
        return picture?.colour && picture.frames > 0 && whose(picture.colour) === look && picture;
      },
      { within },
    );
    return until(
      `${id} sees ${key} move`,
      async () => {
        const picture = (await this.report(id)).pictures[key];
        return picture.frames >= first.frames + frames && whose(picture.colour) === look && picture;
      },
      { within },
    );
  }

  /** Waits until `id` hears the tone of LOOKS[look]. */
  hearsTone(id, look, { within = 15_000 } = {}) {
    return until(
      `${id} hears ${LOOKS[look].frequency} Hz`,
      async () => {
        const { sound } = await this.report(id);
        return sound.rms > 0.01 && hears(sound, LOOKS[look].frequency) && sound;
      },
      { within },
    );
  }

  /** Waits until `id` no longer hears the tone of LOOKS[look]. */
  silentFrom(id, look, { within = 15_000 } = {}) {
    return until(
      `${id} no longer hears ${LOOKS[look].frequency} Hz`,
      async () => {
        const { sound } = await this.report(id);
        return !hears(sound, LOOKS[look].frequency) && { sound };
      },
      { within },
    );
  }
}
