// More people than places: pages.

/** A page of a list. */
export interface Page<T> {
  items: T[];
  /** From 0. */
  index: number;
  pages: number;
}

/** Page `wanted` of `list`, or the nearest that exists. */
export function pageOf<T>(list: readonly T[], size: number, wanted: number): Page<T> {
  const perPage = Math.max(1, Math.floor(size));
  const pages = Math.max(1, Math.ceil(list.length / perPage));
  const index = Math.min(pages - 1, Math.max(0, Math.floor(wanted)));
  return { items: list.slice(index * perPage, (index + 1) * perPage), index, pages };
}

/**
 * Brings who speaks onto the first page without shuffling the others: each speaker from a later page takes the place of
 * the last one there who is neither a speaker nor `kept`. `isSpeaker` gives the rank (0 spoke last) or −1.
 */
export function withSpeakers<T>(
  list: readonly T[],
  firstPage: number,
  isSpeaker: (item: T) => number,
  kept: (item: T) => boolean,
): T[] {
  const result = [...list];
  const late = result
    .slice(firstPage)
    .filter((item) => isSpeaker(item) >= 0)
    .sort((a, b) => isSpeaker(a) - isSpeaker(b));
  for (const speaker of late) {
    const from = result.indexOf(speaker);
    let place = Math.min(firstPage, result.length) - 1;
    while (place >= 0) {
      const item = result[place];
      if (item !== undefined && isSpeaker(item) < 0 && !kept(item)) break;
      place--;
    }
    if (place < 0) break;
    const moved = result[place];
    if (moved === undefined) break;
    result[place] = speaker;
    result[from] = moved;
  }
  return result;
}
