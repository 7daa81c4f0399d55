import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { fold, type LessonEvent, type ViewPicture } from '../src/index.js';
import { planView, ViewSender } from '../src/view.js';
import { AT, LESSON } from './support/server.js';

const published = (seq: number, participant: string, muted = false): LessonEvent[] => [
  { seq, at: AT, by: participant, kind: 'joined', participant, name: participant, role: 'student' },
  { seq: seq + 1, at: AT, by: participant, kind: 'published', participant, source: 'camera', muted },
];
const state = fold(undefined, [...LESSON, ...published(4, 'a'), ...published(6, 'b', true), ...published(8, 'c')]);
const camera = (participant: string, width = 320, height = 180): ViewPicture => ({
  participant,
  source: 'camera',
  width,
  height,
});
const names = (pictures: ViewPicture[]) => pictures.map(({ participant }) => participant);

describe('planView', () => {
  it('asks for pictures that exist first, then for muted ones, then for those that may come', () => {
    expect(names(planView([camera('you'), camera('b'), camera('c'), camera('a')], state, 'me', 9))).toEqual([
      'c',
      'a',
      'b',
      'you',
    ]);
  });

  it('asks for no more than there are slots, never for itself, strangers, or one picture twice', () => {
    const shown = [
      camera('me'),
      camera('nobody'),
      camera('constructor'),
      camera('a'),
      camera('a', 10),
      camera('c'),
      camera('b'),
    ];
    expect(names(planView(shown, state, 'me', 2))).toEqual(['a', 'c']);
  });

  it('rounds sizes up, into the 16 bits of the wire', () => {
    const [tiny, huge] = planView([camera('a', 0.2, Number.NaN), camera('c', 1e9, 321)], state, 'me', 9);
    expect(tiny).toMatchObject({ width: 16, height: 16 });
    expect(huge).toMatchObject({ width: 65520, height: 336 });
  });
});

describe('ViewSender', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('sends the first at once, the last of a burst after the interval, and nothing twice', () => {
    const sent: string[][] = [];
    const sender = new ViewSender((pictures) => sent.push(names(pictures)) > 0, 100);
    sender.want([camera('a')]);
    expect(sent).toEqual([['a']]);
    sender.want([camera('b')]);
    sender.want([camera('c')]);
    vi.advanceTimersByTime(99);
    expect(sent).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(sent).toEqual([['a'], ['c']]);
    sender.want([camera('c')]);
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(2);
  });

  it('sends again to a server that has forgotten, and after a time without one', () => {
    let up = false;
    const sent: string[][] = [];
    const sender = new ViewSender((pictures) => up && sent.push(names(pictures)) > 0, 100);
    sender.want([camera('a')]);
    expect(sent).toEqual([]);
    up = true;
    sender.reset();
    sender.reset();
    expect(sent).toEqual([['a'], ['a']]);
  });
});
