import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { LessonFeed } from '../src/feed.js';
import { fold, type LessonEvent } from '../src/index.js';
import { AT, LESSON } from './support/server.js';

const more: LessonEvent[] = Array.from({ length: 20 }, (_, index) => ({
  seq: 4 + index,
  at: AT,
  by: 'you',
  kind: 'chat',
  text: `message ${index}`,
  nonce: String(index),
}));
const all = [...LESSON, ...more];

describe('LessonFeed', () => {
  it('asks for what is missing and goes on from there', () => {
    const feed = new LessonFeed();
    feed.accept(LESSON);
    expect(feed.accept(more.slice(2, 4))).toEqual([]);
    expect(feed.gap).toBe(true);
    expect(feed.seq).toBe(3);
    expect(feed.accept(more.slice(0, 2)).map(({ seq }) => seq)).toEqual([4, 5, 6, 7]);
    expect(feed.gap).toBe(false);
  });

  it('does not take an older state of the same lesson, and takes any state of another', () => {
    const feed = new LessonFeed();
    feed.accept(all);
    const old = fold(undefined, LESSON);
    if (!old) throw new Error('a lesson');
    feed.reset(old);
    expect(feed.seq).toBe(23);
    feed.reset({ ...old, lesson: 'another' });
    expect(feed.seq).toBe(3);
  });

  it('starts over with a new lesson', () => {
    const feed = new LessonFeed();
    feed.accept(all);
    const opened = LESSON[0];
    if (opened?.kind !== 'opened') throw new Error('opens');
    feed.accept([{ ...opened, lesson: 'l2' }]);
    expect(feed.state?.chat).toEqual([]);
    expect(feed.seq).toBe(1);
  });

  it('gives each event once and the same state, however they come', () => {
    const parts = fc.array(fc.tuple(fc.nat(all.length), fc.nat(8)), { maxLength: 20 });
    fc.assert(
      fc.property(parts, (slices) => {
        const feed = new LessonFeed();
        const seen = feed.accept(LESSON).map(({ seq }) => seq);
        for (const [from, length] of slices)
          seen.push(...feed.accept(all.slice(from, from + length)).map(({ seq }) => seq));
        seen.push(...feed.accept(all).map(({ seq }) => seq));
        expect(seen).toEqual(all.map(({ seq }) => seq));
        expect(feed.state).toEqual(fold(undefined, all));
        expect(feed.gap).toBe(false);
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});
