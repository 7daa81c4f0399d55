import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { pageOf, withSpeakers } from './paging';

describe('pageOf', () => {
  it('cuts a list into pages', () => {
    expect(pageOf([1, 2, 3, 4, 5], 2, 1)).toEqual({ items: [3, 4], index: 1, pages: 3 });
    expect(pageOf([], 4, 0)).toEqual({ items: [], index: 0, pages: 1 });
  });

  it('gives the nearest page when people have left', () => {
    expect(pageOf([1, 2, 3], 2, 9).index).toBe(1);
    expect(pageOf([1, 2, 3], 2, -1).index).toBe(0);
    expect(pageOf([1, 2], 0, 0).pages).toBe(2);
  });

  it('shows everybody once over all pages', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer()), fc.integer({ min: 1, max: 12 }), (list, size) => {
        const { pages } = pageOf(list, size, 0);
        const all = Array.from({ length: pages }, (_, index) => pageOf(list, size, index).items).flat();
        expect(all).toEqual(list);
      }),
      { seed: 3 },
    );
  });
});

describe('withSpeakers', () => {
  const list = ['teacher', 'me', 'a', 'b', 'c', 'd', 'e'];
  const kept = (id: string) => id === 'teacher' || id === 'me';
  const speaking =
    (...ids: string[]) =>
    (id: string) =>
      ids.indexOf(id);

  it('changes nothing while those who speak are in view', () => {
    expect(withSpeakers(list, 4, speaking('a', 'b'), kept)).toEqual(list);
  });

  it('exchanges a late speaker with the last one in view who is silent', () => {
    expect(withSpeakers(list, 4, speaking('e'), kept)).toEqual(['teacher', 'me', 'a', 'e', 'c', 'd', 'b']);
    expect(withSpeakers(list, 4, speaking('e', 'b'), kept)).toEqual(['teacher', 'me', 'e', 'b', 'c', 'd', 'a']);
  });

  it('never moves those who are kept, nor loses anybody', () => {
    expect(withSpeakers(list, 2, speaking('e'), kept)).toEqual(list);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 30 })),
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.integer({ min: 0, max: 30 })),
        (people, size, speakers) => {
          const result = withSpeakers(
            people,
            size,
            (id) => speakers.indexOf(id),
            (id) => id % 7 === 0,
          );
          expect([...result].sort()).toEqual([...people].sort());
          people.forEach((id, index) => {
            if (id % 7 === 0 && index < size) expect(result[index]).toBe(id);
          });
        },
      ),
      { seed: 4 },
    );
  });
});
