import { Encodings, type Saving } from './encodings.js';
import { LecternError } from './errors.js';
import type { ConnectionStats, MediaStatus } from './events.js';
import { addressesOf, type Fresh, freshDocument, isBehind } from './fresh.js';
import type { LocalTracks } from './local-tracks.js';
import { MediaLink, type MediaShape, type Offer } from './media.js';
import { MediaWatch } from './media-watch.js';
import { beatOf, Pulse } from './pulse.js';
import type { IceServer, RestartAnswer, SendingLimit, Slot, Source } from './protocol.js';
import { limitOf } from './sending.js';
import { StatsReader } from './stats.js';
import { SlotStreams } from './streams.js';

/** How often the connection's pulse is felt. */
const PULSE_MS = 200;

export interface SessionMediaEvents {
  status(status: MediaStatus): void;
  /** Exchanges the offer of an ICE restart for its answer; undefined while signalling is away. Throws when it is refused. */
  restart(offer: string): Promise<RestartAnswer | undefined>;
  /** The way of media may be dead: time to find out how signalling fares. `isStill` tells later whether nothing has come since. */
  doubted(isStill: () => boolean): void;
  /** The machine has another address, which nothing that there is now can use. {@link SessionMedia.offer} is for another connection. */
  moved(): void;
  /** The way of media is dead. Signalling may have gone the same way, and would not know for a long time. */
  died(): void;
  /** Nothing else helps: the session has to be made anew. `attempt` counts from 0. */
  rejoin(attempt: number): void;
}

/** The media of a session: one connection at a time, its repair, and streams that outlive it. */
export class SessionMedia {
  readonly #streams: SlotStreams;
  readonly #stats = new StatsReader();
  #link: MediaLink | undefined;
  #encodings: Encodings | undefined;
  #saving: Saving = 'none';
  #watch: MediaWatch | undefined;
  #pulse: ReturnType<typeof setInterval> | undefined;
  /** Where the next connection is made, if not in this document. */
  #fresh: Fresh | undefined;
  #status: MediaStatus = 'none';

  /** Throws {@link LecternError} where there is no WebRTC. */
  constructor(
    private readonly shape: MediaShape,
    private readonly local: LocalTracks,
    private readonly events: SessionMediaEvents,
  ) {
    if (typeof RTCPeerConnection === 'undefined' || typeof MediaStream === 'undefined') {
      throw new LecternError('media-unsupported', 'this browser has no WebRTC');
    }
    this.#streams = new SlotStreams(shape.audioSlots, shape.videoSlots);
  }

  get status(): MediaStatus {
    return this.#status;
  }

  get audio(): readonly MediaStream[] {
    return this.#streams.audio;
  }

  /** Drops the connection, if any, and offers another. */
  async offer(): Promise<Offer> {
    const rejoins = this.#watch?.rejoins ?? 0;
    this.#close();
    const fresh = this.#fresh;
    this.#fresh = undefined;
    const follow = (status: MediaStatus) => {
      if (link === this.#link) this.#setStatus(status);
    };
    const link: MediaLink = new MediaLink(this.shape, follow, fresh);
    this.#link = link;
    // The server takes all layers of a new connection for needed.
    this.#encodings = new Encodings((source) => link.senderOf(source));
    this.#encodings.save(this.#saving);
    this.#watch = new MediaWatch(
      { restart: () => this.#restart(link), rejoin: (attempt) => this.events.rejoin(attempt) },
      rejoins,
    );
    return await link.createOffer();
  }

  /** Fresh credentials for relays, for what the browser may still gather; those that it uses go on. */
  takeIceServers(iceServers: readonly IceServer[]): void {
    this.#link?.takeIceServers(iceServers);
  }

  /** The answer to {@link offer}. */
  async accept(answer: string, iceServers: readonly IceServer[]): Promise<void> {
    const link = this.#link;
    if (!link) throw new LecternError('aborted', 'the media connection was closed');
    // Before the answer, so that the first packets leave as soon as there is a way.
    await Promise.all([...this.local.all].map(([source, { track }]) => link.send(source, track)));
    await this.#encodings?.apply('camera');
    await link.accept(answer, iceServers);
    if (link !== this.#link) return;
    this.#streams.fill(link);
    void this.#encodings?.apply('camera');
    this.#watch?.negotiated();
    this.#feelPulse(link);
  }

  async send(source: Source, track: MediaStreamTrack | null): Promise<void> {
    await this.#link?.send(source, track);
    // A browser may begin anew with all layers.
    await this.#encodings?.apply(source);
  }

  /** Which layers of a source anybody needs. */
  need(source: Source, active: readonly boolean[]): void {
    this.#encodings?.need(source, active);
  }

  /** A source is no longer sent. */
  forget(source: Source): void {
    this.#encodings?.forget(source);
  }

  /** Sends less of the own camera. */
  save(saving: Saving): void {
    this.#saving = saving;
    this.#encodings?.save(saving);
  }

  /** What holds back what is sent as `source`. */
  async limitOf(source: Source): Promise<SendingLimit> {
    const sender = this.#link?.senderOf(source);
    if (!sender?.track || !this.local.get(source)) return 'none';
    if (source === 'camera' && this.#saving !== 'none') return 'bandwidth';
    try {
      const report = await sender.getStats();
      // The DOM's types do not know that a report is a Map.
      return limitOf((report as unknown as Map<string, { type: string }>).values());
    } catch {
      return 'none';
    }
  }

  /** The content of the screen that is sent has changed. */
  async tune(screen: MediaStreamTrack): Promise<void> {
    await this.#link?.tune(screen);
  }

  /** The stream of a slot. */
  streamOf(slot: Slot): MediaStream | undefined {
    const place = this.#link?.slotIndex(slot.mid);
    return place && this.#streams.of(place.kind, place.index);
  }

  signallingBack(): void {
    this.#watch?.signallingBack();
  }

  networkChanged(): void {
    this.#watch?.networkChanged();
  }

  serverSays(state: 'connected' | 'disconnected'): void {
    this.#watch?.serverSays(state);
  }

  /** `received` says what a receiving m-line carries. */
  async stats(self: string | undefined, received: (mid: string) => Slot | undefined): Promise<ConnectionStats> {
    const link = this.#link;
    const report = await link?.connection.getStats();
    // The DOM's types do not know that a report is a Map.
    const entries = report ? [...(report as unknown as Map<string, RTCStats>).values()] : [];
    return this.#stats.read(entries, (mid) => {
      const source = link?.sourceOf(mid);
      return source ? { mid, source, ...(self !== undefined && { participant: self }) } : received(mid);
    });
  }

  /** Ends the connection; the streams stay for another. */
  stop(): void {
    this.#close();
    this.#fresh?.dispose();
    this.#fresh = undefined;
    this.#watch = undefined;
    this.#setStatus('none');
  }

  /** Restarts ICE as soon as the way to the server is dead. */
  #feelPulse(link: MediaLink): void {
    clearInterval(this.#pulse);
    const pulse = new Pulse();
    this.#pulse = setInterval(() => {
      void link.pulse().then((report) => {
        if (link !== this.#link) return;
        const finding = pulse.take(beatOf(report), performance.now());
        if (finding === 'doubtful') {
          const isStill = () => link === this.#link && pulse.isDoubted;
          this.events.doubted(isStill);
          void this.#lookAround(link, isStill);
        }
        if (finding !== 'dead') return;
        this.events.died();
        this.#watch?.networkChanged();
      });
    }, PULSE_MS);
  }

  /** Whether the silence is that of an address which is gone, before the browser knows. */
  async #lookAround(link: MediaLink, isStill: () => boolean): Promise<void> {
    const fresh = freshDocument();
    if (!fresh) return;
    try {
      const found = [addressesOf(RTCPeerConnection), addressesOf(fresh.PeerConnection)] as const;
      const [known, now] = await Promise.all(found);
      if (isStill() && isBehind(link.addresses, known, now)) {
        // One of a move before it, from which nothing was made yet.
        this.#fresh?.dispose();
        this.#fresh = fresh;
        this.events.moved();
        return;
      }
    } catch {
      // A browser that makes no more connections now goes on with the one it has.
    }
    fresh.dispose();
  }

  #close(): void {
    clearInterval(this.#pulse);
    this.#watch?.stop();
    this.#encodings?.stop();
    this.#encodings = undefined;
    this.#link?.close();
    this.#link = undefined;
  }

  #setStatus(status: MediaStatus): void {
    this.#watch?.status(status);
    if (status === this.#status) return;
    this.#status = status;
    this.events.status(status);
  }

  /** False when it has to wait for signalling. */
  async #restart(link: MediaLink): Promise<boolean> {
    if (link !== this.#link) return false;
    const { offer } = await link.createOffer({ iceRestart: true });
    const restarted = await this.events.restart(offer);
    if (restarted === undefined || link !== this.#link) return false;
    await link.accept(restarted.answer, restarted.iceServers);
    return true;
  }
}
