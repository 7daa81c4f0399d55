// What one may want to jump to: screens, the floor, hands, and who spoke when.
import type { LessonState } from '@lectern/client';

import type { Stretch } from './transport';
import type { Entry } from './timeline';

/** A place in the recording. */
export interface Chapter {
  atMs: number;
  kind: 'screen' | 'screen-end' | 'floor' | 'hand' | 'resumed';
  participant: string;
  name: string;
}

/** Somebody spoke from here on. */
export interface SpeakerMark {
  atMs: number;
  participant: string;
}

/** A place that a search found. */
export interface Found {
  atMs: number;
  kind: 'chat' | 'joined' | Chapter['kind'];
  name: string;
  participant: string;
  text?: string;
}

/** A screen that comes back so soon was published anew, and not shown anew. */
const SAME_SCREEN_MS = 3_000;
/** Marks nearer than this are one. */
const BETWEEN_MARKS_MS = 10_000;

/** The chapters of a recording, in order. */
export function chaptersOf(entries: readonly Entry[]): Chapter[] {
  const names = namesOf(entries);
  const nameOf = (id: string) => names.get(id) ?? id;
  const screens = new Map<number, string>();
  const chapters: Chapter[] = [];
  const add = (atMs: number, kind: Chapter['kind'], participant: string) =>
    chapters.push({ atMs, kind, participant, name: nameOf(participant) });
  for (const entry of entries) {
    const { atMs } = entry;
    if (entry.kind === 'track-started' && (entry.source === 'screen' || entry.source === 'desktop')) {
      screens.set(entry.track, entry.participant);
      const end = chapters.findLastIndex(
        (one) => one.kind === 'screen-end' && one.participant === entry.participant && atMs - one.atMs < SAME_SCREEN_MS,
      );
      if (end >= 0) chapters.splice(end, 1);
      else add(atMs, 'screen', entry.participant);
    } else if (entry.kind === 'track-ended') {
      const participant = screens.get(entry.track);
      if (participant !== undefined) add(atMs, 'screen-end', participant);
      screens.delete(entry.track);
    } else if (entry.kind === 'resumed') add(atMs, 'resumed', '');
    else if (entry.kind === 'lesson') {
      const { event } = entry;
      if (event.kind === 'floor-given') add(atMs, 'floor', event.participant);
      else if (event.kind === 'hand-raised') add(atMs, 'hand', event.participant);
    }
  }
  // A track's start is written when its first frame is, which may be a little after what followed it.
  return chapters.sort((a, b) => a.atMs - b.atMs);
}

/** When another began to speak. */
export function speakerMarks(entries: readonly Entry[]): SpeakerMark[] {
  const marks: SpeakerMark[] = [];
  for (const entry of entries) {
    if (entry.kind !== 'speaker' || !entry.participant) continue;
    const last = marks.at(-1);
    if (last && (last.participant === entry.participant || entry.atMs - last.atMs < BETWEEN_MARKS_MS)) continue;
    marks.push({ atMs: entry.atMs, participant: entry.participant });
  }
  return marks;
}

/** The chapter that one is in: hands are moments and not stretches. */
export function chapterAt(chapters: readonly Chapter[], atMs: number): Chapter | undefined {
  return chapters.findLast((chapter) => chapter.atMs <= atMs && chapter.kind !== 'hand');
}

/** Stretches without a recording; one that is open lasts to the end. */
export function pausesOf(pauses: readonly (readonly [number, number | null])[], durationMs: number): Stretch[] {
  return pauses.map(([from, to]) => [from, to ?? durationMs] as const).filter(([from, to]) => to > from);
}

/** Where `query` is in the chat or in a name, in order. */
export function searchIn(entries: readonly Entry[], chapters: readonly Chapter[], query: string): Found[] {
  const wanted = fold(query);
  if (wanted === '') return [];
  const names = namesOf(entries);
  const found: Found[] = chapters.filter(({ name }) => fold(name).includes(wanted));
  for (const entry of entries) {
    if (entry.kind !== 'lesson') continue;
    const { event } = entry;
    if (event.kind === 'joined' && fold(event.name).includes(wanted)) {
      found.push({ atMs: entry.atMs, kind: 'joined', name: event.name, participant: event.participant });
    } else if (event.kind === 'chat') {
      const participant = event.by ?? '';
      const name = names.get(participant) ?? participant;
      if (fold(event.text).includes(wanted) || fold(name).includes(wanted)) {
        found.push({ atMs: entry.atMs, kind: 'chat', name, participant, text: event.text });
      }
    }
  }
  return found.sort((a, b) => a.atMs - b.atMs);
}

function namesOf(entries: readonly Entry[]): Map<string, string> {
  const names = new Map<string, string>();
  const learn = (state: LessonState) => {
    for (const [id, { name }] of Object.entries(state.participants)) names.set(id, name);
  };
  for (const entry of entries) {
    if (entry.kind === 'snapshot') learn(entry.state);
    else if (entry.kind === 'lesson' && entry.event.kind === 'joined') {
      names.set(entry.event.participant, entry.event.name);
    }
  }
  return names;
}

function fold(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase().trim();
}
