// Who is shown at a time: screens first, then whoever leads or speaks, then the rest, as many as a browser plays at once.
import type { LessonState } from '@lectern/client';

import { leads } from '../../classroom/room/people';
import type { Picture } from '../../classroom/stage/choice';
import type { History } from './history';
import { isOnAir, isPicture, type Track } from './manifest';

/** More pictures at once and a software decoder no longer keeps up (measured: nine were 867 ms apart). */
export const MOST_VIDEOS = 6;
/** With those who are only heard. */
const MOST_TILES = 8;

/** A picture of the cast; without a track somebody who is only heard. */
export interface Shown extends Picture {
  name: string;
  track: Track | undefined;
}

/** Who is shown, in order, and who is on the stage. */
export interface Cast {
  shown: Shown[];
  stage: Shown | undefined;
}

/** The cast at a time. */
export function castAt(tracks: readonly Track[], history: History, roomMs: number): Cast {
  const state = history.stateAt(roomMs);
  const { recent } = history.speakersAt(roomMs);
  const onAir = tracks.filter((track) => isOnAir(track, roomMs));
  const open = onAir.filter((track) => !history.isMuted(track.participant, track.source, roomMs));
  const pictures = latestOfEach(open.filter(({ source }) => isPicture(source)));

  const isLead = (id: string) => leadsIn(state, id);
  const spoke = (id: string) => (recent.includes(id) ? recent.indexOf(id) : Infinity);
  const isScreen = (track: Track) => track.source !== 'camera';
  const rank = (track: Track) => (isScreen(track) ? 0 : 10) + (isLead(track.participant) ? 0 : 1);
  // By importance, so that the right ones are left out; then in an order that stays, so that nobody jumps about.
  const chosen = pictures
    .sort((a, b) => rank(a) - rank(b) || compare(spoke(a.participant), spoke(b.participant)) || a.offsetMs - b.offsetMs)
    .slice(0, MOST_VIDEOS)
    .sort((a, b) => rank(a) - rank(b) || a.offsetMs - b.offsetMs || a.track - b.track)
    .map(shownOf);

  const seen = new Set(chosen.filter(({ source }) => source === 'camera').map(({ id }) => id));
  const heard = latestOfEach(onAir.filter(({ source }) => source === 'microphone'))
    .filter(({ participant }) => !seen.has(participant))
    .sort(
      (a, b) =>
        Number(isLead(b.participant)) - Number(isLead(a.participant)) ||
        compare(spoke(a.participant), spoke(b.participant)) ||
        a.offsetMs - b.offsetMs,
    )
    .slice(0, Math.max(0, MOST_TILES - chosen.length))
    .sort((a, b) => a.offsetMs - b.offsetMs || a.track - b.track)
    .map<Shown>(({ participant, name }) => ({ id: participant, name, source: 'camera', track: undefined }));

  const shown = [...chosen, ...heard];
  const speaker = recent.map((id) => shown.find((one) => one.id === id && one.source === 'camera')).find(Boolean);
  const lead = shown.find((one) => one.source === 'camera' && one.track && isLead(one.id));
  const stage =
    shown.find(({ source }) => source !== 'camera') ??
    (state?.settings.preset === 'lecture' ? (lead ?? speaker) : (speaker ?? lead)) ??
    shown[0];
  return { shown, stage };
}

/** Whether two casts show the same. */
export function sameCast(a: Cast | undefined, b: Cast): boolean {
  return (
    a?.shown.length === b.shown.length &&
    keyOf(a.stage) === keyOf(b.stage) &&
    a.shown.every((one, index) => keyOf(one) === keyOf(b.shown[index]) && one.track === b.shown[index]?.track)
  );
}

/** What tells tiles apart: another file is another tile. */
export function keyOf(shown: Shown | undefined): string {
  return shown ? `${shown.id}/${shown.source}/${shown.track?.file ?? ''}` : '';
}

function shownOf(track: Track): Shown {
  const { participant, name, source } = track;
  return { id: participant, name, source: isPicture(source) ? source : 'camera', track };
}

/** A publisher has at most one track of a source: of two that overlap for a moment the later holds. */
function latestOfEach(tracks: readonly Track[]): Track[] {
  const latest = new Map<string, Track>();
  for (const track of tracks) {
    const key = `${track.source}/${track.participant}`;
    const other = latest.get(key);
    if (!other || other.offsetMs <= track.offsetMs) latest.set(key, track);
  }
  return [...latest.values()];
}

function leadsIn(state: LessonState | undefined, id: string): boolean {
  return (
    state !== undefined && Object.hasOwn(state.participants, id) && leads(state.participants[id]?.role ?? 'student')
  );
}

/** Also for infinities, whose difference is no number. */
function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
