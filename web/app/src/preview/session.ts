// A session with a script instead of a server: the same reducer, made-up events. Only for looking at the page.
import {
  fold,
  LecternError,
  type LessonEventKind,
  type Permission,
  type PictureSource,
  type Quality,
  type ReceivedPicture,
  type Receiving,
  type Role,
  type SessionEvents,
  type Source,
  type Trouble,
  type Usage,
} from '@lectern/client';

import type { Session } from '../classroom/room/room';
import { cameraOf, slide } from './pictures';

const TEACHER: Permission[] = [
  'publish-microphone',
  'publish-camera',
  'publish-screen',
  'publish-screen-audio',
  'chat',
  'give-floor',
  'mute-others',
  'remove',
  'set-role',
  'settings',
  'record',
  'end',
];
const STUDENT: Permission[] = [
  'publish-microphone',
  'publish-camera',
  'publish-screen',
  'publish-screen-audio',
  'chat',
  'raise-hand',
];

type Listener = (payload: never) => void;

/** Somebody of the script. */
export interface Actor {
  id: string;
  name: string;
  role: Role;
  camera?: boolean;
  microphone?: 'on' | 'muted';
}

/** The scripted session. `say` lets something happen. */
export class ScriptedSession implements Session {
  connection: Session['connection'] = { status: 'connected' };
  media: Session['media'] = 'connected';
  state: Session['state'];
  speakers: Session['speakers'] = { levels: [] };
  readonly slots: Session['slots'] = [];
  readonly clockOffsetMs = 0;
  readonly audio: Session['audio'] = [];
  readonly views: unknown[] = [];
  /** Whether chat messages fail. */
  failing = false;
  #seq = 0;
  #at = Date.now() - 754_000;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #streams = new Map<string, MediaStream>();
  readonly #local = new Map<Source, { track: MediaStreamTrack; muted: boolean }>();
  readonly #quality = new Map<string, Quality>();
  readonly #trouble = new Map<string, Trouble[]>();
  readonly #pictures = new Map<string, ReceivedPicture>();
  thumbnailsWanted = false;
  receiving: Receiving = { mode: 'normal' };
  usage: Usage | undefined;
  permissions: ReadonlySet<Permission>;

  constructor(
    readonly identity: string,
    readonly role: Role,
    denied: Permission[] = [],
  ) {
    const all =
      role === 'teacher'
        ? TEACHER
        : role === 'student'
          ? STUDENT
          : role === 'observer'
            ? ['publish-camera' as const]
            : TEACHER.slice(0, -2);
    this.permissions = new Set(all.filter((permission) => !denied.includes(permission)));
  }

  get self(): Session['self'] {
    const self = this.state?.participants[this.identity];
    return self && { ...self, identity: this.identity };
  }

  /** Something happens in the lesson. */
  say(kind: LessonEventKind, by?: string, minutesAgo?: number): void {
    this.#at += 4_000;
    const at = new Date(minutesAgo === undefined ? this.#at : Date.now() - minutesAgo * 60_000).toISOString();
    const event = { seq: ++this.#seq, at, ...(by === undefined ? {} : { by }), ...kind };
    this.state = fold(this.state, [event]);
    if (this.state) this.emit('state', { state: this.state, events: [event] });
  }

  /** Somebody comes in, with what they send. */
  enter(actor: Actor): void {
    const { id: participant } = actor;
    this.say({ kind: 'joined', participant, name: actor.name, role: actor.role }, participant);
    if (actor.microphone) {
      this.say(
        { kind: 'published', participant, source: 'microphone', muted: actor.microphone === 'muted' },
        participant,
      );
    }
    if (actor.camera) this.say({ kind: 'published', participant, source: 'camera', muted: false }, participant);
  }

  speak(...ids: string[]): void {
    this.speakers = {
      levels: ids.map((participant) => ({ participant, level: -22 })),
      ...(ids[0] === undefined ? {} : { active: ids[0] }),
    };
    this.emit('speakers', this.speakers);
  }

  grade(participant: string, quality: Quality): void {
    this.#quality.set(participant, quality);
    this.emit('quality', { changed: [{ participant, quality }] });
  }

  /** Somebody suffers. */
  suffer(participant: string, ...trouble: Trouble[]): void {
    this.#trouble.set(participant, trouble);
    this.emit('quality', { changed: [{ participant, quality: this.#quality.get(participant) ?? 'good', trouble }] });
  }

  /** The server says how a picture does. */
  reduce(picture: ReceivedPicture): void {
    this.#pictures.set(`${picture.participant}/${picture.source}`, picture);
    this.emit('pictures', { changed: [picture] });
  }

  /** The server says what was used. */
  use(usage: Usage): void {
    this.usage = usage;
    this.emit('usage', usage);
  }

  /** The operator looks at small pictures, or does not any more. */
  look(wanted: boolean): void {
    this.thumbnailsWanted = wanted;
    this.emit('thumbnails', { wanted });
  }

  become(connection: Session['connection']): void {
    this.connection = connection;
    this.emit('connection', connection);
  }

  emit<Name extends keyof SessionEvents>(name: Name, payload: SessionEvents[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) listener(payload as never);
  }

  on<Name extends keyof SessionEvents>(name: Name, listener: (payload: SessionEvents[Name]) => void): () => void {
    const set = this.#listeners.get(name) ?? new Set<Listener>();
    this.#listeners.set(name, set.add(listener));
    return () => void set.delete(listener);
  }

  off<Name extends keyof SessionEvents>(name: Name, listener: (payload: SessionEvents[Name]) => void): void {
    this.#listeners.get(name)?.delete(listener);
  }

  pictureOf(participant: string, source: 'camera' | 'screen' | 'desktop'): MediaStream | undefined {
    const key = `${participant}/${source}`;
    let stream = this.#streams.get(key);
    if (!stream) this.#streams.set(key, (stream = source === 'camera' ? cameraOf(participant) : slide()));
    return stream;
  }

  qualityOf(participant: string): Quality | undefined {
    return this.#quality.get(participant);
  }

  troubleOf(participant: string): readonly Trouble[] {
    return this.#trouble.get(participant) ?? [];
  }

  receivedOf(participant: string, source: PictureSource): ReceivedPicture {
    return this.#pictures.get(`${participant}/${source}`) ?? { participant, source, shown: 'full' };
  }

  receive(receiving: Receiving): Promise<void> {
    this.receiving = receiving;
    return Promise.resolve();
  }

  thumbnail = () => Promise.resolve();

  local(source: Source): { track: MediaStreamTrack; muted: boolean } | undefined {
    return this.#local.get(source);
  }

  view(pictures: readonly unknown[]): void {
    this.views.push(pictures);
  }

  publish(source: Source, track: MediaStreamTrack): Promise<void> {
    this.#local.set(source, { track, muted: false });
    this.say({ kind: 'published', participant: this.identity, source, muted: false }, this.identity);
    this.emit('local', { source, track: { track, muted: false } });
    return Promise.resolve();
  }

  replace(source: Source, track: MediaStreamTrack): Promise<void> {
    this.#local.set(source, { track, muted: false });
    return Promise.resolve();
  }

  unpublish(source: Source): Promise<void> {
    this.#local.delete(source);
    this.say({ kind: 'unpublished', participant: this.identity, source }, this.identity);
    this.emit('local', { source, track: undefined });
    return Promise.resolve();
  }

  #mute(source: Source, muted: boolean): Promise<void> {
    const local = this.#local.get(source);
    if (local) this.#local.set(source, { ...local, muted });
    this.say({ kind: 'muted', participant: this.identity, source, muted }, this.identity);
    this.emit('local', { source, track: this.#local.get(source) });
    return Promise.resolve();
  }

  mute = (source: Source) => this.#mute(source, true);
  unmute = (source: Source) => this.#mute(source, false);

  muteParticipant(participant: string, source: Source): Promise<void> {
    this.say({ kind: 'muted', participant, source, muted: true }, this.identity);
    return Promise.resolve();
  }

  muteAll(): Promise<void> {
    for (const [participant, { role }] of Object.entries(this.state?.participants ?? {})) {
      if (role === 'student')
        this.say({ kind: 'muted', participant, source: 'microphone', muted: true }, this.identity);
    }
    return Promise.resolve();
  }

  hand(raised: boolean, participant = this.identity): Promise<void> {
    this.say({ kind: raised ? 'hand-raised' : 'hand-lowered', participant }, this.identity);
    return Promise.resolve();
  }

  floor(participant: string, granted: boolean): Promise<void> {
    this.say({ kind: granted ? 'floor-given' : 'floor-taken', participant }, this.identity);
    return Promise.resolve();
  }

  chat(text: string, { nonce = String(this.#seq) } = {}): Promise<{ seq: number; nonce: string }> {
    if (this.failing) return Promise.reject(new LecternError('rate-limited'));
    this.say({ kind: 'chat', text, nonce }, this.identity, 0);
    return Promise.resolve({ seq: this.#seq, nonce });
  }

  settings(change: Parameters<Session['settings']>[0]): Promise<void> {
    if (this.state)
      this.say({ kind: 'settings-changed', settings: { ...this.state.settings, ...change } }, this.identity);
    return Promise.resolve();
  }

  setRole(participant: string, role: Role): Promise<void> {
    this.say({ kind: 'role-changed', participant, role }, this.identity);
    return Promise.resolve();
  }

  remove(participant: string): Promise<void> {
    this.say({ kind: 'left', participant, reason: 'removed' }, this.identity);
    return Promise.resolve();
  }

  record(action: Parameters<Session['record']>[0]): Promise<void> {
    if (action === 'start') this.say({ kind: 'recording-started', recording: '0-1' }, this.identity);
    else if (action === 'stop') this.say({ kind: 'recording-stopped', reason: 'stopped' }, this.identity);
    else this.say({ kind: action === 'pause' ? 'recording-paused' : 'recording-resumed' }, this.identity);
    return Promise.resolve();
  }

  consent(agreed: boolean): Promise<void> {
    this.say({ kind: 'recording-consent', participant: this.identity, agreed }, this.identity);
    return Promise.resolve();
  }

  screenContent(content: Parameters<Session['screenContent']>[0]): Promise<void> {
    const local = this.#local.get('screen');
    if (local) local.track.contentHint = content === 'motion' ? 'motion' : 'detail';
    return Promise.resolve();
  }

  join = () => Promise.resolve();
  leave = () => Promise.resolve();
  end = () => Promise.resolve();
  /** What a class on a middling network has. */
  stats(): ReturnType<Session['stats']> {
    const seen = Object.entries(this.state?.participants ?? {})
      .filter(([id, { tracks }]) => id !== this.identity && tracks.camera)
      .slice(0, 5);
    return Promise.resolve({
      rttMs: 48,
      lossIn: 0.012,
      lossOut: 0,
      bitrateInBps: 1_260_000,
      bitrateOutBps: 684_000,
      availableOutBps: 2_150_000,
      path: 'srflx/udp',
      received: seen.map(([participant], index) => ({
        mid: String(7 + index),
        kind: 'video' as const,
        participant,
        source: 'camera' as const,
        codec: 'VP8',
        width: index === 0 ? 1280 : 320,
        height: index === 0 ? 720 : 180,
        framesPerSecond: 25 - index,
        bitrateBps: index === 0 ? 910_000 : 86_000,
      })),
      sent: [
        {
          mid: '1',
          kind: 'video',
          source: 'camera',
          rid: 'q',
          codec: 'VP8',
          width: 320,
          height: 180,
          framesPerSecond: 25,
          bitrateBps: 124_000,
          limitation: 'none',
        },
        {
          mid: '1',
          kind: 'video',
          source: 'camera',
          rid: 'h',
          codec: 'VP8',
          width: 640,
          height: 360,
          framesPerSecond: 25,
          bitrateBps: 480_000,
          limitation: 'cpu',
        },
      ],
    });
  }
}
