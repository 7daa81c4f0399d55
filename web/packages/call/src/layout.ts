/** Where tiles go: pure geometry, in CSS pixels. */

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Area {
  width: number;
  height: number;
}

const ASPECT = 16 / 9;
const GAP = 8;
/** Under this width a call is a phone's or a small window's. */
export const NARROW = 560;

/**
 * A grid for `count` tiles: the number of columns that makes them largest, the last row centred. Tiles may be a little taller
 * than 16:9 to fill the area; pictures are cropped to them.
 */
export function grid(area: Area, count: number): Rect[] {
  if (count <= 0 || area.width <= 0 || area.height <= 0) return [];
  let best = { width: 0, height: 0, columns: 1 };
  for (let columns = 1; columns <= count; columns += 1) {
    const size = tileSize(area, columns, Math.ceil(count / columns));
    if (size.width * size.height > best.width * best.height) best = { ...size, columns };
  }
  const { width, height, columns } = best;
  const rows = Math.ceil(count / columns);
  const top = (area.height - rows * height - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = row === rows - 1 ? count - row * columns : columns;
    const left = (area.width - inRow * width - (inRow - 1) * GAP) / 2;
    return rounded({ x: left + (index % columns) * (width + GAP), y: top + row * (height + GAP), width, height });
  });
}

/** Between 16:9 and 4:3, or up to square on a narrow area. */
function tileSize(area: Area, columns: number, rows: number): Area {
  const cell = {
    width: (area.width - (columns - 1) * GAP) / columns,
    height: (area.height - (rows - 1) * GAP) / rows,
  };
  if (cell.width <= 0 || cell.height <= 0) return { width: 0, height: 0 };
  const tallest = area.width < NARROW ? 1 : 4 / 3;
  const aspect = Math.min(ASPECT, Math.max(tallest, cell.width / cell.height));
  const width = Math.min(cell.width, cell.height * aspect);
  return { width, height: width / aspect };
}

/** One large tile (the first) and a strip of the others: beside it on a wide area, under it on a tall one. */
export function stage(area: Area, count: number): Rect[] {
  if (count <= 0 || area.width <= 0 || area.height <= 0) return [];
  if (count === 1) return [rounded({ x: 0, y: 0, ...area })];
  const others = count - 1;
  if (area.width >= area.height) {
    const width = Math.min(220, Math.max(112, area.width * 0.2));
    const height = Math.min(width / ASPECT, (area.height - (others - 1) * GAP) / others);
    const top = (area.height - others * height - (others - 1) * GAP) / 2;
    const strip = Array.from({ length: others }, (_, index) =>
      rounded({ x: area.width - width, y: top + index * (height + GAP), width, height }),
    );
    return [rounded({ x: 0, y: 0, width: area.width - width - GAP, height: area.height }), ...strip];
  }
  const width = Math.min(160, (area.width - (others - 1) * GAP) / others);
  const height = width / ASPECT;
  const left = (area.width - others * width - (others - 1) * GAP) / 2;
  const strip = Array.from({ length: others }, (_, index) =>
    rounded({ x: left + index * (width + GAP), y: area.height - height, width, height }),
  );
  return [rounded({ x: 0, y: 0, width: area.width, height: area.height - height - GAP }), ...strip];
}

/** Two people: the other fills the area, oneself is in a corner. */
export function pair(area: Area): Rect[] {
  if (area.width <= 0 || area.height <= 0) return [];
  const width = Math.min(240, Math.max(96, area.width * 0.24));
  const height = width / ASPECT;
  const inset = 12;
  return [
    rounded({ x: 0, y: 0, ...area }),
    rounded({ x: area.width - width - inset, y: area.height - height - inset, width, height }),
  ];
}

function rounded({ x, y, width, height }: Rect): Rect {
  return { x: Math.round(x), y: Math.round(y), width: Math.floor(width), height: Math.floor(height) };
}
