// The test's hand on the real page: what a person would do with mouse and keyboard.
import { newPage } from './chromium.mjs';
import { until } from './until.mjs';
import { say } from './words.mjs';

export class Classroom {
  constructor(page) {
    this.page = page;
  }

  static async open(browser, link, options) {
    const page = await newPage(browser, options);
    await page.goto(link);
    return new Classroom(page);
  }

  button(key, gaps) {
    return this.page.getByRole('button', { name: say(key, gaps), exact: true });
  }

  /** Buttons whose name grows: a reason or a count may follow. */
  buttonLike(key, gaps) {
    return this.page.getByRole('button', { name: say(key, gaps) });
  }

  /** Through the lobby, when camera and microphone are on. */
  async join() {
    await this.button('lobby.join').click({ timeout: 20_000 });
    await this.toolbar.waitFor({ timeout: 15_000 });
  }

  get toolbar() {
    return this.page.getByRole('toolbar', { name: say('bar.label') });
  }

  tile(name) {
    return this.page.getByRole('article', { name, exact: true });
  }

  /** Waits until the picture in `name`'s tile moves. */
  async sees(name, { within = 15_000 } = {}) {
    const video = this.tile(name).locator('video');
    await video.waitFor({ state: 'attached', timeout: within });
    const frames = () =>
      video.evaluate((element) => (element.videoWidth > 0 ? element.getVideoPlaybackQuality().totalVideoFrames : 0));
    const first = await until(`${name} is seen`, frames, { within });
    await until(`${name} moves`, async () => (await frames()) > first + 5, { within });
  }

  async openPanel(key) {
    const toggle = this.toolbar.getByRole('button', { name: new RegExp(`^${say(key)}`) });
    if ((await toggle.getAttribute('aria-expanded')) !== 'true') await toggle.click();
  }

  async say(text) {
    await this.openPanel('bar.chat');
    const field = this.page.getByRole('textbox', { name: say('chat.placeholder') });
    await field.fill(text);
    await field.press('Enter');
  }

  async reads(text, { within = 10_000 } = {}) {
    await this.openPanel('bar.chat');
    await this.page.getByRole('log').getByText(text, { exact: true }).first().waitFor({ timeout: within });
  }

  /** The screen that says how it ended, or why it did not begin. */
  async outcome(kind, { within = 15_000 } = {}) {
    await this.page
      .getByRole('heading', { name: say(`outcome.${kind}.title`), exact: true })
      .waitFor({ timeout: within });
  }

  async close() {
    await this.page.context().close();
  }
}
