// The clock of a replay: where it is, whether it goes, how fast. It knows nothing of elements: each tick is told what the sound says.

/** The slowest and the fastest. */
export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3] as const;

/** What leads: the sound's room time; nothing (the wall clock leads); or a sound that has to load first. */
export type Lead = number | 'wall' | 'stalled';

/** A stretch of room time, in milliseconds. */
export type Stretch = readonly [fromMs: number, toMs: number];

/** The clock. */
export class Transport {
  #positionMs = 0;
  #playing = false;
  #speed = 1;
  #last: number | undefined;
  #durationMs = 0;
  #pauses: readonly Stretch[] = [];
  /** Whether more may come after the end. */
  #live = false;

  get positionMs(): number {
    return this.#positionMs;
  }

  get playing(): boolean {
    return this.#playing;
  }

  get speed(): number {
    return this.#speed;
  }

  get durationMs(): number {
    return this.#durationMs;
  }

  get atEnd(): boolean {
    return this.#positionMs >= this.#durationMs;
  }

  /** What is known of the recording now. */
  extend(durationMs: number, pauses: readonly Stretch[], live: boolean): void {
    this.#durationMs = durationMs;
    this.#pauses = pauses;
    this.#live = live;
  }

  /** Goes on; from the beginning when it is at the end. */
  play(): void {
    if (this.atEnd && !this.#live) this.#positionMs = 0;
    this.#playing = true;
    this.#last = undefined;
  }

  pause(): void {
    this.#playing = false;
  }

  setSpeed(speed: number): void {
    this.#speed = Math.max(0.5, Math.min(3, speed));
  }

  seek(toMs: number): void {
    this.#positionMs = Math.max(0, Math.min(toMs, this.#durationMs));
    this.#last = undefined;
    this.#skip();
  }

  /** Time goes on. True when the position has jumped over a pause, so that the sound has to follow. `nowMs` is monotonic. */
  tick(nowMs: number, lead: Lead): boolean {
    const passed = this.#last === undefined ? 0 : Math.max(0, nowMs - this.#last);
    this.#last = nowMs;
    if (!this.#playing || lead === 'stalled') return false;
    const next = lead === 'wall' ? this.#positionMs + passed * this.#speed : lead;
    this.#positionMs = Math.min(next, this.#durationMs);
    if (this.atEnd) {
      // A class that still goes on: the next seconds come with the next manifest.
      if (!this.#live) this.#playing = false;
      return false;
    }
    return this.#skip();
  }

  #skip(): boolean {
    const pause = this.#pauses.find(([from, to]) => this.#positionMs >= from && this.#positionMs < to);
    if (!pause) return false;
    this.#positionMs = Math.min(pause[1], this.#durationMs);
    return true;
  }
}
