import { describe, expect, it } from 'vitest';

import { beatOf, type Finding, Pulse } from '../src/pulse.js';

type Look = [bytesReceived: number, unanswered: number, pair?: string, bytesSent?: number];

/** Feeds a beat each half second; the times at which the connection is found dead. */
function deaths(beats: readonly Look[], pulse = new Pulse()) {
  return found(beats, 500, pulse)
    .filter(([, finding]) => finding === 'dead')
    .map(([at]) => at);
}

/** Feeds a beat each `everyMs`; what is found besides `alive`, and when. */
function found(beats: readonly Look[], everyMs = 200, pulse = new Pulse()) {
  const findings: [number, Finding][] = [];
  beats.forEach(([bytesReceived, unanswered, pair = 'a', bytesSent = 0], index) => {
    const finding = pulse.take({ pair, bytesReceived, bytesSent, unanswered }, everyMs * index);
    if (finding !== 'alive') findings.push([everyMs * index, finding]);
  });
  return findings;
}

/** Looks while media is sent: `received` says of each how much has come. */
const sending = (received: readonly number[], bytes = 1000): Look[] =>
  received.map((bytesReceived, index) => [bytesReceived, 0, 'a', index * bytes]);

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

  it('finds a way dead in less than a second when what is sent on it is not heard of', () => {
    expect(found(sending([1, 2, 3, 4, 4, 4, 4, 4, 4]))).toEqual([
      [1000, 'doubtful'],
      [1200, 'dead'],
    ]);
    // A class in which the others fall silent, of which the server goes on to report.
    expect(found(sending(Array.from({ length: 100 }, (_, index) => Math.floor(index / 2))))).toEqual([]);
  });

  it('takes reports of what was received for no media', () => {
    expect(found(sending([1, 2, 3, ...repeat(100, 3)], 100))).toEqual([]);
    // Who speaks once into the silence of a muted class gets a report, and nothing after it.
    const once = Array.from({ length: 100 }, (_, index): Look => [index < 11 ? 1 : 2, 0, 'a', index < 10 ? 0 : 1000]);
    expect(found(once)).toEqual([]);
  });

  it('does not mistake a page that was held up for a silent network', () => {
    const pulse = new Pulse();
    const look = (bytesReceived: number, bytesSent: number, at: number) =>
      pulse.take({ pair: 'a', bytesReceived, bytesSent, unanswered: 0 }, at);
    expect([look(1, 0, 0), look(2, 1000, 200), look(9, 9000, 5000), look(10, 9500, 5200)]).toEqual(repeat(4, 'alive'));
    // A lid that was closed for a minute: nothing was sent either.
    expect([look(10, 9500, 65_200), look(10, 9900, 65_400)]).toEqual(repeat(2, 'alive'));
  });

  it('leaves a network that stands still again and again alone', () => {
    const hiccup = (from: number) => [from, ...repeat(6, from)];
    const received = [0, 1, 2, 3, 4, 5, 6].flatMap((index) => hiccup(index * 10));
    const dead = found(sending(received)).filter(([, finding]) => finding === 'dead');
    expect(dead).toEqual([
      [600, 'dead'],
      [6200, 'dead'],
    ]);
  });

  it('begins anew with another way, and knows nothing without one', () => {
    const pulse = new Pulse();
    expect(
      deaths([...repeat(4, [2, 1] as [number, number]), ...repeat(4, [2, 1, 'b'] as [number, number, string])], pulse),
    ).toEqual([]);
    expect(pulse.take(undefined, 60_000)).toBe('alive');
    expect(pulse.take(undefined, 90_000)).toBe('alive');
  });

  it('reads the pair that media takes out of a report', () => {
    const pair = { type: 'candidate-pair', bytesReceived: 5, bytesSent: 6, requestsSent: 4, responsesReceived: 3 };
    const report = [
      { ...pair, id: 'other', bytesReceived: 9 },
      { type: 'transport', id: 't', selectedCandidatePairId: 'chosen' },
      { ...pair, id: 'chosen' },
    ];
    expect(beatOf(report)).toEqual({ pair: 'chosen', bytesReceived: 5, bytesSent: 6, unanswered: 1 });
    expect(beatOf(report.slice(0, 2))).toBeUndefined();
    // Firefox does not count its checks.
    expect(beatOf([...report.slice(1, 2), { type: 'candidate-pair', id: 'chosen' }])).toBeUndefined();
  });
});
