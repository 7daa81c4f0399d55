// Puts pictures into the area: a grid, or a stage with a strip. One list of rectangles for all of them, so that a picture
// that moves between stage, strip and grid stays the same element and never flickers.
import { samePicture, type Picture } from './choice';
import { gridCapacity, gridRects, WIDE, type GridShape, type Rect } from './grid';
import { pageOf } from './paging';

/** A picture and its place. */
export interface Placed {
  picture: Picture;
  rect: Rect;
  place: 'grid' | 'stage' | 'strip' | 'corner';
}

/** All that is shown. */
export interface Arrangement {
  tiles: Placed[];
  /** The page shown, from 0, and how many there are. */
  page: number;
  pages: number;
  /** Where the arrows of the pages belong. */
  pager: 'sides' | 'strip-side' | 'strip-below' | 'none';
}

/** What the arrangement depends on. */
export interface ArrangeInput {
  width: number;
  height: number;
  layout: 'stage' | 'grid';
  /** In order of importance. */
  tiles: readonly Picture[];
  stage: Picture | undefined;
  /** The viewer's own tile. */
  own: string | undefined;
  /** The most pictures at once, by the slots of the connection; the own one takes none. */
  most: number;
  page: number;
}

const GAP = 8;
/** Below this width a tile's name plate is cut. */
const MIN_GRID_TILE = 200;
const MIN_GRID_TILE_NARROW = 150;
/** A phone or a narrow window. */
const NARROW = 600;
const CORNER_MARGIN = 12;
/** A camera on the stage is at least this wide for its height, unless the area is upright. */
const NARROWEST_STAGE = 4 / 3;
/** Room under the strip for its page arrows. */
const PAGER = 44;

/** Where each picture goes. */
export function arrange(input: ArrangeInput): Arrangement {
  const { width, height } = input;
  if (width <= 0 || height <= 0 || input.tiles.length === 0) return { tiles: [], page: 0, pages: 1, pager: 'none' };
  return input.layout === 'stage' && input.stage ? arrangeStage(input, input.stage) : arrangeGrid(input);
}

function shapeFor(width: number, height: number): GridShape {
  // Upright areas take upright tiles: two faces fill a phone instead of leaving two thirds of it empty.
  return { gap: GAP, narrowest: width < height ? 0.8 : 1.2, widest: WIDE };
}

function arrangeGrid({ width, height, tiles, most, page }: ArrangeInput): Arrangement {
  const shape = shapeFor(width, height);
  const minimum = width < NARROW ? MIN_GRID_TILE_NARROW : MIN_GRID_TILE;
  const all = gridCapacity(Math.min(tiles.length, most), width, height, shape, minimum);
  const paged = tiles.length > all;
  const space = paged ? height - PAGER : height;
  const capacity = paged ? gridCapacity(Math.min(tiles.length, most), width, space, shape, minimum) : all;
  const shown = pageOf(tiles, capacity, page);
  // The last page has tiles of the same size as the others: paging must not make people jump.
  const rects = gridRects(capacity, width, space, shape);
  return {
    tiles: shown.items.flatMap((picture, index) => {
      const rect = rects[index];
      return rect ? [{ picture, rect, place: 'grid' as const }] : [];
    }),
    page: shown.index,
    pages: shown.pages,
    pager: shown.pages > 1 ? 'sides' : 'none',
  };
}

function arrangeStage(input: ArrangeInput, stage: Picture): Arrangement {
  const { width, height, own } = input;
  const others = input.tiles.filter((tile) => !samePicture(tile, stage));
  const whole: Rect = { x: 0, y: 0, width, height };
  const alone = others.length === 1 && others[0]?.id === own && stage.source === 'camera';
  if (others.length === 0 || alone) {
    const rect = stageRect(stage, whole);
    const tiles: Placed[] = [{ picture: stage, rect, place: 'stage' }];
    if (others[0]) tiles.push({ picture: others[0], rect: cornerRect(rect), place: 'corner' });
    return { tiles, page: 0, pages: 1, pager: 'none' };
  }
  return width / height > 1.15 ? stripBeside(input, stage, others) : stripBelow(input, stage, others);
}

/** The stage for a picture: a screen takes all there is; a face in a nearly square stage would lose its sides. */
function stageRect(stage: Picture, rect: Rect): Rect {
  if (stage.source !== 'camera' || rect.width < rect.height) return rect;
  const height = Math.round(Math.min(rect.height, rect.width / NARROWEST_STAGE));
  return { ...rect, y: rect.y + Math.round((rect.height - height) / 2), height };
}

function cornerRect(stage: Rect): Rect {
  const upright = stage.width < stage.height;
  const width = Math.round(upright ? Math.min(132, stage.width * 0.32) : Math.min(248, stage.width * 0.24));
  const height = Math.round(upright ? width * 1.25 : width / WIDE);
  return {
    x: stage.x + stage.width - width - CORNER_MARGIN,
    y: stage.y + stage.height - height - CORNER_MARGIN,
    width,
    height,
  };
}

function stripBeside(input: ArrangeInput, stage: Picture, others: readonly Picture[]): Arrangement {
  const { width, height, most, page } = input;
  const tileWidth = Math.round(Math.min(236, Math.max(128, width * 0.17)));
  const tileHeight = Math.round(tileWidth / WIDE);
  const fits = (space: number) => Math.max(1, Math.floor((space + GAP) / (tileHeight + GAP)));
  const all = Math.min(fits(height), most);
  const paged = others.length > all;
  const shown = pageOf(others, paged ? Math.min(fits(height - PAGER), most) : all, page);
  const stageWidth = width - tileWidth - GAP;
  const used = shown.items.length * (tileHeight + GAP) - GAP;
  const top = paged ? 0 : Math.max(0, Math.round((height - used) / 2));
  return {
    tiles: [
      { picture: stage, rect: stageRect(stage, { x: 0, y: 0, width: stageWidth, height }), place: 'stage' },
      ...shown.items.map<Placed>((picture, index) => ({
        picture,
        rect: { x: stageWidth + GAP, y: top + index * (tileHeight + GAP), width: tileWidth, height: tileHeight },
        place: 'strip',
      })),
    ],
    page: shown.index,
    pages: shown.pages,
    pager: paged ? 'strip-side' : 'none',
  };
}

function stripBelow(input: ArrangeInput, stage: Picture, others: readonly Picture[]): Arrangement {
  const { width, height, most, page } = input;
  const stageHeight = Math.round(Math.min(height * 0.6, Math.max(height * 0.28, width / WIDE)));
  const shape: GridShape = { gap: GAP, narrowest: 1, widest: WIDE };
  const space = height - stageHeight - GAP;
  const minimum = width < NARROW ? 110 : 160;
  const all = gridCapacity(Math.min(others.length, most), width, space, shape, minimum);
  const paged = others.length > all;
  const area = paged ? space - PAGER : space;
  const capacity = paged ? gridCapacity(Math.min(others.length, most), width, area, shape, minimum) : all;
  const shown = pageOf(others, capacity, page);
  const rects = gridRects(shown.items.length, width, area, shape);
  return {
    tiles: [
      { picture: stage, rect: { x: 0, y: 0, width, height: stageHeight }, place: 'stage' },
      ...shown.items.flatMap((picture, index) => {
        const rect = rects[index];
        return rect ? [{ picture, rect: { ...rect, y: rect.y + stageHeight + GAP }, place: 'strip' as const }] : [];
      }),
    ],
    page: shown.index,
    pages: shown.pages,
    pager: paged ? 'strip-below' : 'none',
  };
}
