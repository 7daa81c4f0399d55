import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { gridCapacity, gridRects, planGrid, WIDE, type GridShape, type Rect } from './grid';

const FIXED: GridShape = { gap: 8, narrowest: WIDE, widest: WIDE };
const SOFT: GridShape = { gap: 8, narrowest: 1.2, widest: WIDE };
const area = fc.record({
  count: fc.integer({ min: 1, max: 49 }),
  width: fc.integer({ min: 320, max: 3_840 }),
  height: fc.integer({ min: 240, max: 2_160 }),
});

function overlap(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

describe('planGrid', () => {
  it('takes the columns that make tiles largest', () => {
    expect(planGrid(1, 1_600, 900, FIXED)).toEqual({ columns: 1, rows: 1, tileWidth: 1_600, tileHeight: 900 });
    expect(planGrid(2, 1_600, 900, FIXED).columns).toBe(2);
    expect(planGrid(4, 1_600, 900, FIXED)).toMatchObject({ columns: 2, rows: 2 });
    expect(planGrid(9, 1_600, 900, FIXED)).toMatchObject({ columns: 3, rows: 3 });
    expect(planGrid(2, 390, 700, FIXED)).toMatchObject({ columns: 1, rows: 2 });
    expect(planGrid(5, 2_400, 500, FIXED)).toMatchObject({ columns: 5, rows: 1 });
  });

  it('is never beaten by another number of columns', () => {
    fc.assert(
      fc.property(area, ({ count, width, height }) => {
        const plan = planGrid(count, width, height, FIXED);
        for (let columns = 1; columns <= count; columns++) {
          const rows = Math.ceil(count / columns);
          const cellWidth = (width - 8 * (columns - 1)) / columns;
          const cellHeight = (height - 8 * (rows - 1)) / rows;
          // Whole pixels: a tile may be smaller than the ideal by less than one pixel in each direction.
          const ideal = Math.min(cellWidth, cellHeight * WIDE);
          expect(plan.tileWidth + 2).toBeGreaterThanOrEqual(Math.floor(ideal));
        }
      }),
      { seed: 7, numRuns: 200 },
    );
  });
});

describe('gridRects', () => {
  it('places every tile inside, apart from each other, in an allowed shape', () => {
    fc.assert(
      fc.property(area, ({ count, width, height }) => {
        const rects = gridRects(count, width, height, SOFT);
        expect(rects).toHaveLength(count);
        rects.forEach((rect, index) => {
          expect(rect.x).toBeGreaterThanOrEqual(0);
          expect(rect.y).toBeGreaterThanOrEqual(0);
          expect(rect.x + rect.width).toBeLessThanOrEqual(width + 1);
          expect(rect.y + rect.height).toBeLessThanOrEqual(height + 1);
          for (const other of rects.slice(index + 1)) expect(overlap(rect, other)).toBe(false);
          if (rect.height > 40) {
            expect(rect.width / rect.height).toBeGreaterThan(1.2 - 0.06);
            expect(rect.width / rect.height).toBeLessThan(WIDE + 0.08);
          }
        });
      }),
      { seed: 8, numRuns: 200 },
    );
  });

  it('puts an incomplete last row in the middle', () => {
    const [first, second, third] = gridRects(3, 1_600, 900, FIXED);
    expect(first?.y).toBe(second?.y);
    expect((third?.x ?? 0) + (third?.width ?? 0) / 2).toBeCloseTo(800, 0);
  });
});

describe('gridCapacity', () => {
  it('is as many as stay wide enough, and at least one', () => {
    expect(gridCapacity(25, 1_600, 900, FIXED, 300)).toBe(25);
    expect(gridCapacity(49, 1_600, 900, FIXED, 300)).toBe(25);
    expect(gridCapacity(16, 100, 50, FIXED, 300)).toBe(1);
    const capacity = gridCapacity(16, 390, 640, SOFT, 150);
    expect(planGrid(capacity, 390, 640, SOFT).tileWidth).toBeGreaterThanOrEqual(150);
    expect(planGrid(capacity + 1, 390, 640, SOFT).tileWidth).toBeLessThan(150);
  });
});
