import {
  audioCodecs,
  cameraEncodings,
  receivedVideo,
  screenContent,
  screenEncodings,
  sentVideo,
  tuneScreen,
  type Codec,
} from './codecs.js';
import { LecternError } from './errors.js';
import type { CameraLayers, MediaStatus, VideoCodec } from './events.js';
import { type Fresh, hostAddress } from './fresh.js';
import type { IceServer, Kind, Source } from './protocol.js';
import { midsOf, tuneOpus } from './sdp.js';
import { SenderParameters } from './sender.js';

export interface MediaShape {
  videoSlots: number;
  audioSlots: number;
  codec: VideoCodec;
  cameraLayers: CameraLayers;
}

/** Sources that have a sending m-line, in the order of the offer. */
const SENT: readonly Source[] = ['microphone', 'camera', 'screen', 'screen-audio'];

/** Voice needs little; a shared film has music. */
const VOICE = { dtx: true, stereo: false, maxAverageBitrateBps: 40_000 };
const SCREEN_SOUND = { dtx: false, stereo: true, maxAverageBitrateBps: 128_000 };

export interface Offer {
  offer: string;
  sources: Partial<Record<Source, string>>;
}

/**
 * The one RTCPeerConnection of a session: sending m-lines, published later by `replaceTrack`, and receiving slots. It
 * negotiates once, and again with the same m-lines for an ICE restart.
 */
export class MediaLink {
  readonly connection: RTCPeerConnection;
  /** The machine's own addresses that it has found. */
  readonly addresses = new Set<string>();
  readonly #senders = new Map<Source, RTCRtpTransceiver>();
  readonly #parameters = new Map<Source, SenderParameters>();
  readonly #receivers: { kind: Kind; transceiver: RTCRtpTransceiver }[] = [];
  #offer: RTCSessionDescriptionInit | undefined;
  #mids: string[] = [];
  #closed = false;

  /** With `fresh`, in that document, which is its own from then on. */
  constructor(
    shape: MediaShape,
    private readonly onStatus: (status: MediaStatus) => void,
    private readonly fresh?: Fresh,
  ) {
    if (typeof RTCPeerConnection === 'undefined') {
      throw new LecternError('media-unsupported', 'this browser has no WebRTC');
    }
    const PeerConnection = fresh?.PeerConnection ?? RTCPeerConnection;
    this.connection = new PeerConnection({ bundlePolicy: 'max-bundle', rtcpMuxPolicy: 'require' });
    this.connection.addEventListener('icecandidate', ({ candidate }) => {
      const address = hostAddress(candidate?.candidate ?? '');
      if (address !== undefined) this.addresses.add(address);
    });
    this.connection.addEventListener('connectionstatechange', () => this.#report());
    this.#addTransceivers(shape);
  }

  get status(): MediaStatus {
    switch (this.#closed ? 'closed' : this.connection.connectionState) {
      case 'connected':
        return 'connected';
      case 'disconnected':
        return 'disconnected';
      case 'failed':
        return 'failed';
      case 'closed':
        return 'none';
      default:
        return 'connecting';
    }
  }

  /** The first offer, or one that restarts ICE. It is put in place by {@link accept}, so that a refusal leaves nothing behind. */
  async createOffer(options: { iceRestart?: boolean } = {}): Promise<Offer> {
    const offer = await this.connection.createOffer(options);
    this.#offer = offer;
    const sdp = offer.sdp ?? '';
    this.#mids = midsOf(sdp);
    const transceivers = this.connection.getTransceivers();
    const sources: Offer['sources'] = {};
    for (const [source, transceiver] of this.#senders) {
      const mid = transceiver.mid ?? this.#mids[transceivers.indexOf(transceiver)];
      if (mid !== undefined) sources[source] = mid;
    }
    return { offer: sdp, sources };
  }

  /** The server's answer to the last offer. */
  async accept(answer: string, iceServers?: readonly IceServer[]): Promise<void> {
    const offer = this.#offer;
    if (!offer || this.#closed) throw new LecternError('aborted', 'the media connection was closed');
    this.#offer = undefined;
    try {
      this.takeIceServers(iceServers ?? []);
      await this.connection.setLocalDescription(offer);
      const tunings = {
        [this.#senders.get('microphone')?.mid ?? '']: VOICE,
        [this.#senders.get('screen-audio')?.mid ?? '']: SCREEN_SOUND,
      };
      await this.connection.setRemoteDescription({ type: 'answer', sdp: tuneOpus(answer, tunings) });
    } catch (thrown) {
      throw LecternError.from(thrown, 'media-failed');
    }
    this.#report();
  }

  /** Figures of the way to the server: those of one receiver, whose report is small; nothing once it is closed. */
  async pulse(): Promise<Iterable<{ type: string; id: string }>> {
    try {
      const report = await this.#receivers[0]?.transceiver.receiver.getStats();
      // The DOM's types do not know that a report is a Map.
      return report ? (report as unknown as Map<string, { type: string; id: string }>).values() : [];
    } catch {
      return [];
    }
  }

  /** Relays to use from now on; without any, those that are known stay. */
  takeIceServers(iceServers: readonly IceServer[]): void {
    if (iceServers.length === 0 || this.#closed) return;
    this.connection.setConfiguration({ ...this.connection.getConfiguration(), iceServers: [...iceServers] });
  }

  /** Sends this track as `source`, or nothing. */
  async send(source: Source, track: MediaStreamTrack | null): Promise<void> {
    const transceiver = this.#senders.get(source);
    if (!transceiver) throw new LecternError('bad-request', `${source} cannot be sent from a browser`);
    if (this.#closed) return;
    try {
      await transceiver.sender.replaceTrack(track);
    } catch (thrown) {
      if (!this.isClosed) throw LecternError.from(thrown, 'bad-request');
    }
    if (source === 'screen' && track) await this.tune(track);
  }

  /** Sends a screen as its track's `contentHint` asks for. */
  async tune(screen: MediaStreamTrack): Promise<void> {
    // Nothing said: whoever shares a screen mostly shows something to be read.
    if (screen.contentHint === '') screen.contentHint = 'detail';
    await this.#parameters.get('screen')?.change((parameters) => tuneScreen(parameters, screenContent(screen)));
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** The tracks of the slots, in the order of the offer. */
  received(kind: Kind): MediaStreamTrack[] {
    return this.#receivers
      .filter((receiver) => receiver.kind === kind)
      .map(({ transceiver }) => transceiver.receiver.track);
  }

  /** The position among the slots of its kind of an m-line, or -1. */
  slotIndex(mid: string): { kind: Kind; index: number } | undefined {
    const receiver = this.#receivers.find(({ transceiver }) => transceiver.mid === mid);
    if (!receiver) return undefined;
    const alike = this.#receivers.filter(({ kind }) => kind === receiver.kind);
    return { kind: receiver.kind, index: alike.indexOf(receiver) };
  }

  /** What sends a source. */
  senderOf(source: Source): RTCRtpSender | undefined {
    return this.#closed ? undefined : this.#senders.get(source)?.sender;
  }

  /** The source of a sending m-line. */
  sourceOf(mid: string): Source | undefined {
    return [...this.#senders].find(([, transceiver]) => transceiver.mid === mid)?.[0];
  }

  close(): void {
    this.#closed = true;
    this.connection.close();
    this.fresh?.dispose();
  }

  #report(): void {
    if (!this.#closed) this.onStatus(this.status);
  }

  #addTransceivers({ videoSlots, audioSlots, codec, cameraLayers }: MediaShape): void {
    for (const source of SENT) {
      const kind: Kind = source === 'camera' || source === 'screen' ? 'video' : 'audio';
      const transceiver = this.#addSender(source, kind, codec, cameraLayers);
      this.#senders.set(source, transceiver);
      this.#parameters.set(source, new SenderParameters(transceiver.sender));
    }
    for (let slot = 0; slot < audioSlots; slot += 1) this.#addReceiver('audio');
    for (let slot = 0; slot < videoSlots; slot += 1) this.#addReceiver('video');
  }

  #addSender(source: Source, kind: Kind, codec: VideoCodec, layers: CameraLayers): RTCRtpTransceiver {
    const capabilities = RTCRtpSender.getCapabilities(kind)?.codecs ?? [];
    const codecs = kind === 'audio' ? audioCodecs(capabilities) : sentVideo(capabilities, codec);
    const encodings =
      source === 'camera' ? cameraEncodings(codec, layers) : source === 'screen' ? screenEncodings(codec) : [{}];
    const transceiver = this.#add(kind, { direction: 'sendonly', sendEncodings: encodings });
    prefer(transceiver, codecs);
    return transceiver;
  }

  #add(kind: Kind, init: RTCRtpTransceiverInit): RTCRtpTransceiver {
    try {
      return this.connection.addTransceiver(kind, init);
    } catch {
      // A browser that does not know `scalabilityMode` refuses the encoding.
      const plain = init.sendEncodings?.map((encoding) => ({ ...encoding, scalabilityMode: undefined }));
      const sendEncodings = plain?.map(({ scalabilityMode: _, ...encoding }) => encoding) ?? [];
      return this.connection.addTransceiver(kind, { ...init, sendEncodings });
    }
  }

  #addReceiver(kind: Kind): void {
    const transceiver = this.connection.addTransceiver(kind, { direction: 'recvonly' });
    const capabilities = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
    prefer(transceiver, kind === 'audio' ? audioCodecs(capabilities) : receivedVideo(capabilities));
    this.#receivers.push({ kind, transceiver });
  }
}

/** Without `setCodecPreferences`, or with a list that the browser does not like, the offer is larger; nothing else changes. */
function prefer(transceiver: RTCRtpTransceiver, codecs: Codec[]): void {
  if (!codecs.length || !('setCodecPreferences' in transceiver)) return;
  try {
    transceiver.setCodecPreferences(codecs as RTCRtpCodec[]);
  } catch {
    // Left as it is.
  }
}
