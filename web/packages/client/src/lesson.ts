/**
 * The lesson's reducer, twin of `signaling/src/lesson.rs`: fixtures that both read and a property test hold them together.
 * States are never changed in place, and parts that an event does not touch stay the same objects.
 */
import type { LessonEvent, LessonState, ParticipantState, Source } from './protocol.js';

/** Chat messages that the state keeps; the log keeps all. */
export const CHAT_IN_STATE = 500;

/** The state after `event`. Without a state only `opened` makes one; events of unknown kinds move `seq` alone. */
export function reduce(state: LessonState | undefined, event: LessonEvent): LessonState | undefined {
  if (event.kind === 'opened') return opened(event);
  return state && { ...change(state, event), seq: event.seq };
}

/** Folds many events. */
export function fold(state: LessonState | undefined, events: readonly LessonEvent[]): LessonState | undefined {
  return events.reduce(reduce, state);
}

/** A participant by identity. Identities are chosen outside: `constructor` is one that nobody has by default. */
export function participantOf(state: LessonState, identity: string): ParticipantState | undefined {
  return Object.hasOwn(state.participants, identity) ? state.participants[identity] : undefined;
}

function opened({ lesson, room, settings, seq }: LessonEvent & { kind: 'opened' }): LessonState {
  return { lesson, room, seq, settings, closed: false, participants: {}, hands: [], floor: [], removed: [], chat: [] };
}

function change(state: LessonState, event: LessonEvent): LessonState {
  switch (event.kind) {
    case 'opened':
      return opened(event);
    case 'joined': {
      const { participant, name, role, at } = event;
      return withParticipant(state, participant, { name, role, present: true, joinedAt: at, tracks: {} });
    }
    case 'left': {
      const left = leave(state, event.participant);
      if (event.reason !== 'removed' || left === state) return left;
      return { ...left, removed: appended(left.removed, event.participant) };
    }
    case 'published':
      return withTracks(state, event.participant, (tracks) => ({ ...tracks, [event.source]: { muted: event.muted } }));
    case 'unpublished':
      return withTracks(state, event.participant, (tracks) => without(tracks, event.source));
    case 'muted':
      return withTracks(state, event.participant, (tracks) =>
        tracks[event.source] ? { ...tracks, [event.source]: { muted: event.muted } } : tracks,
      );
    case 'hand-raised':
      return known(state, event.participant) ? { ...state, hands: appended(state.hands, event.participant) } : state;
    case 'hand-lowered':
      return { ...state, hands: removed(state.hands, event.participant) };
    case 'floor-given':
      if (!known(state, event.participant)) return state;
      return {
        ...state,
        hands: removed(state.hands, event.participant),
        floor: appended(state.floor, event.participant),
      };
    case 'floor-taken':
      return { ...state, floor: removed(state.floor, event.participant) };
    case 'role-changed': {
      const participant = participantOf(state, event.participant);
      return participant ? withParticipant(state, event.participant, { ...participant, role: event.role }) : state;
    }
    case 'chat': {
      const { seq, at, by, text, nonce } = event;
      const author = by === undefined ? undefined : participantOf(state, by);
      if (by === undefined || !author) return state;
      return { ...state, chat: [...state.chat, { seq, at, by, name: author.name, text, nonce }].slice(-CHAT_IN_STATE) };
    }
    case 'settings-changed':
      return { ...state, settings: event.settings };
    case 'closed': {
      let closed: LessonState = { ...state, closed: true };
      for (const [identity, { present }] of Object.entries(state.participants)) {
        if (present) closed = leave(closed, identity);
      }
      return closed;
    }
    default:
      // A kind that a later server knows.
      return state;
  }
}

function known(state: LessonState, identity: string): boolean {
  return Object.hasOwn(state.participants, identity);
}

function leave(state: LessonState, identity: string): LessonState {
  const participant = participantOf(state, identity);
  if (!participant) return state;
  return {
    ...withParticipant(state, identity, { ...participant, present: false, tracks: {} }),
    hands: removed(state.hands, identity),
    floor: removed(state.floor, identity),
  };
}

function withParticipant(state: LessonState, identity: string, participant: ParticipantState): LessonState {
  return { ...state, participants: { ...state.participants, [identity]: participant } };
}

type Tracks = ParticipantState['tracks'];

function withTracks(state: LessonState, identity: string, change: (tracks: Tracks) => Tracks): LessonState {
  const participant = participantOf(state, identity);
  if (!participant) return state;
  const tracks = change(participant.tracks);
  return tracks === participant.tracks ? state : withParticipant(state, identity, { ...participant, tracks });
}

function without(tracks: Tracks, source: Source): Tracks {
  return Object.fromEntries(Object.entries(tracks).filter(([other]) => other !== source));
}

function appended(list: string[], item: string): string[] {
  return list.includes(item) ? list : [...list, item];
}

function removed(list: string[], item: string): string[] {
  return list.includes(item) ? list.filter((other) => other !== item) : list;
}
