/** The messages of `docs/protocol.md`, as types. `signaling/src/message.rs` is the twin. */

/** The version of the protocol that this client speaks. */
export const PROTOCOL_VERSION = 1;

/** What a track shows or sounds; a participant has at most one track of each. */
export type Source = 'microphone' | 'camera' | 'screen' | 'screen-audio' | 'desktop';
export type PictureSource = 'camera' | 'screen' | 'desktop';
/** What there are small pictures of, for the operator's wall. */
export type ThumbnailSource = 'camera' | 'screen';
export type Kind = 'audio' | 'video';
export type Role = 'teacher' | 'assistant' | 'student' | 'observer' | 'recorder';
export type Preset = 'tutoring' | 'lecture' | 'seminar';
export type Quality = 'good' | 'fair' | 'poor' | 'lost';

/** How much a participant receives, from all to least. */
export type ReceiveMode = 'normal' | 'data-saver' | 'audio-only';
/** What holds back a picture that one sends. */
export type SendingLimit = 'none' | 'cpu' | 'bandwidth';
/** How much of a picture arrives, of what was asked for. */
export type Shown = 'full' | 'reduced' | 'paused';
/** Why a picture is less than was asked for. */
export type Reason = 'bandwidth' | 'sender-cpu' | 'sender-bandwidth' | 'layer-missing' | 'policy' | 'hidden';
/** What a participant suffers from. */
export type Trouble = 'receiving' | 'sending-bandwidth' | 'sending-cpu';

export type Permission =
  | 'publish-microphone'
  | 'publish-camera'
  | 'publish-screen'
  | 'publish-screen-audio'
  | 'publish-desktop'
  | 'chat'
  | 'raise-hand'
  | 'give-floor'
  | 'mute-others'
  | 'remove'
  | 'set-role'
  | 'settings'
  | 'record'
  | 'end';

export type LeaveReason = 'left' | 'removed' | 'timeout' | 'closed' | 'shutdown';

/** Why a recording has ended. */
export type RecordingEnd = 'stopped' | 'closed' | 'failed' | 'disk-full' | 'interrupted';

/** What a recording that goes on does without: pictures, or what came while the disk was too slow. */
export type RecordingLimit = 'sound-only' | 'gaps';

export type EndReason = 'left' | 'removed' | 'replaced' | 'closed' | 'token-expired' | 'shutdown' | 'timeout';

/** Why the server refused something. */
export type ServerErrorCode =
  | 'unauthenticated'
  | 'token-expired'
  | 'forbidden'
  | 'bad-request'
  | 'too-large'
  | 'rate-limited'
  | 'room-full'
  | 'room-locked'
  | 'removed'
  | 'session-unknown'
  | 'not-joined'
  | 'already-joined'
  | 'not-found'
  | 'offer-refused'
  | 'conflict'
  | 'unavailable'
  | 'unsupported-version'
  | 'internal';

export interface RoomSettings {
  preset: Preset;
  title: string;
  locked: boolean;
  chat: boolean;
  studentMicrophones: boolean;
  studentCameras: boolean;
  studentScreens: boolean;
  studentsSeeStudents: boolean;
  maxParticipants: number;
  /** A recording begins when the first teacher or assistant comes. */
  recordAutomatically: boolean;
  /** Recordings show the cameras of students, also of those who do not have the floor. */
  recordStudentCameras: boolean;
}

export type SettingsChange = Partial<Omit<RoomSettings, 'preset'>>;

/** What a {@link LessonEvent} of each kind carries. */
export type LessonEventKind =
  | { kind: 'opened'; lesson: string; room: string; settings: RoomSettings }
  | { kind: 'joined'; participant: string; name: string; role: Role }
  | { kind: 'left'; participant: string; reason: LeaveReason }
  | { kind: 'published'; participant: string; source: Source; muted: boolean }
  | { kind: 'unpublished'; participant: string; source: Source }
  | { kind: 'muted'; participant: string; source: Source; muted: boolean }
  | { kind: 'hand-raised'; participant: string }
  | { kind: 'hand-lowered'; participant: string }
  | { kind: 'floor-given'; participant: string }
  | { kind: 'floor-taken'; participant: string }
  | { kind: 'role-changed'; participant: string; role: Role }
  | { kind: 'chat'; text: string; nonce: string }
  | { kind: 'settings-changed'; settings: RoomSettings }
  | { kind: 'recording-started'; recording: string }
  | { kind: 'recording-paused' }
  | { kind: 'recording-resumed' }
  | { kind: 'recording-limited'; limit?: RecordingLimit }
  | { kind: 'recording-stopped'; reason: RecordingEnd }
  | { kind: 'recording-consent'; participant: string; agreed: boolean }
  | { kind: 'closed' };

/** One thing that happened in a lesson; `seq` counts from 1 without gaps, `at` is RFC 3339 in UTC. */
export type LessonEvent = { seq: number; at: string; by?: string } & LessonEventKind;

export interface TrackState {
  muted: boolean;
}

export interface ParticipantState {
  name: string;
  role: Role;
  present: boolean;
  joinedAt: string;
  tracks: Partial<Record<Source, TrackState>>;
}

export interface ChatMessage {
  seq: number;
  at: string;
  by: string;
  name: string;
  text: string;
  nonce: string;
}

/** A lesson up to event `seq`. */
export interface LessonState {
  lesson: string;
  room: string;
  seq: number;
  settings: RoomSettings;
  closed: boolean;
  /** By identity; everybody who was ever there. */
  participants: Record<string, ParticipantState>;
  /** Raised hands, in the order raised. */
  hands: string[];
  /** Who has the floor, in the order given. */
  floor: string[];
  /** Who may not come back in this lesson. */
  removed: string[];
  /** The last 500 messages. */
  chat: ChatMessage[];
  /** The recording that is being made. */
  recording?: RecordingState;
  /** The last recording was interrupted: another begins when a teacher or assistant comes. */
  recordingInterrupted: boolean;
  /** All recordings of the lesson, in order. */
  recordings: string[];
  /** Who has said whether they agree to be recorded. */
  consents: { [identity: string]: boolean };
}

/** A recording that is being made. */
export interface RecordingState {
  id: string;
  /** RFC 3339 in UTC. */
  startedAt: string;
  /** Nothing is written for now. */
  paused: boolean;
  /** What it does without for now. */
  limit?: RecordingLimit;
}

/** What to do with the recording. */
export type RecordAction = 'start' | 'pause' | 'resume' | 'stop';

/** A picture that the client shows, in device pixels. */
export interface ViewPicture {
  participant: string;
  source: PictureSource;
  width: number;
  height: number;
}

export interface Slot {
  mid: string;
  kind?: Kind;
  participant?: string;
  source?: Source;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

export interface JoinRequest {
  version: number;
  offer?: string;
  sources?: Partial<Record<Source, string>>;
  resume?: { session: string; after: number };
}

export interface Joined {
  version: number;
  session: string;
  resumed: boolean;
  participant: string;
  role: Role;
  room: string;
  permissions: Permission[];
  answer?: string;
  slots: Slot[];
  iceServers: IceServer[];
  seq: number;
  state?: LessonState;
  events?: LessonEvent[];
  serverTime: string;
}

export interface RestartAnswer {
  answer: string;
  iceServers?: IceServer[];
}

export type SyncAnswer = { events: LessonEvent[]; seq: number } | { state: LessonState; seq: number };

type Empty = Record<string, never>;

/** Each request: its payload and the data of its acknowledgement. */
export interface Requests {
  join: { payload: JoinRequest; data: Joined };
  restart: { payload: { offer: string }; data: RestartAnswer };
  candidate: { payload: { candidate: string }; data: Empty };
  publish: { payload: { source: Source; muted?: boolean }; data: Empty };
  unpublish: { payload: { source: Source }; data: Empty };
  mute: { payload: { source: Source; muted: boolean; participant?: string }; data: Empty };
  'mute-all': { payload: { source: Source }; data: Empty };
  view: { payload: { pictures: ViewPicture[] }; data: Empty };
  receive: { payload: { mode: ReceiveMode; budgetMegabytes?: number }; data: Empty };
  sending: { payload: { source: Source; limit: SendingLimit }; data: Empty };
  thumbnail: { payload: { source: ThumbnailSource; jpeg?: string }; data: Empty };
  hand: { payload: { raised: boolean; participant?: string }; data: Empty };
  floor: { payload: { participant: string; granted: boolean }; data: Empty };
  chat: { payload: { text: string; nonce: string }; data: { seq: number } };
  settings: { payload: SettingsChange; data: Empty };
  role: { payload: { participant: string; role: Role }; data: Empty };
  remove: { payload: { participant: string }; data: Empty };
  record: { payload: { action: RecordAction }; data: Empty };
  consent: { payload: { agreed: boolean }; data: Empty };
  sync: { payload: { after: number }; data: SyncAnswer };
  leave: { payload: Empty; data: Empty };
  end: { payload: Empty; data: Empty };
}

export type RequestName = keyof Requests;

export type Acknowledgement<T> = { data: T } | { error: { code: ServerErrorCode; message: string } };

export interface SpeakerLevel {
  participant: string;
  /** dBov: 0 is the loudest, −127 silence. */
  level: number;
}

export interface ParticipantQuality {
  participant: string;
  quality: Quality;
  /** Of others only for teachers and assistants. */
  trouble?: Trouble[];
}

/** How a picture of the own view does. */
export interface ReceivedPicture {
  participant: string;
  source: PictureSource;
  shown: Shown;
  reason?: Reason;
  /** What is sent, in pixels, where known. */
  width?: number;
  height?: number;
}

/** What was used in this lesson, and how much is sent. */
export interface Usage {
  /** Bytes from the server to this participant. */
  sentBytes: number;
  /** Bytes from this participant to the server. */
  receivedBytes: number;
  /** What the way from the server is estimated to carry. */
  estimateBitsPerSecond?: number;
  /** How much is sent now: what was asked for, or less. */
  mode: ReceiveMode;
  /** The budget that holds, in MB of 10^6 bytes. */
  budgetMegabytes?: number;
  /** Why `mode` is less than was asked for. */
  reason?: 'budget';
}

/** Each event of the server and its payload. */
export interface Notices {
  lesson: { events: LessonEvent[] };
  slots: { slots: Slot[] };
  speakers: { levels: SpeakerLevel[]; active?: string };
  quality: { participants: ParticipantQuality[] };
  permissions: { permissions: Permission[]; role: Role };
  media: { state: 'connected' | 'disconnected' };
  encodings: { source: Source; active: boolean[] };
  pictures: { pictures: ReceivedPicture[] };
  usage: Usage;
  thumbnails: { wanted: boolean };
  ended: { reason: EndReason };
}
