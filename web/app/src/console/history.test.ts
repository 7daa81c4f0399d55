import { describe, expect, it } from 'vitest';

import { lineOf, remember, roundUp, sampleOf, WINDOW_MS, type Sample } from './history';

const at = (ms: number, packets = 0): Sample => ({ at: ms, people: 0, packets, busy: 0 });

describe('the last ten minutes', () => {
  it('is what the node and its rooms are at', () => {
    const worker = (busy: number, packetsPerSecond: number) => ({ busy, packetsPerSecond, peers: 1, rooms: 1 });
    const person = (identity: string, present: boolean) => ({ identity, present });
    const node = { workers: [worker(0.2, 100), worker(0.7, 50)] };
    const rooms = [{ participants: [person('a', true), person('b', false)] }, { participants: [person('c', true)] }];
    expect(sampleOf(5, node as never, rooms as never)).toEqual({ at: 5, people: 2, packets: 150, busy: 0.7 });
    expect(sampleOf(5, { workers: [] } as never, [])).toEqual({ at: 5, people: 0, packets: 0, busy: 0 });
  });

  it('forgets what is older, and does not grow', () => {
    let history: readonly Sample[] = [];
    for (let ms = 0; ms <= 2 * WINDOW_MS; ms += 2_000) history = remember(history, at(ms));
    expect(history).toHaveLength(WINDOW_MS / 2_000);
    expect(history.at(-1)?.at).toBe(2 * WINDOW_MS);
    expect(history[0]?.at).toBeGreaterThan(WINDOW_MS);
    // A clock that stands still does not make two of one moment.
    expect(remember(history, at(2 * WINDOW_MS))).toHaveLength(history.length);
  });

  it('is a line with a gap where nobody looked', () => {
    const history = [at(0, 0), at(2_000, 50), at(60_000, 100), at(WINDOW_MS, 200)];
    const line = lineOf(history, ({ packets }) => packets, WINDOW_MS, 100);
    expect(line).toBe('M0.0000 1.0000L0.0033 0.5000M0.1000 0.0000M1.0000 0.0000');
    expect(lineOf([], ({ packets }) => packets, 0, 1)).toBe('');
  });

  it('has a round top', () => {
    expect([0, 1, 1.2, 3, 7, 20, 21, 59_617, 100_000].map(roundUp)).toEqual([1, 1, 2, 5, 10, 20, 50, 100_000, 100_000]);
  });
});
