import { participantOf, type Connection, type LessonEvent, type ViewPicture } from '@lectern/client';

import { arrange, type Arrangement, type Seat } from './arrange.js';
import { Call } from './call.js';
import { Control } from './controls.js';
import { canShareScreen, type DeviceProblem } from './devices.js';
import { isWriting, make, setText } from './dom.js';
import { icon } from './icons.js';
import { grid, NARROW, pair, stage, type Area, type Rect } from './layout.js';
import { Sound } from './sound.js';
import { styleSheet } from './style.js';
import { textsFor, whyOf, type Texts } from './texts.js';
import { Tile } from './tile.js';

/** Others at once; also the session's video slots, of which a shared screen takes one more. */
const PLACES = 9;
const PLACES_NARROW = 4;
/** Who is louder than this speaks, in dBov. */
const SPEECH_DBOV = -50;
const NOTE_MS = 6000;

/** What a `<lectern-call>` tells the page, as CustomEvents. */
export interface CallEvents {
  joined: { participant: string; room: string };
  left: { reason: string };
  error: { code: string; message: string };
}

/**
 * `<lectern-call token url lang theme microphone camera receive>`: a call in any page. It joins when it is in the page and has a
 * `token`; `url` is the server's origin (the page's own by default), `theme` is `light` or `dark`, `microphone="off"` and
 * `camera="off"` start without. It fills its own box, so the page gives it a size.
 */
export class LecternCall extends HTMLElement {
  static readonly observedAttributes = ['token', 'url', 'lang', 'theme', 'receive'];

  readonly #root = this.attachShadow({ mode: 'open' });
  readonly #tilesBox = make('div', { class: 'tiles', role: 'list', part: 'tiles' });
  readonly #tiles = new Map<string, Tile>();
  readonly #more = make('div', { class: 'tile more', role: 'listitem' });
  readonly #notes = make('div', { class: 'notes' });
  readonly #status = make('div', { class: 'note warn', role: 'status' });
  readonly #statusText = make('span');
  readonly #problem = make('div', { class: 'note', role: 'alert' });
  readonly #hear = make('button', { class: 'note', type: 'button' });
  readonly #hearText = make('span');
  readonly #card = make('div', { class: 'card' });
  readonly #spoken = make('div', { class: 'unseen', 'aria-live': 'polite' });
  readonly #count = make('div', { class: 'count', 'aria-hidden': 'true' });
  readonly #microphone = new Control('device', 'm', () => void this.#call?.toggleMicrophone());
  readonly #camera = new Control('device', 'v', () => void this.#call?.toggleCamera());
  readonly #share = new Control('share', 's', () => void this.#call?.toggleScreen());
  readonly #leave = new Control('leave', undefined, () => void this.leave());
  readonly #frame: HTMLElement;
  readonly #bar: HTMLElement;
  readonly #sound: Sound;
  readonly #resized = new ResizeObserver(() => this.#layout());
  readonly #scheme = matchMedia('(prefers-color-scheme: dark)');
  readonly #repaint = () => this.#schedule();
  readonly #retheme = () => this.#applyTheme();
  #call: Call | undefined;
  /** The call that `joined` was told of. */
  #joinedCall: Call | undefined;
  #self: MediaStream | undefined;
  #arrangement: Arrangement = { screen: undefined, faces: [], hidden: 0 };
  #texts: Texts = textsFor(undefined);
  #scheduled = 0;
  #problemTimer: ReturnType<typeof setTimeout> | undefined;
  #cardKey = '';
  /** The `token` and `url` that the current call was started with. */
  #started = '';

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [styleSheet()];
    this.#status.append(make('span', { class: 'spinner' }), this.#statusText);
    this.#hear.append(icon('speaker'), this.#hearText);
    this.#hear.addEventListener('click', () => void this.#sound.resume());
    this.#notes.append(this.#hear, this.#status, this.#problem);
    this.#bar = make('div', { class: 'bar', role: 'group', part: 'bar' });
    this.#bar.append(this.#microphone.element, this.#camera.element, this.#share.element);
    this.#bar.append(make('slot', { name: 'actions' }), this.#leave.element);
    this.#frame = make('div', { class: 'frame', role: 'region' }, this.#tilesBox, this.#bar, this.#count);
    this.#root.append(this.#frame, this.#notes, this.#card, this.#spoken);
    this.#sound = new Sound(this.#root, (blocked) => (this.#hear.hidden = !blocked));
    for (const note of [this.#hear, this.#status, this.#problem, this.#card]) note.hidden = true;
    this.addEventListener('keydown', (event) => this.#onKey(event));
  }

  connectedCallback(): void {
    this.#resized.observe(this.#tilesBox);
    this.#scheme.addEventListener('change', this.#retheme);
    document.addEventListener('visibilitychange', this.#repaint);
    this.#retext();
    // After the page had its chance to set all attributes.
    queueMicrotask(() => this.#restart());
  }

  disconnectedCallback(): void {
    this.#resized.disconnect();
    this.#scheme.removeEventListener('change', this.#retheme);
    document.removeEventListener('visibilitychange', this.#repaint);
    this.#started = '';
    void this.leave();
  }

  attributeChangedCallback(name: string, before: string | null, after: string | null): void {
    if (before === after || !this.isConnected) return;
    if (name === 'token' || name === 'url') queueMicrotask(() => this.#restart());
    else if (name === 'receive') this.#receive();
    else this.#retext();
  }

  /** The session under it, for pages that want more than the element shows. */
  get session(): Call['session'] | undefined {
    return this.#call?.session;
  }

  /** Joins again after `left` or `error`. */
  join(): void {
    const token = this.getAttribute('token');
    if (!token) {
      this.#schedule();
      return;
    }
    this.#call?.close();
    void this.#call?.session.leave();
    const narrow = this.clientWidth > 0 && this.clientWidth < NARROW;
    const call = new Call(
      {
        url: this.getAttribute('url') ?? undefined,
        token,
        videoSlots: (narrow ? PLACES_NARROW : PLACES) + 1,
        microphone: this.getAttribute('microphone') !== 'off',
        camera: this.getAttribute('camera') !== 'off',
      },
      { changed: this.#repaint, problem: (problem) => this.#showProblem(problem) },
    );
    this.#call = call;
    this.#receive();
    this.#follow(call);
    this.#schedule();
    call.start().catch(() => undefined);
  }

  async leave(): Promise<void> {
    await this.#call?.leave();
  }

  /** How much to receive, as the page says; pages that want a budget use the session. */
  #receive(): void {
    const wanted = this.getAttribute('receive');
    const mode = wanted === 'data-saver' || wanted === 'audio-only' ? wanted : 'normal';
    const session = this.#call?.session;
    if (!session || session.receiving.mode === mode) return;
    session.receive({ ...session.receiving, mode }).catch(() => undefined);
  }

  #restart(): void {
    if (!this.isConnected) return;
    const wanted = `${this.getAttribute('token') ?? ''} ${this.getAttribute('url') ?? ''}`;
    if (wanted === this.#started) return;
    this.#started = wanted;
    this.join();
  }

  #follow(call: Call): void {
    const { session } = call;
    const current = (then: () => void) => () => {
      if (this.#call === call) then();
    };
    for (const name of ['slots', 'quality', 'pictures', 'permissions', 'media', 'speakers'] as const) {
      session.on(name, current(this.#repaint));
    }
    session.on('state', ({ events }) => {
      if (this.#call !== call) return;
      this.#announce(events);
      this.#schedule();
    });
    session.on('local', ({ source, track, by }) => {
      if (this.#call !== call) return;
      if (source === 'camera') this.#self = track && new MediaStream([track.track]);
      // A page that records may also play.
      if (track && !this.#hear.hidden) void this.#sound.resume();
      if (by !== undefined && source === 'microphone' && track?.muted) this.#showNote(this.#texts.mutedBy);
      if (by !== undefined && source !== 'microphone' && !track) this.#showNote(this.#texts.stoppedBy);
    });
    session.on('connection', (connection) => {
      if (this.#call === call) this.#onConnection(call, connection);
    });
  }

  #onConnection(call: Call, connection: Connection): void {
    const { session } = call;
    switch (connection.status) {
      case 'connected':
        if (this.#joinedCall !== call) {
          this.#joinedCall = call;
          this.#sound.start(session.audio);
          this.#tell('joined', { participant: session.identity ?? '', room: session.state?.room ?? '' });
        }
        break;
      case 'failed':
        this.#over(call);
        this.#tell('error', { code: connection.error.code, message: connection.error.message });
        break;
      case 'ended':
        this.#over(call);
        this.#tell('left', { reason: connection.reason });
        break;
      default:
    }
    this.#schedule();
  }

  #over(call: Call): void {
    call.close();
    this.#sound.stop();
    this.#hear.hidden = true;
    this.#self = undefined;
  }

  #tell<Name extends keyof CallEvents>(name: Name, detail: CallEvents[Name]): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // Painting: any number of changes, one repaint before the next frame.

  #schedule(): void {
    if (this.#scheduled || !this.isConnected) return;
    // A hidden page has no frames.
    const paint = () => {
      this.#scheduled = 0;
      this.#paint();
    };
    if (document.hidden) queueMicrotask(paint);
    else this.#scheduled = requestAnimationFrame(paint);
  }

  #paint(): void {
    const call = this.#call;
    this.#paintCard(call?.session.connection);
    this.#paintControls(call);
    if (!call) return;
    const { session } = call;
    const { state, identity, media, connection } = session;
    const narrow = this.clientWidth < NARROW;
    this.#arrangement = arrange(
      state,
      identity,
      this.#arrangement.faces,
      session.speakers.active,
      narrow ? PLACES_NARROW : PLACES,
    );
    this.#paintTiles(call);
    this.#layout();
    const count = Object.values(state?.participants ?? {}).filter(
      ({ present, role }) => present && role !== 'recorder',
    ).length;
    setText(this.#count, count > 1 ? this.#texts.people(count) : this.#texts.alone);
    const status =
      connection.status === 'reconnecting'
        ? this.#texts.reconnecting
        : connection.status !== 'connected' || media === 'connected'
          ? ''
          : media === 'failed'
            ? this.#texts.mediaFailed
            : this.#texts.mediaConnecting;
    this.#status.hidden = status === '';
    setText(this.#statusText, status);
  }

  #paintTiles(call: Call): void {
    const { session } = call;
    const { state, identity } = session;
    const speaking = new Set(
      session.speakers.levels.filter(({ level }) => level > SPEECH_DBOV).map(({ participant }) => participant),
    );
    const wanted = new Set<string>();
    let previous: Element | undefined;
    const show = (seat: Seat, self: boolean) => {
      const participant = state && participantOf(state, seat.participant);
      if (!participant) return;
      const key = keyOf(seat);
      wanted.add(key);
      let tile = this.#tiles.get(key);
      if (!tile) {
        tile = new Tile(seat.participant);
        this.#tiles.set(key, tile);
        // In reading order; a tile that is there stays, as moving a video in the document stops it for a moment.
        if (previous) previous.after(tile.element);
        else this.#tilesBox.prepend(tile.element);
      }
      previous = tile.element;
      const face = seat.source === 'camera';
      const muted = participant.tracks[seat.source]?.muted ?? true;
      const stream = self ? this.#self : muted ? undefined : session.pictureOf(seat.participant, seat.source);
      const quality = session.qualityOf(seat.participant);
      const received = session.receivedOf(seat.participant, seat.source);
      const why = self || muted ? undefined : whyOf(received, participant.name, this.#texts);
      tile.show(
        {
          name: self ? this.#texts.you : face ? participant.name : this.#texts.screenOf(participant.name),
          person: participant.name,
          stream,
          muted: face && (participant.tracks.microphone?.muted ?? true),
          speaking: face && speaking.has(seat.participant) && participant.tracks.microphone?.muted === false,
          weak: face && (quality === 'poor' || quality === 'lost'),
          why,
          paused: why !== undefined && received.shown === 'paused',
          mirrored: self,
          whole: !face,
        },
        this.#texts,
      );
    };
    const { screen, faces } = this.#arrangement;
    if (screen) show(screen, false);
    for (const face of faces) show(face, false);
    if (identity !== undefined) show({ participant: identity, source: 'camera' }, true);
    for (const [key, tile] of this.#tiles) {
      if (wanted.has(key)) continue;
      tile.remove();
      this.#tiles.delete(key);
    }
  }

  /** Places the tiles, and tells the session which pictures are shown how large. */
  #layout(): void {
    const area: Area = { width: this.#tilesBox.clientWidth, height: this.#tilesBox.clientHeight };
    const { screen, faces, hidden } = this.#arrangement;
    const identity = this.#call?.session.identity;
    const seats = [...(screen ? [screen] : []), ...faces];
    const self: Seat[] = identity === undefined ? [] : [{ participant: identity, source: 'camera' }];
    const all = [...seats, ...self].filter((seat) => this.#tiles.has(keyOf(seat)));
    const count = all.length + (hidden > 0 ? 1 : 0);
    const duo = !screen && count === 2 && self.length === 1;
    const rects = screen ? stage(area, count) : duo ? pair(area) : grid(area, count);
    all.forEach((seat, index) => {
      const rect = rects[index];
      if (rect) this.#tiles.get(keyOf(seat))?.place(rect, duo && index === 1);
    });
    this.#placeMore(rects[all.length], hidden);
    this.#call?.session.view(document.hidden ? [] : this.#pictures(seats));
  }

  #placeMore(rect: Rect | undefined, hidden: number): void {
    if (!rect || hidden === 0) {
      this.#more.remove();
      return;
    }
    setText(this.#more, this.#texts.more(hidden));
    this.#more.setAttribute('aria-label', this.#texts.moreLabel(hidden));
    const { style } = this.#more;
    style.left = `${rect.x}px`;
    style.top = `${rect.y}px`;
    style.width = `${rect.width}px`;
    style.height = `${rect.height}px`;
    if (!this.#more.isConnected) this.#tilesBox.append(this.#more);
  }

  #pictures(seats: readonly Seat[]): ViewPicture[] {
    return seats.flatMap((seat) => {
      const rect = this.#tiles.get(keyOf(seat))?.rect;
      // A box of no size is hidden: a minimised window asks for nothing.
      if (!rect || !this.#tilesBox.clientWidth || rect.width <= 0 || rect.height <= 0) return [];
      return [{ ...seat, width: rect.width * devicePixelRatio, height: rect.height * devicePixelRatio }];
    });
  }

  #paintControls(call: Call | undefined): void {
    const texts = this.#texts;
    const { permissions, connection } = call?.session ?? {};
    const there = connection?.status === 'connected' || connection?.status === 'reconnecting';
    this.#bar.hidden = !there;
    this.#count.hidden = !there;
    if (!call) return;
    const microphone = call.on('microphone');
    const camera = call.on('camera');
    const screen = call.on('screen');
    const may = (permission: 'publish-microphone' | 'publish-camera' | 'publish-screen') =>
      permissions?.has(permission) ?? false;
    this.#microphone.show({
      label: microphone ? texts.mute : texts.unmute,
      icon: microphone ? 'microphone' : 'microphoneOff',
      pressed: microphone,
      visible: may('publish-microphone') || call.session.local('microphone') !== undefined,
      disabled: call.busy('microphone'),
    });
    this.#camera.show({
      label: camera ? texts.cameraOff : texts.cameraOn,
      icon: camera ? 'camera' : 'cameraOff',
      pressed: camera,
      visible: may('publish-camera'),
      disabled: call.busy('camera'),
    });
    this.#share.show({
      label: screen ? texts.stopSharing : texts.share,
      icon: screen ? 'screenOff' : 'screen',
      pressed: screen,
      visible: may('publish-screen') && canShareScreen(),
      disabled: call.busy('screen'),
    });
    this.#leave.show({ label: texts.leave, icon: 'leave', visible: true, disabled: false });
  }

  /** The card that covers everything while there is no call: joining, over, or failed. */
  #paintCard(connection: Connection | undefined): void {
    const texts = this.#texts;
    const there = connection?.status === 'connected' || connection?.status === 'reconnecting';
    this.#card.hidden = there;
    this.#frame.toggleAttribute('inert', !there);
    const key = `${connection?.status ?? 'none'} ${reasonOf(connection)} ${texts.call}`;
    if (there || key === this.#cardKey) {
      if (there) this.#cardKey = '';
      return;
    }
    this.#cardKey = key;
    this.#card.replaceChildren(...cardFor(connection, texts, () => this.join()));
    for (const note of [this.#status, this.#problem]) note.hidden = true;
  }

  // Words

  #retext(): void {
    const language = this.getAttribute('lang') ?? this.closest('[lang]')?.getAttribute('lang') ?? navigator.language;
    this.#texts = textsFor(language);
    setText(this.#hearText, this.#texts.tapToHear);
    this.#frame.setAttribute('aria-label', this.#texts.call);
    this.#bar.setAttribute('aria-label', this.#texts.call);
    this.#schedule();
    this.#applyTheme();
  }

  #applyTheme(): void {
    const chosen = this.getAttribute('theme');
    const dark = chosen === 'dark' || (chosen !== 'light' && this.#scheme.matches);
    this.dataset['theme'] = dark ? 'dark' : 'light';
  }

  #announce(events: readonly LessonEvent[]): void {
    const { state, identity } = this.#call?.session ?? {};
    const said = events.flatMap((event) => {
      if ((event.kind !== 'joined' && event.kind !== 'left') || event.participant === identity || !state) return [];
      const participant = participantOf(state, event.participant);
      if (!participant || participant.role === 'recorder') return [];
      return [event.kind === 'joined' ? this.#texts.came(participant.name) : this.#texts.went(participant.name)];
    });
    if (said.length) setText(this.#spoken, said.join(' '));
  }

  #showProblem(problem: DeviceProblem | 'refused'): void {
    const { deviceDenied, deviceMissing, deviceBusy, deviceInsecure, refusedNow } = this.#texts;
    const texts: Record<DeviceProblem | 'refused', string> = {
      denied: deviceDenied,
      missing: deviceMissing,
      busy: deviceBusy,
      insecure: deviceInsecure,
      refused: refusedNow,
      cancelled: '',
    };
    this.#showNote(texts[problem]);
  }

  #showNote(text: string): void {
    setText(this.#problem, text);
    this.#problem.hidden = text === '';
    clearTimeout(this.#problemTimer);
    this.#problemTimer = setTimeout(() => (this.#problem.hidden = true), NOTE_MS);
  }

  #onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || this.#bar.hidden || isWriting(event)) return;
    const control = { m: this.#microphone, v: this.#camera, s: this.#share }[event.key.toLowerCase()];
    if (!control || control.element.hidden) return;
    event.preventDefault();
    control.element.click();
  }
}

function keyOf({ participant, source }: Seat): string {
  return `${source} ${participant}`;
}

function reasonOf(connection: Connection | undefined): string {
  if (connection?.status === 'failed') return connection.error.code;
  return connection?.status === 'ended' ? connection.reason : '';
}

function cardFor(connection: Connection | undefined, texts: Texts, again: () => void): Node[] {
  const title = (text: string) => make('h2', { role: 'status' }, text);
  const button = (text: string) => {
    const element = make('button', { type: 'button' }, text);
    element.addEventListener('click', again);
    return element;
  };
  switch (connection?.status) {
    case undefined:
      return [title(texts.noToken), make('p', {}, texts.noTokenHint)];
    case 'failed': {
      const { code } = connection.error;
      const hopeless = code === 'unauthenticated' || code === 'token-expired' || code === 'removed';
      const known = texts.errors[code];
      return [
        title(known ?? texts.error),
        ...(hopeless ? [make('p', {}, texts.noTokenHint)] : [button(texts.tryAgain)]),
      ];
    }
    case 'ended': {
      const { reason } = connection;
      const final = reason === 'removed' || reason === 'token-expired';
      return [title(texts.ended[reason]), ...(final ? [] : [button(texts.joinAgain)])];
    }
    default:
      return [make('div', { class: 'spinner', 'aria-hidden': 'true' }), title(texts.joining)];
  }
}
