// Finds links in what people write. The result is data: the component makes elements of it, and text stays text.

/** A piece of a message. */
export type Piece = { kind: 'text'; text: string } | { kind: 'link'; text: string; href: string };

const CANDIDATE = /\bhttps?:\/\/[^\s<>"'`“”‘’«»，。；：！？、（）《》【】]+/giu;
/** Ends a sentence rather than a link. */
const TRAILING = /[.,;:!?'"*_~]+$/u;

/** `text` cut into plain text and links; only `http:` and `https:` become links. */
export function findLinks(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  const plain = (until: number) => {
    if (until > end) pieces.push({ kind: 'text', text: text.slice(end, until) });
  };
  for (const match of text.matchAll(CANDIDATE)) {
    const found = trim(match[0]);
    if (!URL.canParse(found)) continue;
    const url = new URL(found);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') continue;
    // `https://bank.example@evil.example` shows one name and goes to another.
    if (url.username !== '' || url.password !== '') continue;
    plain(match.index);
    pieces.push({ kind: 'link', text: found, href: url.href });
    end = match.index + found.length;
  }
  plain(text.length);
  return pieces;
}

function trim(link: string): string {
  let result = link.replace(TRAILING, '');
  // A closing bracket belongs to the link only when it was opened in it.
  for (const [open, close] of [
    ['(', ')'],
    ['[', ']'],
    ['{', '}'],
  ] as const) {
    while (result.endsWith(close) && result.split(close).length > result.split(open).length) {
      result = result.slice(0, -1).replace(TRAILING, '');
    }
  }
  return result;
}
