// Where the tiles of a grid go: as many columns as make the tiles largest.

/** A rectangle in CSS pixels. */
export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A grid of equal tiles. */
export interface GridPlan {
  columns: number;
  rows: number;
  tileWidth: number;
  tileHeight: number;
}

/** How tiles may look. */
export interface GridShape {
  /** Between tiles, in CSS pixels. */
  gap: number;
  /** Narrowest width : height of a tile; the same as `widest` for one fixed shape. */
  narrowest: number;
  /** Widest width : height of a tile. */
  widest: number;
}

/** A camera's shape. */
export const WIDE = 16 / 9;

/** The plan with the largest tiles for `count` of them in `width` × `height`; among equals the one with fewer columns. */
export function planGrid(count: number, width: number, height: number, shape: GridShape): GridPlan {
  let best: GridPlan = { columns: 1, rows: Math.max(1, count), tileWidth: 0, tileHeight: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - shape.gap * (columns - 1)) / columns;
    const cellHeight = (height - shape.gap * (rows - 1)) / rows;
    if (cellWidth <= 0 || cellHeight <= 0) continue;
    const ratio = Math.min(shape.widest, Math.max(shape.narrowest, cellWidth / cellHeight));
    const tileWidth = Math.floor(Math.min(cellWidth, cellHeight * ratio));
    const tileHeight = Math.floor(Math.min(cellHeight, cellWidth / ratio));
    if (tileWidth * tileHeight > best.tileWidth * best.tileHeight) best = { columns, rows, tileWidth, tileHeight };
  }
  return best;
}

/** The tiles of `planGrid`, in the middle of the area, an incomplete last row in the middle of its line. */
export function gridRects(count: number, width: number, height: number, shape: GridShape): Rect[] {
  const { columns, rows, tileWidth, tileHeight } = planGrid(count, width, height, shape);
  const top = Math.max(0, (height - rows * tileHeight - (rows - 1) * shape.gap) / 2);
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = Math.max(0, (width - inRow * tileWidth - (inRow - 1) * shape.gap) / 2);
    return {
      x: Math.round(left + (index % columns) * (tileWidth + shape.gap)),
      y: Math.round(top + row * (tileHeight + shape.gap)),
      width: tileWidth,
      height: tileHeight,
    };
  });
}

/** The most tiles, up to `most`, that stay at least `minTileWidth` wide; never less than one. */
export function gridCapacity(
  most: number,
  width: number,
  height: number,
  shape: GridShape,
  minTileWidth: number,
): number {
  for (let count = most; count > 1; count--) {
    if (planGrid(count, width, height, shape).tileWidth >= minTileWidth) return count;
  }
  return 1;
}
