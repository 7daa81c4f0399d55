import { describe, expect, it } from 'vitest';

import { beatOf, Pulse } from '../src/pulse.js';

/** Feeds a beat each half second, from `at`; the times at which the connection is found dead. */
function deaths(beats: readonly [bytesReceived: number, unanswered: number, pair?: string][], pulse = new Pulse()) {
  const found: number[] = [];
  beats.forEach(([bytesReceived, unanswered, pair = 'a'], index) => {
    if (pulse.take({ pair, bytesReceived, unanswered }, 500 * index)) found.push(500 * index);
  });
  return found;
}

const repeat = <T>(count: number, beat: T): T[] => Array.from({ length: count }, () => beat);

describe('Pulse', () => {
  it('is quiet while something comes, whatever is asked', () => {
    expect(deaths(Array.from({ length: 60 }, (_, index) => [index, index % 3]))).toEqual([]);
  });

  it('is quiet while nobody sends but checks are answered', () => {
    expect(deaths(Array.from({ length: 60 }, (_, index) => [7, index % 5 === 0 ? 1 : 0]))).toEqual([]);
  });

  it('finds a dead way two seconds after the last byte', () => {
    expect(deaths([[1, 0], [2, 0], ...repeat(8, [2, 1] as [number, number])])).toEqual([2500]);
    // The check comes late: the browser asks a steady connection every two and a half seconds.
    expect(
      deaths([[2, 0], ...repeat(5, [2, 0] as [number, number]), ...repeat(4, [2, 1] as [number, number])]),
    ).toEqual([3500]);
  });

  it('leaves time for a repair, and then asks for another', () => {
    expect(deaths(repeat(50, [2, 1] as [number, number]))).toEqual([2000, 12_000, 22_000]);
  });

  it('finds a way dead soon after the one before', () => {
    const dead = (bytes: number) => repeat(6, [bytes, 1] as [number, number]);
    expect(deaths([...dead(2), [3, 0], ...dead(4)])).toEqual([2000, 5500]);
  });

  it('begins anew with another way, and knows nothing without one', () => {
    const pulse = new Pulse();
    expect(
      deaths([...repeat(4, [2, 1] as [number, number]), ...repeat(4, [2, 1, 'b'] as [number, number, string])], pulse),
    ).toEqual([]);
    expect(pulse.take(undefined, 60_000)).toBe(false);
    expect(pulse.take(undefined, 90_000)).toBe(false);
  });

  it('reads the pair that media takes out of a report', () => {
    const pair = { type: 'candidate-pair', bytesReceived: 5, requestsSent: 4, responsesReceived: 3 };
    const report = [
      { ...pair, id: 'other', bytesReceived: 9 },
      { type: 'transport', id: 't', selectedCandidatePairId: 'chosen' },
      { ...pair, id: 'chosen' },
    ];
    expect(beatOf(report)).toEqual({ pair: 'chosen', bytesReceived: 5, unanswered: 1 });
    expect(beatOf(report.slice(0, 2))).toBeUndefined();
    // Firefox does not count its checks.
    expect(beatOf([...report.slice(1, 2), { type: 'candidate-pair', id: 'chosen' }])).toBeUndefined();
  });
});
