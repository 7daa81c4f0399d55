import { LecternError } from './errors.js';
import type { LocalTrack } from './events.js';
import type { LessonEvent, ParticipantState, Requests, Source } from './protocol.js';

type Local = ReadonlyMap<Source, LocalTrack>;
export type Correction =
  | { name: 'publish'; payload: Requests['publish']['payload'] }
  | { name: 'unpublish'; payload: Requests['unpublish']['payload'] }
  | { name: 'mute'; payload: Requests['mute']['payload'] };

/** What to say after a cut, so that the server knows what is sent now. It never unmutes: a teacher may have muted. */
export function corrections(local: Local, known: ParticipantState['tracks']): Correction[] {
  const said: Correction[] = [];
  for (const [source, { muted }] of local) {
    const there = known[source];
    if (!there) said.push({ name: 'publish', payload: { source, muted } });
    else if (muted && !there.muted) said.push({ name: 'mute', payload: { source, muted } });
  }
  for (const source of Object.keys(known) as Source[]) {
    if (!local.has(source)) said.push({ name: 'unpublish', payload: { source } });
  }
  return said;
}

/** What others did to own tracks: `undefined` stopped it. */
export interface Interference {
  source: Source;
  muted: boolean | undefined;
  by?: string;
}

/** What in `events` somebody else (or the server) did to the tracks of `self`. */
export function interferences(events: readonly LessonEvent[], self: string): Interference[] {
  return events.flatMap((event): Interference[] => {
    const about = (event.kind === 'muted' || event.kind === 'unpublished') && event.participant === self;
    if (!about || event.by === self) return [];
    const muted = event.kind === 'muted' ? event.muted : undefined;
    return [{ source: event.source, muted, ...(event.by !== undefined && { by: event.by }) }];
  });
}

/** A source must be there to be muted. */
export function mustHave(local: Local, source: Source): LocalTrack {
  const track = local.get(source);
  if (!track) throw new LecternError('not-found', `${source} is not published`);
  return track;
}
