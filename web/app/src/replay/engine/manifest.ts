// What a recording is made of. `recording/src/manifest.rs` is the twin.
import type { Source } from '@lectern/client';

/** Points `[file ms, room ms]` of a track's clock, in order. */
export type ClockFit = readonly (readonly [number, number])[];

/** One file with one track. */
export interface Track {
  track: number;
  file: string;
  participant: string;
  name: string;
  source: Source;
  codec: string;
  /** Room time of the file's zero. */
  offsetMs: number;
  durationMs: number;
  bytes: number;
  width?: number;
  height?: number;
  clockFit: ClockFit;
}

/** All voices in one file. */
export interface Mix {
  file: string;
  offsetMs: number;
  durationMs: number;
  bytes: number;
}

/** A recording. Room time counts milliseconds from its beginning. */
export interface Manifest {
  version: number;
  id: string;
  room: string;
  title: string;
  lesson: string;
  state: 'live' | 'final' | 'recovered';
  /** RFC 3339 in UTC. */
  began: string;
  durationMs: number;
  tracks: Track[];
  mix?: Mix;
  /** Stretches of which nothing was recorded; the last may still be open. */
  pauses: [number, number | null][];
  timeline: string;
  timelineBytes: number;
}

/** Whether the track shows something. */
export function isPicture(source: Source): source is 'camera' | 'screen' | 'desktop' {
  return source === 'camera' || source === 'screen' || source === 'desktop';
}

/** Pictures that begin later than this after the recording are not waited for: what is said before them would be left out. */
const SOON_MS = 1_500;

/** Where a replay stands that was opened without a time: where the first pictures are there, most often some tenths of a second after the recording began. */
export function opensAt({ tracks }: Pick<Manifest, 'tracks'>): number {
  const begins = tracks.filter(({ source }) => isPicture(source)).map(({ offsetMs }) => offsetMs);
  return Math.max(0, ...begins.filter((offsetMs) => offsetMs <= SOON_MS));
}

/** Whether a track has something at this time. The manifest is right about that; a file that was cut is not. */
export function isOnAir({ offsetMs, durationMs }: Pick<Track, 'offsetMs' | 'durationMs'>, roomMs: number): boolean {
  return roomMs >= offsetMs && roomMs < offsetMs + durationMs;
}

/** Where in its file a track is at a room time, in milliseconds. */
export function fileTime({ offsetMs, clockFit }: Pick<Track, 'offsetMs' | 'clockFit'>, roomMs: number): number {
  const first = clockFit[0];
  const last = clockFit.at(-1);
  if (!first || !last) return Math.max(0, roomMs - offsetMs);
  if (roomMs <= first[1]) return Math.max(0, first[0] + roomMs - first[1]);
  if (roomMs >= last[1]) return last[0] + roomMs - last[1];
  // The first point after it: there is one, and one before it.
  let low = 1;
  let high = clockFit.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((clockFit[middle]?.[1] ?? Infinity) > roomMs) high = middle;
    else low = middle + 1;
  }
  const before = clockFit[low - 1] ?? first;
  const after = clockFit[low] ?? last;
  const span = after[1] - before[1];
  return span <= 0 ? after[0] : before[0] + ((roomMs - before[1]) * (after[0] - before[0])) / span;
}
