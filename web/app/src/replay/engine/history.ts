// What held at a time of the recording: the lesson's state, who spoke, what was muted. Grows with the timeline.
import { reduce, type LessonState, type Source } from '@lectern/client';

import { spokeNow } from '../../classroom/stage/choice';
import type { Entry } from './timeline';

interface At<T> {
  atMs: number;
  value: T;
}

/** Who spoke before whom matters only for so many. */
const SPEAKERS_KEPT = 6;

/** Follows a timeline. */
export class History {
  readonly #states: At<LessonState | undefined>[] = [];
  readonly #speakers: At<{ active: string | undefined; recent: readonly string[] }>[] = [];
  readonly #soundOnly: At<boolean>[] = [];
  readonly #muted = new Map<string, At<boolean>[]>();

  push(entries: readonly Entry[]): void {
    for (const entry of entries) this.#take(entry);
  }

  /** The lesson at that time; its first state before that. */
  stateAt(atMs: number): LessonState | undefined {
    return (lastBefore(this.#states, atMs) ?? this.#states[0])?.value;
  }

  /** Who speaks at that time, and who spoke before, the latest first. */
  speakersAt(atMs: number): { active: string | undefined; recent: readonly string[] } {
    return lastBefore(this.#speakers, atMs)?.value ?? { active: undefined, recent: [] };
  }

  /** Whether no pictures were recorded at that time, because little was free on the disk. */
  isSoundOnly(atMs: number): boolean {
    return lastBefore(this.#soundOnly, atMs)?.value === true;
  }

  isMuted(participant: string, source: Source, atMs: number): boolean {
    const changes = this.#muted.get(`${source}/${participant}`);
    return changes !== undefined && lastBefore(changes, atMs)?.value === true;
  }

  #take(entry: Entry): void {
    const { atMs } = entry;
    switch (entry.kind) {
      case 'snapshot':
        this.#states.push({ atMs, value: entry.state });
        return;
      case 'lesson': {
        const before = this.#states.at(-1)?.value;
        const value = reduce(before, entry.event);
        if (value !== before) this.#states.push({ atMs, value });
        return;
      }
      case 'speaker': {
        const active = entry.participant ?? undefined;
        const recent = spokeNow(this.#speakers.at(-1)?.value.recent ?? [], active, SPEAKERS_KEPT);
        this.#speakers.push({ atMs, value: { active, recent } });
        return;
      }
      case 'sound-only':
      case 'pictures-again':
        this.#soundOnly.push({ atMs, value: entry.kind === 'sound-only' });
        return;
      case 'muted': {
        const key = `${entry.source}/${entry.participant}`;
        const changes = this.#muted.get(key) ?? [];
        changes.push({ atMs, value: entry.muted });
        this.#muted.set(key, changes);
        return;
      }
      default:
        return;
    }
  }
}

/** The last of `list`, which is in order, that is not after `atMs`. */
function lastBefore<T>(list: readonly At<T>[], atMs: number): At<T> | undefined {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.atMs ?? Infinity) <= atMs) low = middle + 1;
    else high = middle;
  }
  return list[low - 1];
}
