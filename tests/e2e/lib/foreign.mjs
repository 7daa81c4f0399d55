// Clients that nobody here wrote, each a process of its own that sends and receives media. It prints what it sees and hears as lines of
// JSON, `{state, picture?: {frames, colour}, sound?: {rms, peaks}}` as `whip.report` does, and ends when its standard input is closed.
import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { hears, LOOKS, whose } from './lab.mjs';
import { until } from './until.mjs';

const END_WITHIN_MS = 10_000;

export class ForeignClient {
  #child;
  #exited;
  #name;
  #errors = '';
  /** What it told last. */
  report = {};

  /** @param options what the client gets, as JSON in its last argument */
  constructor(command, args, options) {
    this.#name = basename(args.at(-1) ?? command);
    this.#child = spawn(command, [...args, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve({ code: error.message }));
      this.#child.once('close', (code, signal) => resolve({ code: code ?? signal }));
    });
    this.#child.stderr.setEncoding('utf8').on('data', (chunk) => {
      this.#errors += chunk;
      if (process.env.LECTERN_E2E_LOG) process.stderr.write(chunk);
    });
    this.#child.stdin.on('error', () => {});
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (process.env.LECTERN_E2E_LOG) console.error(`[${this.#name}] ${line}`);
      this.report = JSON.parse(line);
    });
    void this.#exited.then((how) => (this.ended = how));
  }

  /** Waits until its report passes a test; tells at once if it has ended instead. */
  async until(what, test, { within = 20_000 } = {}) {
    const outcome = await until(
      `${this.#name}: ${what}`,
      () => {
        if (this.ended) return { ended: this.ended };
        const passed = test(this.report);
        if (!passed) throw new Error(JSON.stringify(this.report));
        return { passed };
      },
      { within },
    ).catch((error) => {
      throw new Error(`${error.message}\n${this.#errors}`, { cause: error });
    });
    if (outcome.ended)
      throw new Error(`${this.#name} ended with ${outcome.ended.code} before: ${what}\n${this.#errors}`);
    return outcome.passed;
  }

  connected() {
    return this.until('is connected', ({ state }) => state === 'connected');
  }

  /** It sees LOOKS[look], in decoded pictures that go on. */
  async sees(look, { frames = 20, ...options } = {}) {
    const shows = ({ picture }) => picture?.colour && whose(picture.colour) === look && picture;
    const first = await this.until(`sees look ${look}`, shows, options);
    return this.until(
      `sees look ${look} move`,
      (report) => shows(report) && report.picture.frames >= first.frames + frames && report.picture,
      options,
    );
  }

  /** It hears the tone of LOOKS[look]. */
  hearsTone(look, options) {
    return this.until(
      `hears ${LOOKS[look].frequency} Hz`,
      ({ sound }) => sound && sound.rms > 0.01 && hears(sound, LOOKS[look].frequency) && sound,
      options,
    );
  }

  /** Leaves as it should, and has ended well. */
  async end() {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_WITHIN_MS);
    const { code } = await this.#exited;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`${this.#name} ended with ${code}\n${this.#errors}`);
  }

  /** Whatever it does; what it complained of is told. */
  kill() {
    this.#child.kill('SIGKILL');
    if (this.#errors) console.error(`${this.#name}:\n${this.#errors}`);
  }
}
