import type { Emitter } from './emitter.js';
import type {
  Connection,
  ConnectionStats,
  LocalTrack,
  MediaStatus,
  SessionEvents,
  SessionOptions,
  Speakers,
} from './events.js';
import type {
  LessonState,
  ParticipantState,
  Permission,
  PictureSource,
  Quality,
  Role,
  SettingsChange,
  Slot,
  Source,
  ViewPicture,
} from './protocol.js';

/** The public surface; its body follows. */
export declare class LecternSession extends Emitter<SessionEvents> {
  constructor(options: SessionOptions);
  readonly connection: Connection;
  readonly media: MediaStatus;
  /** Undefined before the first join. */
  readonly state: LessonState | undefined;
  /** Own identity; undefined before the first join. */
  readonly identity: string | undefined;
  /** The own entry in the state. */
  readonly self: (ParticipantState & { identity: string }) | undefined;
  readonly role: Role | undefined;
  readonly permissions: ReadonlySet<Permission>;
  readonly speakers: Speakers;
  readonly slots: readonly Slot[];
  /** Milliseconds to add to Date.now() for the server's clock. */
  readonly clockOffsetMs: number;
  join(options?: { signal?: AbortSignal }): Promise<void>;
  local(source: Source): LocalTrack | undefined;
  publish(source: Source, track: MediaStreamTrack, options?: { muted?: boolean }): Promise<void>;
  /** Another device for a source that is published already: no message to the server. */
  replace(source: Source, track: MediaStreamTrack): Promise<void>;
  unpublish(source: Source): Promise<void>;
  mute(source: Source): Promise<void>;
  unmute(source: Source): Promise<void>;
  muteParticipant(participant: string, source: Source): Promise<void>;
  muteAll(source?: Source): Promise<void>;
  /** The pictures shown now, most important first; may be called at each layout. */
  view(pictures: readonly ViewPicture[]): void;
  hand(raised: boolean, participant?: string): Promise<void>;
  floor(participant: string, granted: boolean): Promise<void>;
  chat(text: string): Promise<{ seq: number; nonce: string }>;
  settings(change: SettingsChange): Promise<void>;
  setRole(participant: string, role: Role): Promise<void>;
  remove(participant: string): Promise<void>;
  leave(): Promise<void>;
  end(): Promise<void>;
  qualityOf(participant: string): Quality | undefined;
  /** The stream of the slot that carries this picture now; undefined while none does. */
  pictureOf(participant: string, source: PictureSource): MediaStream | undefined;
  /** One stream per audio slot, the same objects until a full rejoin (see `slots` events): play all of them. */
  readonly audio: readonly MediaStream[];
  stats(): Promise<ConnectionStats>;
}
