import type { LecternError } from './errors.js';
import type {
  EndReason,
  LessonEvent,
  LessonState,
  ParticipantQuality,
  Permission,
  ReceivedPicture,
  ReceiveMode,
  Role,
  Slot,
  Source,
  SpeakerLevel,
  Usage,
} from './protocol.js';

/** Codec of the video that is sent; what is received is up to the senders. */
export type VideoCodec = 'vp8' | 'vp9' | 'h264' | 'av1';

/** A stream for each size, or layers of one stream (scalable coding): that costs the encoder less, and needs one that has it. */
export type CameraLayers = 'simulcast' | 'svc';

/** What a shared screen shows: text has to stay sharp, a film has to move. */
export type ScreenContent = 'text' | 'motion';

export interface SessionOptions {
  /** Origin of the server; the page's own by default. */
  url?: string;
  /** JWT, or something that gives a fresh one at each connection. */
  token: string | (() => string | Promise<string>);
  /** Pictures at once: 9 suits a desktop, 4 a phone. Fixed for the session. */
  videoSlots?: number;
  /** Voices at once. */
  audioSlots?: number;
  /** Default vp8. A browser that cannot send it sends what it can. */
  codec?: VideoCodec;
  /** How the camera is sent in several sizes; default `simulcast`. VP8 and H264 know nothing else. */
  cameraLayers?: CameraLayers;
  /** False joins without WebRTC: the lesson only. */
  media?: boolean;
  /** How long `join` tries to reach the server, in milliseconds; default 15 000. */
  joinTimeout?: number;
}

export type ConnectionStatus = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'failed' | 'ended';

/** How the session stands. `reconnecting` may still hear and see: media survives a cut of signalling. */
export type Connection =
  | { status: 'idle' | 'connecting' | 'connected' }
  | { status: 'reconnecting'; cause: 'signalling' | 'media' | 'server-restart' }
  | { status: 'failed'; error: LecternError }
  | { status: 'ended'; reason: EndReason };

/** The own media connection. */
export type MediaStatus = 'none' | 'connecting' | 'connected' | 'disconnected' | 'failed';

/** A source that this client sends. */
export interface LocalTrack {
  track: MediaStreamTrack;
  muted: boolean;
}

export interface Speakers {
  levels: SpeakerLevel[];
  active?: string;
}

/** What to receive at most; `budgetMegabytes` is for the lesson, in MB of 10^6 bytes, both directions. */
export interface Receiving {
  mode: ReceiveMode;
  budgetMegabytes?: number;
}

/** What `LecternSession` tells. */
export interface SessionEvents {
  /** The lesson changed; `events` is what happened, empty when the whole state came anew. */
  state: { state: LessonState; events: LessonEvent[] };
  /** Slots that carry something else now: pictures and voices moved. */
  slots: { changed: Slot[] };
  speakers: Speakers;
  /** Connection quality and trouble of participants; only changes. */
  quality: { changed: ParticipantQuality[] };
  /** How pictures of the own view do; only changes. */
  pictures: { changed: ReceivedPicture[] };
  /** What this participant has used, and how much it is sent. */
  usage: Usage;
  /**
   * Whether the operator looks at small pictures of the room. Only who shows a sign meanwhile should send some
   * (`LecternSession.thumbnail`).
   */
  thumbnails: { wanted: boolean };
  permissions: { permissions: ReadonlySet<Permission>; role: Role };
  connection: Connection;
  media: { status: MediaStatus };
  /** Own tracks changed. With `by`, somebody else muted or stopped one. */
  local: { source: Source; track: LocalTrack | undefined; by?: string };
}

/** Connection figures over the time since the last call of `stats()`. */
export interface ConnectionStats {
  /** Round trip in milliseconds. */
  rttMs?: number;
  /** Received packets that were lost, 0..1. */
  lossIn?: number;
  /** Sent packets that the server reports lost, 0..1. */
  lossOut?: number;
  bitrateInBps: number;
  bitrateOutBps: number;
  /** The estimate of what can be sent. */
  availableOutBps?: number;
  /** `host`, `srflx`, `prflx` or `relay`, with the protocol, e.g. `relay/tcp`. */
  path?: string;
  received: StreamStats[];
  sent: StreamStats[];
}

export interface StreamStats {
  mid: string;
  kind: 'audio' | 'video';
  participant?: string;
  source?: Source;
  rid?: string;
  /** `VP8`, `opus`, … */
  codec?: string;
  bitrateBps: number;
  width?: number;
  height?: number;
  framesPerSecond?: number;
  /** Decoded or encoded since the start. */
  frames?: number;
  /** Freezes since the start. */
  freezes?: number;
  /** Why the sender holds back: `cpu`, `bandwidth`, `none`. */
  limitation?: string;
}
