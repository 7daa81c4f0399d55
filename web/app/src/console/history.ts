// What the server did in the last minutes, for the charts: kept in the page, as long as it is open.
import type { ConsoleNode, ConsoleRoom } from './api';

/** How far back the charts reach. */
export const WINDOW_MS = 10 * 60_000;
/** A pause longer than this (the page was hidden, the server away) is a gap and no line. */
const GAP_MS = 10_000;

/** A moment. */
export interface Sample {
  /** Milliseconds of the page's own clock. */
  readonly at: number;
  readonly people: number;
  readonly packets: number;
  /** The busiest worker's share of its core, 0 to 1. */
  readonly busy: number;
}

/** People in all rooms. */
export const peopleIn = (rooms: readonly ConsoleRoom[]): number =>
  rooms.reduce((sum, room) => sum + room.participants.filter((one) => one.present).length, 0);

/** Packets a second of all workers. */
export const packetsOf = (node: ConsoleNode): number =>
  node.workers.reduce((sum, worker) => sum + worker.packetsPerSecond, 0);

/** What there is to see at this moment. */
export function sampleOf(at: number, node: ConsoleNode, rooms: readonly ConsoleRoom[]): Sample {
  const busy = Math.max(0, ...node.workers.map((worker) => worker.busy));
  return { at, people: peopleIn(rooms), packets: packetsOf(node), busy };
}

/** The history with one more, without what is too old. */
export function remember(history: readonly Sample[], sample: Sample): readonly Sample[] {
  return [...history.filter(({ at }) => at > sample.at - WINDOW_MS && at < sample.at), sample];
}

/** A line in a box of 1 by 1, y downwards, as SVG path data; `now` is its right edge and `most` its upper one. */
export function lineOf(
  history: readonly Sample[],
  value: (sample: Sample) => number,
  now: number,
  most: number,
): string {
  let path = '';
  let before: Sample | undefined;
  for (const sample of history) {
    const x = 1 - (now - sample.at) / WINDOW_MS;
    const y = 1 - Math.min(1, Math.max(0, value(sample) / most));
    const isGap = before === undefined || sample.at - before.at > GAP_MS;
    path += `${isGap ? 'M' : 'L'}${x.toFixed(4)} ${y.toFixed(4)}`;
    before = sample;
  }
  return path;
}

/** A round number that is not below: 1, 2 or 5 times a power of ten. */
export function roundUp(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((factor) => factor * power >= value) ?? 10) * power;
}
