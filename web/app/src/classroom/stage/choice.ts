// What is on the stage, and in which order the others stand beside it.
import type { PictureSource } from '@lectern/client';

import { leads, type Person } from '../room/people';

/** One picture: whose, and which. */
export interface Picture {
  id: string;
  source: PictureSource;
}

/** What the choice depends on. */
export interface StageInput {
  /** Everybody whom this viewer may see. */
  people: readonly Person[];
  /** What the viewer has pinned. */
  pinned?: Picture | undefined;
  /** Who spoke, the latest first. */
  speakers: readonly string[];
  /** A lecture keeps the teacher on the stage; elsewhere who speaks takes it. */
  teacherFirst: boolean;
}

/** The picture for the stage; undefined only in an empty room. */
export function chooseStage({ people, pinned, speakers, teacherFirst }: StageInput): Picture | undefined {
  const pinnedPerson = pinned && people.find((person) => person.id === pinned.id);
  if (pinned && pinnedPerson && (pinned.source === 'camera' || pinnedPerson.tracks[pinned.source])) return pinned;

  const shared = sharedScreens(people)[0];
  if (shared) return shared;

  const others = people.filter((person) => !person.me);
  const spoke = (person: Person) => {
    const rank = speakers.indexOf(person.id);
    return rank < 0 ? Infinity : rank;
  };
  const speaking = others.filter((person) => spoke(person) < Infinity).sort((a, b) => spoke(a) - spoke(b))[0];
  const teacher = others.find((person) => person.role === 'teacher' && person.tracks.camera);
  const anyTeacher = others.find((person) => person.role === 'teacher');
  const floor = others.find((person) => person.floor);
  const withCamera = others.find((person) => person.tracks.camera);

  const chosen = teacherFirst
    ? (teacher ?? anyTeacher ?? floor ?? speaking ?? withCamera)
    : (speaking ?? teacher ?? withCamera ?? anyTeacher);
  const person = chosen ?? others[0] ?? people[0];
  return person && { id: person.id, source: 'camera' };
}

/** Screens that others share: the teacher's before students', boards of the desktop after screens. */
export function sharedScreens(people: readonly Person[]): Picture[] {
  return people
    .filter((person) => !person.me)
    .flatMap((person) =>
      (['screen', 'desktop'] as const)
        .filter((source) => person.tracks[source])
        .map((source) => ({
          id: person.id,
          source,
          rank: (leads(person.role) ? 0 : 2) + (source === 'screen' ? 0 : 1),
        })),
    )
    .sort((a, b) => a.rank - b.rank)
    .map(({ id, source }) => ({ id, source }));
}

/**
 * The order of tiles: shared screens, teachers, oneself, who has the floor, raised hands, cameras, the rest. Stable within
 * each, so that a tile keeps its place.
 */
export function orderTiles(people: readonly Person[]): Picture[] {
  const rank = (person: Person): number => {
    if (leads(person.role)) return 0;
    if (person.me) return 1;
    if (person.floor) return 2;
    if (person.hand > 0) return 3;
    return person.tracks.camera ? 4 : 5;
  };
  const tiles = [...people]
    .sort((a, b) => rank(a) - rank(b) || (rank(a) === 3 ? a.hand - b.hand : 0))
    .map<Picture>((person) => ({ id: person.id, source: 'camera' }));
  return [...sharedScreens(people), ...tiles];
}

/** Whether two are the same picture. */
export function samePicture(a: Picture | undefined, b: Picture | undefined): boolean {
  return a !== undefined && b !== undefined && a.id === b.id && a.source === b.source;
}

/** Moves who speaks now to the front of the list of recent speakers. */
export function spokeNow(speakers: readonly string[], id: string | undefined, keep = 6): string[] {
  if (id === undefined || speakers[0] === id) return [...speakers];
  return [id, ...speakers.filter((other) => other !== id)].slice(0, keep);
}
