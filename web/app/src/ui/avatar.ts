// What stands for a person without a picture: initials, and a colour that is the same in every browser and every lesson.

/** How many colours there are; `UiAvatar.vue` has one class for each. */
export const AVATAR_COLOURS = 10;

const HAN = /\p{Script=Han}/u;

/** One or two characters for a name: first letters of the first and last word, or the last two of a Chinese name. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const first = words[0];
  if (first === undefined) return '?';
  if (HAN.test(first)) return graphemes(first).slice(-2).join('');
  const last = words.length > 1 ? words[words.length - 1] : undefined;
  const letters = (graphemes(first)[0] ?? '') + (last === undefined ? '' : (graphemes(last)[0] ?? ''));
  return letters.toLocaleUpperCase();
}

/** The colour of an identity, `0..AVATAR_COLOURS`: FNV-1a, because neighbours such as `s1` and `s2` must differ. */
export function avatarColour(identity: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(identity)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return ((hash ^ (hash >>> 15)) >>> 0) % AVATAR_COLOURS;
}

function graphemes(text: string): string[] {
  if (typeof Intl !== 'undefined' && 'Segmenter' in Intl) {
    return [...new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text)].map((part) => part.segment);
  }
  return Array.from(text);
}
