// People in one page, each a session of the client library, without a user interface. Tests call `lab.*` by evaluate.
import { audioPacketsSent, figures, iceServers, lie, receivedAudioEnergy, soundFigures, ways } from './connections.mjs';
import { LecternSession } from '@lectern/client';
import { read, screen } from './screen.mjs';
import { Ear, Eye, paint, tone } from './sources.mjs';

class Person {
  ear = new Ear();
  eyes = new Map();
  events = [];
  connections = [];
  ended;
  marks = {};

  constructor(options) {
    this.options = options;
    this.session = new LecternSession({
      url: location.origin,
      token: options.token,
      codec: options.codec,
      cameraLayers: options.cameraLayers,
      videoSlots: options.videoSlots ?? 9,
      media: options.media ?? true,
    });
    this.session.on('state', ({ events }) => {
      this.events.push(...events);
      this.refresh();
    });
    this.session.on('slots', () => this.refresh());
    this.session.on('connection', (connection) => this.connections.push(structuredCloneSafe(connection)));
  }

  async join() {
    this.marks.clicked = performance.now();
    await this.session.join();
    this.marks.joined = performance.now();
    this.refresh();
    const { sources = ['microphone', 'camera'] } = this.options;
    for (const source of sources) await this.publish(source);
    this.marks.published = performance.now();
  }

  async publish(source, options = this.options) {
    const sound = source === 'microphone' || source === 'screen-audio';
    const track = sound
      ? this.microphone(options)
      : options.asCamera
        ? this.camera(options)
        : this.picture(source, options);
    await this.session.publish(source, await track);
  }

  picture(source, options) {
    // A screen that can be judged (screen.mjs).
    if (source === 'screen' && options.screen) return screen(options.screen);
    if (source === 'camera' && options.film) return screen({ kind: 'film', hint: '', ...options.film });
    if (options.drawn === undefined) return paint(options);
    return source === 'screen' ? globalThis.slide() : globalThis.portrait(options.drawn);
  }

  /** The browser's fake camera, whose frames come to the encoder as a camera's do and not as a canvas's. */
  async camera({ width, height }) {
    return (await navigator.mediaDevices.getUserMedia({ video: { width, height } })).getVideoTracks()[0];
  }

  /** With `device`, the browser's fake microphone: where an AudioContext needs a sound card to run. */
  async microphone(options) {
    if (!options.device) return tone(options);
    return (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
  }

  /** Asks for every picture there is, and looks at and listens to what comes. */
  refresh() {
    const { state, identity } = this.session;
    if (!state) return;
    const pictures = [];
    for (const [participant, { present, tracks }] of Object.entries(state.participants)) {
      if (!present || participant === identity) continue;
      for (const source of ['screen', 'camera']) {
        if (this.options.watch !== false && tracks[source] && !tracks[source].muted)
          pictures.push({ participant, source, ...this.size() });
      }
    }
    const wanted = JSON.stringify(pictures);
    if ((this.options.media ?? true) && wanted !== this.wanted) {
      this.wanted = wanted;
      this.session.view(pictures);
    }
    for (const { participant, source } of pictures) {
      const key = `${participant} ${source}`;
      const stream = this.session.pictureOf(participant, source);
      if (stream && this.eyes.has(key)) this.eyes.get(key).look(stream);
      else if (stream) this.eyes.set(key, new Eye(stream));
    }
    for (const [key, eye] of this.eyes) {
      const [participant, source] = key.split(' ');
      if (!this.session.pictureOf(participant, source)) {
        eye.close();
        this.eyes.delete(key);
      }
    }
    for (const stream of this.session.audio) this.ear.hear(stream);
  }

  /** Notes the browser's figures again and again, until `measured`. */
  measure(everyMs = 100) {
    const samples = [];
    const note = async () => {
      const { at, streams } = await figures();
      for (const stream of streams.filter(({ type }) => type === 'inbound-rtp')) {
        const slot = this.session.slots.find(({ mid }) => mid === stream.mid);
        if (slot?.participant) Object.assign(stream, { participant: slot.participant, source: slot.source });
      }
      samples.push({ at, streams });
    };
    let busy = false;
    const timer = setInterval(() => {
      if (busy) return;
      busy = true;
      void note().finally(() => (busy = false));
    }, everyMs);
    this.measured = async () => {
      clearInterval(timer);
      await note();
      return samples;
    };
  }

  size() {
    return { width: this.options.viewWidth ?? 320, height: this.options.viewHeight ?? 180 };
  }

  report() {
    const { session } = this;
    for (const stream of session.audio) this.ear.hear(stream);
    return {
      connection: structuredCloneSafe(session.connection),
      media: session.media,
      permissions: [...session.permissions],
      role: session.role,
      state: session.state,
      slots: session.slots,
      seqs: this.events.map((event) => event.seq),
      sound: this.ear.listen(),
      pictures: Object.fromEntries(
        [...this.eyes].map(([key, eye]) => [key, { frames: eye.frames, colour: eye.colour(), gapMs: eye.gapMs }]),
      ),
      local: Object.fromEntries(
        ['microphone', 'camera', 'screen'].map((source) => [
          source,
          session.local(source) && { muted: session.local(source).muted },
        ]),
      ),
    };
  }

  /** Milliseconds from the click to the first frame of anybody. */
  firstFrameMs() {
    const firsts = [...this.eyes.values()].map((eye) => eye.firstFrameAt).filter((at) => at !== undefined);
    return firsts.length ? Math.min(...firsts) - this.marks.clicked : undefined;
  }
}

const structuredCloneSafe = (value) =>
  JSON.parse(
    JSON.stringify(value, (_key, inner) =>
      inner instanceof Error ? { code: inner.code, message: inner.message } : inner,
    ),
  );

const people = new Map();
const person = (id) => {
  const found = people.get(id);
  if (!found) throw new Error(`nobody is called ${id}`);
  return found;
};

/** Errors cross into the test as values, so that their codes stay. */
const attempt = async (action) => {
  try {
    return { ok: (await action()) ?? null };
  } catch (error) {
    return { error: { code: error.code, message: error.message, stack: error.stack } };
  }
};

globalThis.lab = {
  join: (id, options) =>
    attempt(async () => {
      const newcomer = new Person(options);
      people.set(id, newcomer);
      await newcomer.join();
      return newcomer.session.identity;
    }),
  publish: (id, source, options) => attempt(() => person(id).publish(source, { ...person(id).options, ...options })),
  call: (id, method, args = []) => attempt(() => person(id).session[method](...args)),
  report: (id) => person(id).report(),
  audioEnergy: () => receivedAudioEnergy(),
  audioPacketsSent: () => audioPacketsSent(),
  soundFigures: () => soundFigures(),
  lie: (look) => lie(tone(look)),
  events: (id) => person(id).events,
  connections: (id) => person(id).connections,
  firstFrameMs: (id) => person(id).firstFrameMs() ?? null,
  marks: (id) => person(id).marks,
  resetGaps: (id) => person(id).eyes.forEach((eye) => eye.resetGap()),
  /** How `participant`'s screen of pages reads on `id`'s page now. */
  reads: (id, participant, size) => {
    const eye = person(id).eyes.get(`${participant} screen`);
    return (eye && read(eye.video, size)) ?? null;
  },
  figures: () => figures(),
  ways: () => ways(),
  iceServers: () => iceServers(),
  measure: (id, everyMs) => person(id).measure(everyMs),
  measured: (id) => person(id).measured(),
  stats: (id) => person(id).session.stats(),
  ids: () => [...people.keys()],
  leave: async (id) => {
    await person(id).session.leave();
    person(id).eyes.forEach((eye) => eye.close());
    people.delete(id);
  },
};
globalThis.labReady = true;
