// Who is in the room, as the page shows it; a pure reading of the lesson's state.
import type { LessonState, ParticipantState, Preset, Role, RoomSettings } from '@lectern/client';

/** Somebody in the room. */
export interface Person extends Pick<ParticipantState, 'name' | 'role' | 'tracks' | 'joinedAt'> {
  id: string;
  me: boolean;
  /** Place in the line of raised hands, from 1; 0 without a raised hand. */
  hand: number;
  floor: boolean;
}

const RANK: Record<Role, number> = { teacher: 0, assistant: 1, student: 2, observer: 3, recorder: 4 };

/** Teachers and their assistants. */
export function leads(role: Role): boolean {
  return role === 'teacher' || role === 'assistant';
}

/** Everybody present but recorders: by role, then by when they came. */
export function peopleOf(state: LessonState, me: string | undefined): Person[] {
  const hands = new Map(state.hands.map((id, index) => [id, index + 1]));
  const floor = new Set(state.floor);
  return Object.entries(state.participants)
    .filter(([, { present, role }]) => present && role !== 'recorder')
    .map(([id, { name, role, tracks, joinedAt }]) => ({
      id,
      name,
      role,
      tracks,
      joinedAt,
      me: id === me,
      hand: hands.get(id) ?? 0,
      floor: floor.has(id),
    }))
    .sort((a, b) => RANK[a.role] - RANK[b.role] || a.joinedAt.localeCompare(b.joinedAt) || (a.id < b.id ? -1 : 1));
}

/**
 * Whether `viewer` gets to see `person` at all, by the room's settings; the server decides the same with its permission
 * table, this keeps tiles off the page that could never show anything.
 */
export function mayWatch(viewer: Person, person: Person, settings: RoomSettings): boolean {
  if (viewer.me && person.me) return true;
  // An observer is here to watch: a tile only while there is something to see in it.
  if (person.role === 'observer') return leads(viewer.role) && person.tracks.camera !== undefined;
  if (viewer.role !== 'student') return true;
  return leads(person.role) || person.floor || settings.studentsSeeStudents;
}

/** How the picture area is divided. */
export type Layout = 'stage' | 'grid';

/** The layout that fits the kind of class, until the person chooses. A shared screen needs the stage. */
export function defaultLayout(preset: Preset, screenShared: boolean, narrow: boolean): Layout {
  if (screenShared || preset === 'lecture') return 'stage';
  return preset === 'tutoring' && narrow ? 'stage' : 'grid';
}

/** People whose name contains `text`, case and width of letters apart. */
export function searchPeople(people: readonly Person[], text: string): Person[] {
  const wanted = fold(text);
  return wanted === '' ? [...people] : people.filter((person) => fold(person.name).includes(wanted));
}

function fold(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase().trim();
}
