import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Picture } from './choice';
import { arrange, type ArrangeInput } from './layout';
import { picturesOf } from './view';

const tiles = (count: number): Picture[] =>
  Array.from({ length: count }, (_, index) => ({ id: `p${index}`, source: 'camera' }));
const input = (change: Partial<ArrangeInput>): ArrangeInput => ({
  width: 1_400,
  height: 780,
  layout: 'grid',
  tiles: tiles(5),
  stage: { id: 'p1', source: 'camera' },
  own: 'p0',
  most: 16,
  page: 0,
  ...change,
});

const inputs = fc.record({
  width: fc.integer({ min: 300, max: 2_600 }),
  height: fc.integer({ min: 240, max: 1_600 }),
  layout: fc.constantFrom('grid' as const, 'stage' as const),
  count: fc.integer({ min: 1, max: 60 }),
  most: fc.integer({ min: 4, max: 16 }),
  page: fc.integer({ min: 0, max: 20 }),
});

describe('arrange', () => {
  it('keeps all pictures inside the area, each once, and no more than the connection carries', () => {
    fc.assert(
      fc.property(inputs, ({ count, ...rest }) => {
        const result = arrange(
          input({ ...rest, tiles: tiles(count), stage: { id: `p${count - 1}`, source: 'camera' } }),
        );
        const ids = result.tiles.map(({ picture }) => picture.id);
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids.length).toBeLessThanOrEqual(rest.most + 1);
        expect(ids.length).toBeGreaterThan(0);
        expect(result.page).toBeLessThan(result.pages);
        for (const { rect } of result.tiles) {
          expect(rect.x).toBeGreaterThanOrEqual(0);
          expect(rect.y).toBeGreaterThanOrEqual(0);
          expect(rect.x + rect.width).toBeLessThanOrEqual(rest.width + 1);
          expect(rect.y + rect.height).toBeLessThanOrEqual(rest.height + 1);
        }
        if (rest.layout === 'stage') expect(result.tiles[0]?.place).toBe('stage');
      }),
      { seed: 11, numRuns: 300 },
    );
  });

  it('shows everybody over the pages', () => {
    for (const layout of ['grid', 'stage'] as const) {
      const first = arrange(input({ tiles: tiles(40), layout }));
      expect(first.pages).toBeGreaterThan(1);
      const seen = new Set(
        Array.from(
          { length: first.pages },
          (_, page) => arrange(input({ tiles: tiles(40), layout, page })).tiles,
        ).flatMap((shown) => shown.map(({ picture }) => picture.id)),
      );
      expect(seen.size).toBe(40);
    }
  });

  it('has tiles of the same size on the last page', () => {
    const size = (page: number) => arrange(input({ tiles: tiles(17), page })).tiles[0]?.rect.width;
    expect(size(1)).toBe(size(0));
  });

  it('puts the own picture into a corner when there is only one other', () => {
    const { tiles: shown } = arrange(input({ layout: 'stage', tiles: tiles(2) }));
    expect(shown.map(({ picture, place }) => [picture.id, place])).toEqual([
      ['p1', 'stage'],
      ['p0', 'corner'],
    ]);
  });

  it('has the strip beside a wide stage and below a narrow one', () => {
    const wide = arrange(input({ layout: 'stage' })).tiles;
    expect(wide[1]?.rect.x).toBeGreaterThan(wide[0]?.rect.width ?? 0);
    const tall = arrange(input({ layout: 'stage', width: 390, height: 660 })).tiles;
    expect(tall[1]?.rect.y).toBeGreaterThan(tall[0]?.rect.height ?? 0);
  });

  it('is empty without an area or people', () => {
    expect(arrange(input({ width: 0 })).tiles).toEqual([]);
    expect(arrange(input({ tiles: [] })).tiles).toEqual([]);
  });
});

describe('picturesOf', () => {
  const arrangement = arrange(input({ layout: 'stage', stage: { id: 'p4', source: 'camera' } }));

  it('asks for what is shown, the stage first, in device pixels, without the own picture', () => {
    const pictures = picturesOf(arrangement, 'p0', () => true, 2);
    expect(pictures.map(({ participant }) => participant)).toEqual(['p4', 'p1', 'p2', 'p3']);
    const stage = arrangement.tiles[0]?.rect;
    if (!stage) throw new Error('no stage');
    // The stage is less wide than 16:9 here: the camera has to be wider than it to fill it.
    expect(stage.width / stage.height).toBeLessThan(16 / 9);
    expect(pictures[0]?.height).toBe(stage.height * 2);
    expect(pictures[0]?.width).toBeCloseTo((stage.height * 2 * 16) / 9, -1);
  });

  it('asks for a screen as it is shown: whole', () => {
    const screen: Picture = { id: 'p3', source: 'screen' };
    const shown = arrange(input({ layout: 'stage', stage: screen, tiles: [screen, ...tiles(3)] }));
    const { width, height } = shown.tiles[0]?.rect ?? { width: 0, height: 0 };
    expect(picturesOf(shown, 'p0', () => true, 1)[0]).toMatchObject({ source: 'screen', width, height });
  });

  it('asks for nothing that nobody sends', () => {
    expect(picturesOf(arrangement, 'p0', (id) => id === 'p2', 1).map(({ participant }) => participant)).toEqual(['p2']);
  });
});
