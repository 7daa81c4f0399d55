// The system's Firefox over WebDriver BiDi, without geckodriver.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { executable } from './chromium.mjs';
import { Lab, LOOKS } from './lab.mjs';
import { until } from './until.mjs';

const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.block-webaudio': false,
  // The fake microphone hums at the frequency of LOOKS[2]. (An AudioContext does not run without a sound card here, so that the
  // lab neither makes nor hears a tone in Firefox: see `device` in lab/lab.mjs.)
  'media.navigator.audio.fake_frequency': LOOKS[2].frequency,
  'media.autoplay.blocking_policy': 0,
  // Loopback stays out of reach for Firefox's ICE; the test gives `lo` another address (firefox.test.mjs).
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
  'app.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  // OpenH264 would be fetched from outside.
  'media.gmp-manager.updateEnabled': false,
  'dom.min_background_timeout_value': 4,
  'dom.timeout.enable_budget_timer_throttling': false,
};

export class Firefox {
  #child;
  #socket;
  #next = 1;
  #waiting = new Map();
  said = [];

  static async launch() {
    const firefox = new Firefox();
    try {
      await firefox.#launch();
    } catch (error) {
      await firefox.stop();
      throw error;
    }
    return firefox;
  }

  async #launch() {
    this.profile = mkdtempSync(join(tmpdir(), 'lectern-firefox-'));
    const lines = Object.entries(PREFERENCES).map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
    );
    writeFileSync(join(this.profile, 'user.js'), `${lines.join('\n')}\n`);
    const program = executable(['firefox-esr', 'firefox'], process.env.FIREFOX);
    this.#child = spawn(
      program,
      ['--headless', '--no-remote', '--remote-debugging-port=0', '--profile', this.profile, 'about:blank'],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, HOME: this.profile, MOZ_DISABLE_CONTENT_SANDBOX: '1' },
      },
    );
    this.log = '';
    const keep = (chunk) => (this.log += chunk);
    this.#child.stdout.setEncoding('utf8').on('data', keep);
    this.#child.stderr.setEncoding('utf8').on('data', keep);
    const address = await until('Firefox listens', () => /WebDriver BiDi listening on (ws:\S+)/.exec(this.log)?.[1], {
      within: 60_000,
    });
    this.#socket = new WebSocket(`${address}/session`, { perMessageDeflate: false });
    await new Promise((resolve, reject) => this.#socket.once('open', resolve).once('error', reject));
    this.#socket.on('message', (data) => this.#receive(JSON.parse(data)));
    await this.command('session.new', { capabilities: {} });
    await this.command('session.subscribe', { events: ['log.entryAdded'] });
  }

  #receive(message) {
    if (message.id === undefined) {
      if (message.method === 'log.entryAdded') this.said.push(`${message.params.level}: ${message.params.text}`);
      return;
    }
    const { resolve, reject } = this.#waiting.get(message.id) ?? {};
    this.#waiting.delete(message.id);
    if (message.type === 'error') reject?.(new Error(`${message.error}: ${message.message}`));
    else resolve?.(message.result);
  }

  command(method, params) {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  async open(url) {
    const { context } = await this.command('browsingContext.create', { type: 'tab' });
    await this.command('browsingContext.navigate', { context, url, wait: 'complete' });
    return (code) => this.#evaluate(context, code);
  }

  async #evaluate(context, code) {
    const answer = await this.command('script.evaluate', {
      target: { context },
      expression: `(async () => JSON.stringify(await (${code})))()`,
      awaitPromise: true,
      userActivation: true,
      resultOwnership: 'none',
    });
    if (answer.type === 'exception') throw new Error(answer.exceptionDetails.text);
    return answer.result.type === 'undefined' ? undefined : JSON.parse(answer.result.value);
  }

  async openLab(front) {
    const evaluate = await this.open(`${front.url}/lab/`);
    await until('the lab is ready', () => evaluate('globalThis.labReady === true'));
    return new Lab(evaluate);
  }

  async stop() {
    try {
      if (this.#socket?.readyState === WebSocket.OPEN)
        await Promise.race([this.command('browser.close', {}), new Promise((resolve) => setTimeout(resolve, 3000))]);
    } catch {
      // it goes anyway
    }
    this.#socket?.terminate();
    if (this.#child && this.#child.exitCode === null) {
      const gone = new Promise((resolve) => this.#child.once('exit', resolve));
      this.#child.kill('SIGKILL');
      await gone;
    }
    if (this.profile) rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
