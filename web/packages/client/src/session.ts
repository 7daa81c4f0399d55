import { Adaptation } from './adaptation.js';
import { Emitter } from './emitter.js';
import { savingOf } from './encodings.js';
import { LecternError } from './errors.js';
import type {
  Connection,
  ConnectionStats,
  LocalTrack,
  MediaStatus,
  Receiving,
  ScreenContent,
  SessionEvents,
  SessionOptions,
  Speakers,
} from './events.js';
import { LessonFeed } from './feed.js';
import { Gate } from './gate.js';
import { participantOf } from './lesson.js';
import { LocalTracks } from './local-tracks.js';
import { followPage } from './page.js';
import type {
  Joined,
  LessonState,
  Notices,
  ParticipantState,
  Permission,
  ParticipantQuality,
  PictureSource,
  Quality,
  ReceivedPicture,
  RecordAction,
  RequestName,
  Requests,
  RestartAnswer,
  Role,
  SettingsChange,
  Slot,
  Source,
  ThumbnailSource,
  Trouble,
  Usage,
  ViewPicture,
} from './protocol.js';
import { PROTOCOL_VERSION } from './protocol.js';
import { corrections, interferences } from './publications.js';
import { afterEnded, afterJoinError, backoffMs } from './recovery.js';
import { SendingWatch } from './sending.js';
import { SessionMedia } from './session-media.js';
import { ConnectionLost, Signal } from './signal.js';
import { SlotMap } from './slots.js';
import { planView, ViewSender } from './view.js';

const DEFAULT_VIDEO_SLOTS = 9;
/** The server puts the loudest into as many (docs/protocol.md, `join`). */
const DEFAULT_AUDIO_SLOTS = 3;
const JOIN_TIMEOUT_MS = 15_000;
/** A server that is there answers this fast; used to find out whether a connection outlived a change of network. */
const PROBE_MS = 2000;
/** The same when media is dead already, which makes it likely that this is too. A connection made anew for nothing costs little. */
const DEAD_MS = 1000;
/** The same while media is silent that should not be; a slow answer counts for nothing when media is back by then. */
const DOUBT_MS = 500;

/**
 * A participant's place in a class: signalling, media and the lesson under one roof. Listen with `on`, call `join`; after
 * that it looks after itself: a lost connection comes back by itself, with the tracks that were published.
 */
export class LecternSession extends Emitter<SessionEvents> {
  readonly #options: SessionOptions;
  readonly #videoSlots: number;
  readonly #feed = new LessonFeed();
  readonly #slots = new SlotMap();
  /** Notices that came between the acknowledgement of `join` and the media connection's taking its answer. */
  #early: (() => void)[] = [];
  readonly #adaptation = new Adaptation();
  #receiving: Receiving = { mode: 'normal' };
  readonly #sending = new SendingWatch({
    read: async (source) => (await this.#media?.limitOf(source)) ?? 'none',
    // A refusal: the source has just gone. A cut: it is said again when it changes.
    changed: (source, limit) => void this.#signal?.request('sending', { source, limit }).catch(() => undefined),
  });
  readonly #local = new LocalTracks({
    changed: (source, track, by) => {
      if (!track) {
        this.#media?.send(source, null).catch(() => undefined);
        this.#media?.forget(source);
        this.#sending.forget(source);
      }
      this.emit('local', { source, track, ...(by !== undefined && { by }) });
    },
    deviceEnded: (source) => void this.unpublish(source).catch(() => undefined),
  });
  readonly #view: ViewSender;
  readonly #gate = new Gate();
  #shown: readonly ViewPicture[] = [];
  #connection: Connection = { status: 'idle' };
  /** Undefined without media; `join` says so where there should be some and the browser has none. */
  #media: SessionMedia | undefined;
  #speakers: Speakers = { levels: [] };
  #permissions: ReadonlySet<Permission> = new Set();
  #role: Role | undefined;
  #identity: string | undefined;
  #clockOffsetMs = 0;
  /** Secret of the session on the server; undefined when the next join is a new one. */
  #session: string | undefined;
  /** The session is to go on with another media connection: the old one is beyond repair. */
  #needsMedia = false;
  #signal: Signal | undefined;
  /** Whether this connection has joined: requests may be sent. */
  #joined = false;
  #joinAttempts = 0;
  #syncing = false;
  #thumbnailsWanted = false;
  /** Counts connections, so that what waited through a cut can see that it is late. */
  #round = 0;
  #unfollow: (() => void) | undefined;

  constructor(options: SessionOptions) {
    super();
    this.#options = options;
    this.#videoSlots = options.videoSlots ?? DEFAULT_VIDEO_SLOTS;
    if (typeof RTCPeerConnection !== 'undefined') this.#media = this.#newMedia();
    this.#view = new ViewSender((pictures) => this.#sendView(pictures));
  }

  get connection(): Connection {
    return this.#connection;
  }

  get media(): MediaStatus {
    return this.#media?.status ?? 'none';
  }

  /** The lesson; undefined before the first join. */
  get state(): LessonState | undefined {
    return this.#feed.state;
  }

  /** Own identity; undefined before the first join. */
  get identity(): string | undefined {
    return this.#identity;
  }

  /** The own entry in the lesson. */
  get self(): (ParticipantState & { identity: string }) | undefined {
    const identity = this.#identity;
    const self = identity === undefined || !this.state ? undefined : participantOf(this.state, identity);
    return self && identity !== undefined ? { ...self, identity } : undefined;
  }

  get role(): Role | undefined {
    return this.#role;
  }

  /** What this participant may do now. The server decides; this is for buttons. */
  get permissions(): ReadonlySet<Permission> {
    return this.#permissions;
  }

  get speakers(): Speakers {
    return this.#speakers;
  }

  get slots(): readonly Slot[] {
    return this.#slots.all;
  }

  /** Milliseconds to add to `Date.now()` for the server's clock. */
  get clockOffsetMs(): number {
    return this.#clockOffsetMs;
  }

  /** One stream per audio slot, the same objects for the whole session: play all of them. */
  get audio(): readonly MediaStream[] {
    return this.#media?.audio ?? [];
  }

  /**
   * Joins the class; returns once the lesson is there, while media may still be connecting (`media`). Can be called again
   * after `failed` and `ended`. Throws {@link LecternError}.
   */
  async join({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    if (signal?.aborted) throw new LecternError('aborted');
    const { status } = this.#connection;
    if (status === 'connected') return;
    if (status !== 'connecting' && status !== 'reconnecting') this.#start();
    const timer = setTimeout(
      () => this.#fail(new LecternError('unreachable', 'the server cannot be reached')),
      this.#options.joinTimeout ?? JOIN_TIMEOUT_MS,
    );
    const abort = () => this.#fail(new LecternError('aborted', 'the caller gave up'));
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await this.#whenJoined();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** What this client sends as `source`. */
  local(source: Source): LocalTrack | undefined {
    return this.#local.get(source);
  }

  /**
   * Sends `track` as `source`, from now until {@link unpublish}, or until the track ends. The track stays the caller's: it
   * is enabled and disabled with mute, but never stopped here. Before `join` it is only remembered.
   */
  async publish(source: Source, track: MediaStreamTrack, { muted = false }: { muted?: boolean } = {}): Promise<void> {
    if (this.#joined && !this.#permissions.has(`publish-${source}`)) {
      throw new LecternError('forbidden', `this participant may not publish ${source}`);
    }
    this.#local.set(source, { track, muted });
    // Said with the join, so that media flows at once.
    if (this.#connection.status === 'idle') return;
    try {
      await this.#media?.send(source, track);
      await this.#ask('publish', { source, muted });
    } catch (thrown) {
      if (this.#local.get(source)?.track === track) this.#local.drop(source);
      throw thrown;
    }
  }

  /** Another device for a source that is published already. */
  async replace(source: Source, track: MediaStreamTrack): Promise<void> {
    const { muted } = this.#local.mustGet(source);
    this.#local.set(source, { track, muted });
    await this.#media?.send(source, track);
  }

  /**
   * Says what the shared screen shows; also while it is shared. Text stays sharp and may have few pictures a second; a film moves and
   * may lose size. It is kept in the track's `contentHint`, which may also be set before the track is published.
   */
  async screenContent(content: ScreenContent): Promise<void> {
    const { track } = this.#local.mustGet('screen');
    track.contentHint = content === 'motion' ? 'motion' : 'detail';
    await this.#media?.tune(track);
  }

  async unpublish(source: Source): Promise<void> {
    if (!this.#local.get(source)) return;
    this.#local.drop(source);
    if (this.#connection.status !== 'idle') await this.#ask('unpublish', { source });
  }

  /** Nothing of the source leaves this browser from now on. */
  async mute(source: Source): Promise<void> {
    if (this.#local.mustGet(source).muted) return;
    this.#local.setMuted(source, true);
    if (this.#connection.status !== 'idle') await this.#ask('mute', { source, muted: true });
  }

  async unmute(source: Source): Promise<void> {
    if (!this.#local.mustGet(source).muted) return;
    this.#local.setMuted(source, false);
    if (this.#connection.status === 'idle') return;
    try {
      await this.#ask('mute', { source, muted: false });
      // A cut on the way brought back what the server knew before.
      this.#local.setMuted(source, false);
    } catch (thrown) {
      this.#local.setMuted(source, true);
      throw thrown;
    }
  }

  /** Mutes somebody else; only they can unmute. */
  async muteParticipant(participant: string, source: Source): Promise<void> {
    await this.#ask('mute', { source, muted: true, participant });
  }

  /** Mutes all students. */
  async muteAll(source: Source = 'microphone'): Promise<void> {
    await this.#ask('mute-all', { source });
  }

  /** Begins, holds or ends the recording. */
  async record(action: RecordAction): Promise<void> {
    await this.#ask('record', { action });
  }

  /** Says whether this participant agrees to be recorded. */
  async consent(agreed: boolean): Promise<void> {
    await this.#ask('consent', { agreed });
  }

  /**
   * The pictures that are shown now, most important first, in device pixels. Call it at each layout: it is only sent when
   * it changes, and never sooner than 100 ms after the last.
   */
  view(pictures: readonly ViewPicture[]): void {
    this.#shown = pictures;
    this.#planView();
  }

  /**
   * Asks for less (a slow network, one that is paid for by the megabyte), or for all again. Holds for the session of this object. The
   * server may send less still: see {@link usage}.
   */
  async receive(receiving: Receiving): Promise<void> {
    const { mode, budgetMegabytes } = receiving;
    const payload = { mode, ...(budgetMegabytes !== undefined && { budgetMegabytes }) };
    const before = this.#receiving;
    this.#receiving = payload;
    if (this.#connection.status === 'idle') return;
    try {
      await this.#ask('receive', payload);
    } catch (thrown) {
      if (this.#receiving === payload) this.#receiving = before;
      throw thrown;
    }
  }

  /** What was asked for with {@link receive}. */
  get receiving(): Receiving {
    return this.#receiving;
  }

  /** What this participant has used in the lesson, and how much it is sent; undefined until the server has said so. */
  get usage(): Usage | undefined {
    return this.#adaptation.usage;
  }

  /** Whether the operator looks at small pictures of the room. */
  get thumbnailsWanted(): boolean {
    return this.#thumbnailsWanted;
  }

  /**
   * Sends a small picture of an own track (a JPEG in base64, of at most 12 KiB and 256 pixels on each side) while
   * {@link thumbnailsWanted}; without one, takes back the last. Fails when there is no connection: the next picture comes soon.
   */
  async thumbnail(source: ThumbnailSource, jpeg?: string): Promise<void> {
    if (!this.#joined || !this.#signal) throw new LecternError('unreachable', 'there is no connection');
    await this.#signal.request('thumbnail', jpeg === undefined ? { source } : { source, jpeg });
  }

  /** Raises or lowers the own hand, or lowers somebody else's. */
  async hand(raised: boolean, participant?: string): Promise<void> {
    await this.#ask('hand', participant === undefined ? { raised } : { raised, participant });
  }

  /** Gives or takes the floor. */
  async floor(participant: string, granted: boolean): Promise<void> {
    await this.#ask('floor', { participant, granted });
  }

  /**
   * Says something in the chat. Said once, also when the connection is cut while it is on its way. To try again what failed,
   * give the nonce of the first time: what the server has heard all the same is then not said twice.
   */
  async chat(text: string, { nonce = newNonce() }: { nonce?: string } = {}): Promise<{ seq: number; nonce: string }> {
    const { seq } = await this.#ask('chat', { text, nonce });
    return { seq, nonce };
  }

  async settings(change: SettingsChange): Promise<void> {
    await this.#ask('settings', change);
  }

  async setRole(participant: string, role: Role): Promise<void> {
    await this.#ask('role', { participant, role });
  }

  /** Takes somebody out of the room for the rest of the lesson. */
  async remove(participant: string): Promise<void> {
    await this.#ask('remove', { participant });
  }

  /** Leaves. Never fails: without a connection the server finds out by itself. */
  async leave(): Promise<void> {
    if (this.#connection.status === 'ended' || this.#connection.status === 'idle') return;
    if (this.#joined) await this.#signal?.request('leave', {}, PROBE_MS).catch(() => undefined);
    this.#end({ status: 'ended', reason: 'left' }, new LecternError('ended', 'left'));
  }

  /** Ends the lesson for everybody. */
  async end(): Promise<void> {
    await this.#ask('end', {});
  }

  /** How good a participant's connection is, as the server measures it. */
  qualityOf(participant: string): Quality | undefined {
    return this.#adaptation.quality(participant);
  }

  /** What a participant suffers from; of others only teachers and assistants know. */
  troubleOf(participant: string): readonly Trouble[] {
    return this.#adaptation.trouble(participant);
  }

  /** How much of a picture arrives, of what {@link view} asked for, and why not more. */
  receivedOf(participant: string, source: PictureSource): ReceivedPicture {
    return this.#adaptation.picture(participant, source);
  }

  /** The stream of the slot that carries this picture now; undefined while none does. */
  pictureOf(participant: string, source: PictureSource): MediaStream | undefined {
    const slot = this.#slots.find(participant, source);
    return slot && this.#media?.streamOf(slot);
  }

  /** Figures of the own media connection since the last call. */
  async stats(): Promise<ConnectionStats> {
    const stats = await this.#media?.stats(this.#identity, (mid) => this.#slots.get(mid));
    return stats ?? { bitrateInBps: 0, bitrateOutBps: 0, received: [], sent: [] };
  }

  // Connection

  #start(): void {
    this.#session = undefined;
    this.#joinAttempts = 0;
    this.#setConnection({ status: 'connecting' });
    const { token } = this.#options;
    this.#signal = new Signal(this.#options.url, async () => (typeof token === 'string' ? token : await token()), {
      opened: () => void this.#onOpened(),
      lost: () => this.#onLost(),
      refused: (error) => this.#fail(error),
      notice: (name, payload) => this.#onNotice(name, payload),
    });
    this.#unfollow = this.#follow();
    this.#signal.connect();
  }

  async #onOpened(): Promise<void> {
    this.#round += 1;
    const round = this.#round;
    const resuming = this.#session !== undefined;
    try {
      if (resuming && !this.#needsMedia) await this.#resume(round);
      else await this.#joinWithMedia(round);
      this.#joinAttempts = 0;
    } catch (thrown) {
      // A connection that went meanwhile has its own round, or will have.
      if (round !== this.#round || thrown instanceof ConnectionLost) return;
      this.#afterFailedJoin(LecternError.from(thrown), resuming);
    }
  }

  #afterFailedJoin(error: LecternError, resuming: boolean): void {
    const recovery = afterJoinError(error.code, resuming);
    if (recovery === 'give-up') {
      this.#fail(error);
      return;
    }
    if (recovery === 'rejoin') this.#session = undefined;
    const delay = recovery === 'rejoin' ? 0 : backoffMs(this.#joinAttempts, Math.random());
    this.#joinAttempts += 1;
    this.#joined = false;
    this.#signal?.reconnect(delay);
  }

  /**
   * A new session, or the one that there is with a new media connection: then the others see nobody leave, and what is published is still when
   * the first packet arrives.
   */
  async #joinWithMedia(round: number): Promise<void> {
    const signal = this.#signal;
    if (!signal) return;
    this.#early = [];
    this.#media ??= this.#newMedia();
    const media = this.#media;
    const offer = await media?.offer();
    const resume = this.#session === undefined ? {} : { resume: this.#whereItWas(this.#session) };
    const joined = await signal.request('join', { version: PROTOCOL_VERSION, ...offer, ...resume });
    if (round !== this.#round) return;
    await media?.accept(joined.answer ?? '', joined.iceServers);
    if (round !== this.#round) return;
    this.#needsMedia = false;
    this.#take(joined);
  }

  #whereItWas(session: string): { session: string; after: number } {
    return { session, after: this.#feed.seq };
  }

  async #resume(round: number): Promise<void> {
    this.#early = [];
    const resume = this.#whereItWas(this.#session ?? '');
    const joined = await this.#signal?.request('join', { version: PROTOCOL_VERSION, resume });
    if (!joined || round !== this.#round) return;
    this.#media?.takeIceServers(joined.iceServers);
    this.#take(joined);
  }

  /** Takes the acknowledgement of `join`, new or resumed. */
  #take(joined: Joined): void {
    this.#session = joined.session;
    this.#identity = joined.participant;
    this.#joined = true;
    this.#clockOffsetMs = Date.parse(joined.serverTime) - Date.now();
    this.#setPermissions(joined.permissions, joined.role);
    this.#setSlots(this.#slots.reset(joined.slots));
    if (joined.state) this.#takeState(joined.state);
    if (joined.events) this.#takeEvents(joined.events);
    this.#setConnection({ status: 'connected' });
    const { pictures, qualities } = this.#adaptation.reset();
    this.#tellPictures(pictures);
    this.#tellQualities(qualities);
    if (!joined.resumed) this.#askAnew();
    this.#sending.start();
    this.#correct();
    this.#view.reset();
    this.#media?.signallingBack();
    // Told anew, if it is so.
    this.#wantThumbnails(false);
    // They are newer than the acknowledgement.
    for (const notice of this.#early.splice(0)) notice();
    this.#gate.open();
  }

  /** A new session on the server knows nothing of what was asked for and said. */
  #askAnew(): void {
    this.#sending.forget();
    if (this.usage) this.#takeUsage({ sentBytes: 0, receivedBytes: 0, mode: 'normal' });
    const { mode, budgetMegabytes } = this.#receiving;
    if (mode === 'normal' && budgetMegabytes === undefined) return;
    this.#signal?.request('receive', this.#receiving).catch(() => undefined);
  }

  /** After a cut: tells the server what it does not know about own tracks, and takes what a teacher muted meanwhile. */
  #correct(): void {
    const known = this.self?.tracks ?? {};
    for (const source of this.#local.all.keys()) {
      if (known[source]?.muted) this.#local.setMuted(source, true, '');
    }
    for (const { name, payload } of corrections(this.#local.all, known)) {
      this.#signal?.request(name, payload).catch((thrown: unknown) => {
        if (thrown instanceof LecternError && name === 'publish') this.#local.drop(payload.source);
      });
    }
  }

  #onLost(): void {
    this.#joined = false;
    this.#syncing = false;
    this.#round += 1;
    const { status } = this.#connection;
    if (status === 'connected') this.#setConnection({ status: 'reconnecting', cause: 'signalling' });
  }

  /** A new connection with a new media connection. After a restart of the server also a new session: those that were are gone. */
  #rejoin(cause: 'media' | 'server-restart', attempt: number, delayMs = backoffMs(attempt, Math.random())): void {
    if (cause === 'server-restart') this.#session = undefined;
    this.#needsMedia = true;
    this.#joined = false;
    this.#round += 1;
    this.#setConnection({ status: 'reconnecting', cause });
    this.#signal?.reconnect(delayMs);
  }

  #fail(error: LecternError): void {
    if (this.#connection.status === 'failed' || this.#connection.status === 'ended') return;
    this.#end({ status: 'failed', error }, error);
  }

  #end(connection: Connection, error: LecternError): void {
    this.#round += 1;
    this.#joined = false;
    this.#session = undefined;
    this.#unfollow?.();
    this.#view.stop();
    this.#sending.stop();
    this.#signal?.close();
    this.#signal = undefined;
    this.#media?.stop();
    // After a failure `join` can be tried again, with the same tracks.
    if (connection.status === 'ended') for (const source of [...this.#local.all.keys()]) this.#local.drop(source);
    this.#setSlots(this.#slots.reset([]));
    this.#wantThumbnails(false);
    this.#setConnection(connection);
    this.#gate.break(error);
  }

  // Requests

  /** Resolves once requests can be sent; rejects when the session is over. */
  async #whenJoined(): Promise<void> {
    if (this.#joined) return;
    const { status } = this.#connection;
    if (status === 'failed') throw this.#connection.error;
    if (status === 'ended' || status === 'idle') throw new LecternError('ended', 'not in a class');
    await this.#gate.wait();
  }

  /** A request that waits for the connection, and is said again when a cut swallowed its answer: all of them bear that. */
  async #ask<Name extends RequestName>(
    name: Name,
    payload: Requests[Name]['payload'],
  ): Promise<Requests[Name]['data']> {
    for (;;) {
      await this.#whenJoined();
      const signal = this.#signal;
      if (!signal) throw new LecternError('ended', 'not in a class');
      try {
        return await signal.request(name, payload);
      } catch (thrown) {
        if (!(thrown instanceof ConnectionLost)) throw thrown;
        // The socket knows of the cut before the session does.
        await Promise.resolve();
        if (this.#joined && !signal.connected) this.#joined = false;
      }
    }
  }

  #planView(): void {
    this.#view.want(planView(this.#shown, this.state, this.#identity, this.#videoSlots));
  }

  #sendView(pictures: ViewPicture[]): boolean {
    if (!this.#joined || !this.#media) return false;
    this.#signal?.request('view', { pictures }).catch(() => undefined);
    this.#tellPictures(this.#adaptation.keepPictures(pictures));
    return true;
  }

  // Notices

  #onNotice<Name extends keyof Notices>(name: Name, payload: Notices[Name]): void {
    const handlers: { [Each in keyof Notices]: (payload: Notices[Each]) => void } = {
      lesson: ({ events }) => this.#takeEvents(events),
      slots: ({ slots }) => this.#setSlots(this.#slots.update(slots)),
      speakers: (speakers) => {
        this.#speakers = speakers;
        this.emit('speakers', speakers);
      },
      quality: ({ participants }) => {
        this.#adaptation.takeQualities(participants);
        this.#tellQualities(participants);
      },
      permissions: ({ permissions, role }) => this.#setPermissions(permissions, role),
      media: ({ state }) => this.#media?.serverSays(state),
      encodings: ({ source, active }) => this.#media?.need(source, active),
      pictures: ({ pictures }) => {
        this.#adaptation.takePictures(pictures);
        this.#tellPictures(pictures);
      },
      usage: (usage) => this.#takeUsage(usage),
      thumbnails: ({ wanted }) => this.#wantThumbnails(wanted),
      ended: ({ reason }) => {
        if (afterEnded(reason) === 'rejoin') this.#rejoin('server-restart', 1);
        else this.#end({ status: 'ended', reason }, new LecternError('ended', reason));
      },
    };
    if (this.#joined || name === 'ended') handlers[name](payload);
    else this.#early.push(() => handlers[name](payload));
  }

  #takeState(state: LessonState): void {
    const events = this.#feed.reset(state);
    this.emit('state', { state: this.#feed.state ?? state, events });
    this.#afterLesson(events);
  }

  #takeEvents(arrived: Notices['lesson']['events']): void {
    const events = this.#feed.accept(arrived);
    const { state } = this.#feed;
    if (state && events.length) this.emit('state', { state, events });
    this.#afterLesson(events);
  }

  #afterLesson(events: Notices['lesson']['events']): void {
    for (const { source, muted, by } of interferences(events, this.#identity ?? '')) {
      if (muted === undefined) this.#local.drop(source, by ?? '');
      else this.#local.setMuted(source, muted, by ?? '');
    }
    this.#tellQualities(this.#adaptation.follow(events));
    if (this.#feed.gap) void this.#sync();
    this.#planView();
  }

  async #sync(): Promise<void> {
    const signal = this.#signal;
    if (this.#syncing || !this.#joined || !signal) return;
    this.#syncing = true;
    try {
      const answer = await signal.request('sync', { after: this.#feed.seq });
      this.#syncing = false;
      if ('state' in answer) this.#takeState(answer.state);
      else this.#takeEvents(answer.events);
    } catch {
      // A cut: the resume brings what is missing. A refusal: the next event asks again.
    } finally {
      this.#syncing = false;
    }
  }

  // Media

  #newMedia(): SessionMedia | undefined {
    const { media, audioSlots = DEFAULT_AUDIO_SLOTS, codec = 'vp8', cameraLayers = 'simulcast' } = this.#options;
    if (media === false) return undefined;
    return new SessionMedia({ videoSlots: this.#videoSlots, audioSlots, codec, cameraLayers }, this.#local, {
      status: (status) => this.emit('media', { status }),
      restart: (offer) => this.#restartIce(offer),
      doubted: (isStill) => this.#probe(DOUBT_MS, isStill),
      moved: () => this.#rejoin('media', 0, 0),
      died: () => this.#probe(DEAD_MS),
      rejoin: (attempt) => this.#rejoin('media', attempt),
    });
  }

  async #restartIce(offer: string): Promise<RestartAnswer | undefined> {
    if (!this.#joined || !this.#signal) return undefined;
    try {
      return await this.#signal.request('restart', { offer });
    } catch (thrown) {
      if (thrown instanceof ConnectionLost) return undefined;
      throw thrown;
    }
  }

  // Small change

  /** A change of network kills connections that still look well. */
  #follow(): () => void {
    return followPage({
      networkChanged: () => {
        this.#media?.networkChanged();
        this.#probe();
      },
      closing: () => {
        if (this.#joined) this.#signal?.say('leave', {});
      },
    });
  }

  #probe(withinMs = PROBE_MS, matters = () => true): void {
    const signal = this.#signal;
    if (!signal) return;
    if (!signal.connected) signal.connect();
    if (!this.#joined) return;
    const round = this.#round;
    signal.request('sync', { after: this.#feed.seq }, withinMs).catch((thrown: unknown) => {
      if (!(thrown instanceof LecternError) || thrown.code !== 'timeout' || round !== this.#round || !matters()) return;
      this.#onLost();
      signal.reconnect(0);
    });
  }

  #setConnection(connection: Connection): void {
    if (connection.status === this.#connection.status && connection.status !== 'reconnecting') return;
    this.#connection = connection;
    this.emit('connection', connection);
  }

  #setSlots(changed: Slot[]): void {
    if (changed.length) this.emit('slots', { changed });
  }

  #setPermissions(permissions: readonly Permission[], role: Role): void {
    const same = role === this.#role && permissions.length === this.#permissions.size;
    if (same && permissions.every((permission) => this.#permissions.has(permission))) return;
    this.#permissions = new Set(permissions);
    this.#role = role;
    this.emit('permissions', { permissions: this.#permissions, role });
    if (role !== 'teacher' && role !== 'assistant') {
      this.#tellQualities(this.#adaptation.keepOwnTrouble(this.#identity));
    }
  }

  #takeUsage(usage: Usage): void {
    this.#adaptation.usage = usage;
    this.#media?.save(savingOf(usage.mode, usage.reason === 'budget'));
    this.emit('usage', usage);
  }

  #wantThumbnails(wanted: boolean): void {
    if (wanted === this.#thumbnailsWanted) return;
    this.#thumbnailsWanted = wanted;
    this.emit('thumbnails', { wanted });
  }

  #tellPictures(changed: ReceivedPicture[]): void {
    if (changed.length) this.emit('pictures', { changed });
  }

  #tellQualities(changed: ParticipantQuality[]): void {
    if (changed.length) this.emit('quality', { changed });
  }
}

/** A nonce for `chat`: 128 random bits. `crypto.randomUUID` is missing on pages that are not served over TLS. */
export function newNonce(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
