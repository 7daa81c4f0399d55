import type { LessonState, ParticipantState, PictureSource } from '@lectern/client';

/** A tile: somebody's face, or a screen. */
export interface Seat {
  participant: string;
  source: PictureSource;
}

export interface Arrangement {
  /** A shared screen, if there is one. */
  screen: Seat | undefined;
  /** Others, in the order shown. */
  faces: Seat[];
  /** How many others have no place. */
  hidden: number;
}

/**
 * Who is shown. People stay where they are: whoever came first is first, and only somebody who speaks and has no place takes
 * one, that of the last who does not.
 */
export function arrange(
  state: LessonState | undefined,
  self: string | undefined,
  before: readonly Seat[],
  active: string | undefined,
  places: number,
): Arrangement {
  const present = Object.entries(state?.participants ?? {})
    .filter(([identity, { present, role }]) => present && role !== 'recorder' && identity !== self)
    .sort(byArrival);
  const here = new Set(present.map(([identity]) => identity));
  const kept = before.map(({ participant }) => participant).filter((identity) => here.has(identity));
  const order = [...kept, ...[...here].filter((identity) => !kept.includes(identity))];
  const room = order.length > places ? Math.max(1, places - 1) : places;
  const shown = order.slice(0, room);
  if (active !== undefined && here.has(active) && !shown.includes(active)) shown[shown.length - 1] = active;
  return {
    screen: screenOf(present),
    faces: shown.map((participant) => ({ participant, source: 'camera' })),
    hidden: order.length - shown.length,
  };
}

function byArrival([a, left]: [string, ParticipantState], [b, right]: [string, ParticipantState]): number {
  return left.joinedAt.localeCompare(right.joinedAt) || (a < b ? -1 : 1);
}

/** The screen of whoever is first in the room and shares; a lab desktop counts as one. */
function screenOf(present: readonly [string, ParticipantState][]): Seat | undefined {
  for (const [participant, { tracks }] of present) {
    if (tracks.screen && !tracks.screen.muted) return { participant, source: 'screen' };
    if (tracks.desktop && !tracks.desktop.muted) return { participant, source: 'desktop' };
  }
  return undefined;
}

/** The letters of an avatar: of the first and last word, or the first character of a name in a script without spaces. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const first = firstCharacter(words[0]);
  const last = words.length > 1 ? firstCharacter(words.at(-1)) : '';
  return (first + last).toUpperCase() || '?';
}

function firstCharacter(word: string | undefined): string {
  return /[\p{L}\p{N}]/u.exec(word ?? '')?.[0] ?? '';
}

/** The golden angle: successive multiples of it are as far apart on a circle as can be. */
const GOLDEN_DEGREES = 137.508;

/** A hue that is always the same for a participant, and far from that of one with a similar identity. */
export function hue(identity: string): number {
  let hash = 0;
  for (const character of identity) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return Math.round((hash * GOLDEN_DEGREES) % 360);
}
