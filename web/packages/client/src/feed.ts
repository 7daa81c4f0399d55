import { fold } from './lesson.js';
import type { LessonEvent, LessonState } from './protocol.js';

/** Early events that are kept while those before them are asked for; what is beyond comes with the answer to `sync`. */
const EARLY_EVENTS = 1000;

/** Takes events in whatever way they come, and gives the state without gaps and without repeats. */
export class LessonFeed {
  #state: LessonState | undefined;
  readonly #early = new Map<number, LessonEvent>();

  get state(): LessonState | undefined {
    return this.#state;
  }

  /** The number of the last event that is in the state. */
  get seq(): number {
    return this.#state?.seq ?? 0;
  }

  /** Events are missing: the caller asks `sync` with {@link seq}. */
  get gap(): boolean {
    return this.#early.size > 0;
  }

  /** Takes a whole state; an older one of the same lesson changes nothing. */
  reset(state: LessonState): LessonEvent[] {
    if (this.#state && this.#state.lesson === state.lesson && state.seq < this.#state.seq) return [];
    if (this.#state?.lesson !== state.lesson) this.#early.clear();
    this.#state = state;
    return this.#drain([]);
  }

  /** Takes events and gives those that are in the state now and were not before, in order. */
  accept(events: readonly LessonEvent[]): LessonEvent[] {
    const applied: LessonEvent[] = [];
    for (const event of events) {
      if (event.kind === 'opened' && event.lesson !== this.#state?.lesson) {
        this.#early.clear();
        this.#apply(event, applied);
      } else if (event.seq === this.seq + 1 && this.#state) {
        this.#apply(event, applied);
      } else if (event.seq > this.seq && this.#early.size < EARLY_EVENTS) {
        this.#early.set(event.seq, event);
      }
    }
    return this.#drain(applied);
  }

  #drain(applied: LessonEvent[]): LessonEvent[] {
    for (const seq of [...this.#early.keys()]) {
      if (seq <= this.seq) this.#early.delete(seq);
    }
    for (let next = this.#early.get(this.seq + 1); next; next = this.#early.get(this.seq + 1)) {
      this.#early.delete(next.seq);
      this.#apply(next, applied);
    }
    return applied;
  }

  #apply(event: LessonEvent, applied: LessonEvent[]): void {
    this.#state = fold(this.#state, [event]);
    applied.push(event);
  }
}
