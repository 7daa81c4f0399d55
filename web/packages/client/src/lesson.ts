/**
 * The lesson's reducer, twin of `signaling/src/lesson.rs`: fixtures that both read and a property test hold them together.
 * States are never changed in place, and parts that an event does not touch stay the same objects.
 */
import type { LeaveReason, LessonEvent, LessonState, ParticipantState, Source } from './protocol.js';

/** Chat messages that the state keeps; the log keeps all. */
export const CHAT_IN_STATE = 500;

/**
 * The state after `event`; only `opened` makes one out of nothing. The numbers in the comments are the rules of
 * `docs/protocol.md`, "The state, and how events fold into it".
 */
export function reduce(state: LessonState | undefined, event: LessonEvent): LessonState | undefined {
  if (event.kind === 'opened') return opened(event); // 1
  if (!state || event.seq <= state.seq) return state; // 2
  return { ...change(state, event), seq: event.seq };
}

/** Folds many events. Without a state the first must be `opened`. */
export function fold(state: LessonState | undefined, events: readonly LessonEvent[]): LessonState | undefined {
  if (!state && events[0]?.kind !== 'opened') return undefined;
  return events.reduce(reduce, state);
}

/** A participant by identity. Identities are chosen outside: `constructor` is one that nobody has by default. */
export function participantOf(state: LessonState, identity: string): ParticipantState | undefined {
  return Object.hasOwn(state.participants, identity) ? state.participants[identity] : undefined;
}

function opened({ lesson, room, settings, seq }: LessonEvent & { kind: 'opened' }): LessonState {
  return {
    lesson,
    room,
    seq,
    settings,
    closed: false,
    participants: {},
    hands: [],
    floor: [],
    removed: [],
    chat: [],
    recordingInterrupted: false,
    recordings: [],
    consents: {},
  };
}

function change(state: LessonState, event: LessonEvent): LessonState {
  switch (event.kind) {
    case 'opened':
      return opened(event);
    case 'joined': {
      // 3
      const { participant, name, role, at } = event;
      return withParticipant(state, participant, { name, role, present: true, joinedAt: at, tracks: {} });
    }
    case 'left':
      return left(state, event.participant, event.reason);
    case 'published': {
      // 5
      const { participant, source, muted } = event;
      return withTracks(state, participant, (tracks, present) =>
        present ? { ...tracks, [source]: { muted } } : tracks,
      );
    }
    case 'unpublished':
      return withTracks(state, event.participant, (tracks) => without(tracks, event.source));
    case 'muted': {
      const { participant, source, muted } = event;
      return withTracks(state, participant, (tracks) => (tracks[source] ? { ...tracks, [source]: { muted } } : tracks));
    }
    case 'hand-raised':
      // 6
      return isPresent(state, event.participant)
        ? { ...state, hands: appended(state.hands, event.participant) }
        : state;
    case 'hand-lowered':
      return { ...state, hands: removed(state.hands, event.participant) };
    case 'floor-given': {
      // 7
      const { participant } = event;
      if (!isPresent(state, participant)) return state;
      return { ...state, hands: removed(state.hands, participant), floor: appended(state.floor, participant) };
    }
    case 'floor-taken':
      return { ...state, floor: removed(state.floor, event.participant) };
    case 'role-changed': {
      // 8
      const participant = participantOf(state, event.participant);
      return participant ? withParticipant(state, event.participant, { ...participant, role: event.role }) : state;
    }
    case 'chat': {
      // 9
      const { seq, at, by, text, nonce } = event;
      const author = by === undefined ? undefined : participantOf(state, by);
      if (by === undefined || !author) return state;
      return { ...state, chat: [...state.chat, { seq, at, by, name: author.name, text, nonce }].slice(-CHAT_IN_STATE) };
    }
    case 'settings-changed':
      return { ...state, settings: event.settings }; // 10
    case 'closed': {
      // 11
      const participants = Object.fromEntries(
        Object.entries(state.participants).map(([id, was]) => [id, { ...was, present: false, tracks: {} }]),
      );
      return { ...withoutRecording(state), closed: true, participants, hands: [], floor: [] };
    }
    case 'recording-started': {
      // 12
      const recording = { id: event.recording, startedAt: event.at, paused: false };
      const recordings = appended(state.recordings, event.recording);
      return { ...state, recording, recordings, recordingInterrupted: false };
    }
    case 'recording-paused':
    case 'recording-resumed': {
      const paused = event.kind === 'recording-paused';
      return state.recording ? { ...state, recording: { ...state.recording, paused } } : state;
    }
    case 'recording-limited': {
      if (!state.recording) return state;
      const { limit: _, ...recording } = state.recording;
      return { ...state, recording: event.limit === undefined ? recording : { ...recording, limit: event.limit } };
    }
    case 'recording-stopped':
      return { ...withoutRecording(state), recordingInterrupted: event.reason === 'interrupted' };
    case 'recording-consent': {
      // 13
      const { participant, agreed } = event;
      if (!participantOf(state, participant)) return state;
      return { ...state, consents: { ...state.consents, [participant]: agreed } };
    }
    default:
      // 14: a kind that a later server knows.
      return state;
  }
}

function isPresent(state: LessonState, identity: string): boolean {
  return participantOf(state, identity)?.present === true;
}

/** Rule 4. */
function left(state: LessonState, identity: string, reason: LeaveReason): LessonState {
  const participant = participantOf(state, identity);
  if (!participant) return state;
  return {
    ...withParticipant(state, identity, { ...participant, present: false, tracks: {} }),
    hands: removed(state.hands, identity),
    floor: removed(state.floor, identity),
    removed: reason === 'removed' ? appended(state.removed, identity) : state.removed,
  };
}

function withParticipant(state: LessonState, identity: string, participant: ParticipantState): LessonState {
  return { ...state, participants: { ...state.participants, [identity]: participant } };
}

type Tracks = ParticipantState['tracks'];

function withTracks(
  state: LessonState,
  identity: string,
  change: (tracks: Tracks, present: boolean) => Tracks,
): LessonState {
  const participant = participantOf(state, identity);
  if (!participant) return state;
  const tracks = change(participant.tracks, participant.present);
  return tracks === participant.tracks ? state : withParticipant(state, identity, { ...participant, tracks });
}

function without(tracks: Tracks, source: Source): Tracks {
  return Object.fromEntries(Object.entries(tracks).filter(([other]) => other !== source));
}

function withoutRecording({ recording: _, ...state }: LessonState): LessonState {
  return state;
}

function appended(list: string[], item: string): string[] {
  return list.includes(item) ? list : [...list, item];
}

function removed(list: string[], item: string): string[] {
  return list.includes(item) ? list.filter((other) => other !== item) : list;
}
