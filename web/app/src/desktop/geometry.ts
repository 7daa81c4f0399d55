/** Windows on a desktop: pure geometry, in CSS pixels. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Space {
  width: number;
  height: number;
}

/** Which sides a resize moves: any of `n`, `s`, `e`, `w`. */
export type Edge = 'n' | 's' | 'e' | 'w' | 'ne' | 'nw' | 'se' | 'sw';
export const EDGES: readonly Edge[] = ['n', 's', 'e', 'w', 'ne', 'nw', 'se', 'sw'];

export const SMALLEST: Space = { width: 300, height: 240 };
/** So much of a title bar can always be grabbed. */
const GRAB = 80;
const TITLE_BAR = 40;
/** Under this width there is no room for windows: they fill the space. */
export const PHONE = 640;

/** A box in the middle, `share` of the space, and each further one a little down and to the right. */
export function placed(space: Space, wanted: Space, index: number): Box {
  const width = Math.min(wanted.width, space.width - 32);
  const height = Math.min(wanted.height, space.height - 32);
  const shift = index * 32;
  return fitted(
    {
      x: Math.round((space.width - width) / 2) + shift,
      y: Math.round((space.height - height) / 2.4) + shift,
      width,
      height,
    },
    space,
  );
}

/** A box that can be reached: no larger than the space, with a part of its title bar in it. */
export function fitted(box: Box, space: Space): Box {
  const width = clamp(box.width, Math.min(SMALLEST.width, space.width), space.width);
  const height = clamp(box.height, Math.min(SMALLEST.height, space.height), space.height);
  return {
    width,
    height,
    x: clamp(box.x, GRAB - width, Math.max(GRAB - width, space.width - GRAB)),
    y: clamp(box.y, 0, Math.max(0, space.height - TITLE_BAR)),
  };
}

export function moved(box: Box, dx: number, dy: number, space: Space): Box {
  return fitted({ ...box, x: box.x + dx, y: box.y + dy }, space);
}

/** Moves the sides of `edge`; the opposite ones stay where they are, also at the smallest size. */
export function resized(box: Box, edge: Edge, dx: number, dy: number, space: Space): Box {
  let { x, y, width, height } = box;
  const right = x + width;
  const bottom = y + height;
  if (edge.includes('e')) width = clamp(width + dx, SMALLEST.width, space.width);
  if (edge.includes('s')) height = clamp(height + dy, SMALLEST.height, space.height);
  if (edge.includes('w')) {
    width = clamp(width - dx, SMALLEST.width, space.width);
    x = right - width;
  }
  if (edge.includes('n')) {
    height = clamp(height - dy, SMALLEST.height, Math.min(space.height, bottom));
    y = bottom - height;
  }
  return fitted({ x, y, width, height }, space);
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), Math.max(low, high));
}
