// The room as the components see it: the client's session turned into reactive values.
import {
  LecternError,
  type LecternSession,
  type Permission,
  type PictureSource,
  type Quality,
  type ReceivedPicture,
  type Trouble,
} from '@lectern/client';
import {
  computed,
  inject,
  onScopeDispose,
  ref,
  shallowRef,
  triggerRef,
  type ComputedRef,
  type InjectionKey,
  type Ref,
  type ShallowRef,
} from 'vue';

import { spokeNow } from '../stage/choice';
import { mayWatch, peopleOf, type Person } from './people';

/** What the page needs of a session. The preview has a scripted one. */
export type Session = Pick<LecternSession, keyof LecternSession>;

/** A level above this is speech, in dBov. */
const SPEECH_DBOV = -50;
/** A ring that goes out between two words is restless. */
const RING_HOLD_MS = 500;

/** The room. */
export interface Room {
  readonly session: Session;
  readonly state: ShallowRef<Session['state']>;
  readonly connection: ShallowRef<Session['connection']>;
  readonly media: Ref<Session['media']>;
  /** Everybody present but recorders. */
  readonly people: ComputedRef<Person[]>;
  readonly me: ComputedRef<Person | undefined>;
  /** Those whom this participant may see. */
  readonly visible: ComputedRef<Person[]>;
  /** Who spoke, the latest first. */
  readonly spoke: Ref<string[]>;
  can(permission: Permission): boolean;
  person(id: string): Person | undefined;
  nameOf(id: string): string;
  speaking(id: string): boolean;
  qualityOf(id: string): Quality | undefined;
  /** What somebody suffers from; of others only teachers and assistants know. */
  troubleOf(id: string): readonly Trouble[];
  /** How much of a picture arrives, and why not more. */
  received(id: string, source: PictureSource): ReceivedPicture;
  /** What was used in the lesson, and how much is received. */
  readonly usage: ShallowRef<Session['usage']>;
  picture(id: string, source: PictureSource): MediaStream | undefined;
  /** Streams of the sounds to play. */
  readonly sounds: ShallowRef<readonly MediaStream[]>;
  /** Own tracks; counts up when they change. */
  readonly ownChanges: Ref<number>;
}

const KEY: InjectionKey<Room> = Symbol('room');
export const ROOM_KEY = KEY;

/** The room of this page. */
export function useRoom(): Room {
  const room = inject(KEY);
  if (!room) throw new Error('useRoom outside of a classroom');
  return room;
}

/** Follows a session until the scope ends. */
export function createRoom(session: Session): Room {
  const state = shallowRef(session.state);
  const connection = shallowRef(session.connection);
  const media = ref(session.media);
  const permissions = shallowRef(session.permissions);
  const sounds = shallowRef<readonly MediaStream[]>([...session.audio]);
  const slotChanges = ref(0);
  const ownChanges = ref(0);
  const qualityChanges = ref(0);
  const pictureChanges = ref(0);
  const usage = shallowRef(session.usage);
  const spoke = ref<string[]>([]);
  const loud = shallowRef(new Map<string, number>());

  const people = computed(() => (state.value ? peopleOf(state.value, session.identity) : []));
  const byId = computed(() => new Map(people.value.map((person) => [person.id, person])));
  const me = computed(() => people.value.find((person) => person.me));
  const visible = computed(() => {
    const viewer = me.value;
    const settings = state.value?.settings;
    return viewer && settings ? people.value.filter((person) => mayWatch(viewer, person, settings)) : [];
  });

  function hear(levels: readonly { participant: string; level: number }[], active: string | undefined): void {
    const now = performance.now();
    for (const { participant, level } of levels) {
      if (level > SPEECH_DBOV) loud.value.set(participant, now);
    }
    for (const [id, at] of loud.value) {
      if (now - at > RING_HOLD_MS) loud.value.delete(id);
    }
    triggerRef(loud);
    const next = spokeNow(spoke.value, active);
    if (next[0] !== spoke.value[0]) spoke.value = next;
  }
  // Levels stop when everybody is silent: the last rings go out by the clock.
  const fading = setInterval(() => {
    if (loud.value.size > 0) hear([], undefined);
  }, RING_HOLD_MS);

  const refreshSlots = () => {
    slotChanges.value++;
    const streams = session.audio;
    if (streams.length !== sounds.value.length || streams.some((stream, at) => stream !== sounds.value[at])) {
      sounds.value = [...streams];
    }
  };

  const stops = [
    session.on('state', (change) => {
      // A server that goes down sends everybody out; they come back with it. Nobody should see an empty room between.
      const goingDown = change.events.some((event) => event.kind === 'left' && event.reason === 'shutdown');
      if (!goingDown) state.value = change.state;
    }),
    session.on('connection', (change) => {
      connection.value = change;
      refreshSlots();
    }),
    session.on('media', (change) => (media.value = change.status)),
    session.on('permissions', (change) => (permissions.value = change.permissions)),
    session.on('slots', refreshSlots),
    session.on('speakers', (change) => hear(change.levels, change.active)),
    session.on('quality', () => qualityChanges.value++),
    session.on('pictures', () => pictureChanges.value++),
    session.on('usage', (change) => (usage.value = change)),
    session.on('local', () => ownChanges.value++),
  ];
  onScopeDispose(() => {
    clearInterval(fading);
    for (const stop of stops) stop();
  });

  return {
    session,
    state,
    connection,
    media,
    people,
    me,
    visible,
    spoke,
    sounds,
    ownChanges,
    can: (permission) => permissions.value.has(permission),
    person: (id) => byId.value.get(id),
    nameOf: (id) => byId.value.get(id)?.name ?? state.value?.participants[id]?.name ?? id,
    speaking: (id) => loud.value.has(id),
    qualityOf: (id) => (qualityChanges.value >= 0 ? session.qualityOf(id) : undefined),
    troubleOf: (id) => (qualityChanges.value >= 0 ? session.troubleOf(id) : []),
    received(id, source) {
      // Read for Vue, as below.
      return pictureChanges.value >= 0 ? session.receivedOf(id, source) : { participant: id, source, shown: 'full' };
    },
    usage,
    picture(id, source) {
      // Read for Vue: the session's own fields tell it nothing of changes.
      const changes = slotChanges.value + ownChanges.value;
      if (changes < 0) return undefined;
      if (id !== session.identity) return session.pictureOf(id, source);
      const local = session.local(source);
      return local && !local.muted ? streamOf(local.track) : undefined;
    },
  };
}

const ownStreams = new WeakMap<MediaStreamTrack, MediaStream>();

/** One stream per track, so that a picture is not started anew at each rendering. */
function streamOf(track: MediaStreamTrack): MediaStream {
  let stream = ownStreams.get(track);
  if (!stream) ownStreams.set(track, (stream = new MediaStream([track])));
  return stream;
}

/** The code of anything thrown by the session. */
export function codeOf(error: unknown): LecternError['code'] {
  return LecternError.from(error).code;
}
