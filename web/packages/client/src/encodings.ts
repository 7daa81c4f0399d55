import { cameraLayers, type LayerSize } from './codecs.js';
import type { ReceiveMode, Source } from './protocol.js';

/**
 * A layer that nobody needs any more goes on for this long: the larger one that is to take its place needs a keyframe and a
 * moment to come up, and whoever watches sees the smaller one until then. It also rides out a change of mind.
 */
const STOP_AFTER_MS = 2000;

/** A camera in one encoding, a browser's only one or layers of one stream, is this small with data saver: as the smallest of three. */
const SMALL_ALONE = { scaleResolutionDownBy: 4, maxBitrate: 150_000 };

type Size = Pick<RTCRtpEncodingParameters, 'scaleResolutionDownBy' | 'maxBitrate'>;

/** How much of the own camera is sent at most: what is sent costs as much of a budget as what is received. */
export type Saving = 'none' | 'small' | 'off';

/** What a budget or data saver means for the own camera. A shared screen goes on: a class that loses its board is not helped. */
export function savingOf(mode: ReceiveMode, byBudget: boolean): Saving {
  if (mode === 'data-saver') return 'small';
  return mode === 'audio-only' && byBudget ? 'off' : 'none';
}

/**
 * Switches simulcast layers off and on (`encodings`). Changes of one sender are made one after another, because a browser refuses
 * parameters that are not the last ones it gave; nothing here throws, as a layer too much is no reason to break a call.
 */
export class Encodings {
  readonly #needed = new Map<Source, readonly boolean[]>();
  /** Layers that are no longer needed and still sent, until the timer. */
  readonly #ending = new Map<Source, ReturnType<typeof setTimeout>>();
  readonly #lingering = new Map<Source, readonly boolean[]>();
  readonly #queues = new Map<Source, Promise<void>>();
  /** What the camera's one encoding was before it was made small. */
  #whole: Size | undefined;
  #saving: Saving = 'none';
  /** The camera's layers have been made other than they began, for a small camera. */
  #isFitted = false;
  #stopped = false;

  constructor(private readonly senderOf: (source: Source) => RTCRtpSender | undefined) {}

  /** The server says which layers anybody needs, smallest first. */
  need(source: Source, active: readonly boolean[]): void {
    if (this.#stopped) return;
    const before = this.#needed.get(source) ?? active.map(() => true);
    clearTimeout(this.#ending.get(source));
    const lingering = this.#lingering.get(source) ?? [];
    this.#lingering.set(
      source,
      active.map((_, layer) => (before[layer] ?? true) || (lingering[layer] ?? false)),
    );
    this.#needed.set(source, [...active]);
    void this.apply(source);
    const end = () => {
      this.#lingering.delete(source);
      this.#ending.delete(source);
      void this.apply(source);
    };
    this.#ending.set(source, setTimeout(end, STOP_AFTER_MS));
  }

  /** The source is no longer sent: the next time all of its layers are needed until told. */
  forget(source: Source): void {
    clearTimeout(this.#ending.get(source));
    this.#ending.delete(source);
    this.#lingering.delete(source);
    if (this.#needed.delete(source)) void this.apply(source);
  }

  save(saving: Saving): void {
    if (this.#saving === saving) return;
    this.#saving = saving;
    void this.apply('camera');
  }

  get saving(): Saving {
    return this.#saving;
  }

  /** Brings the browser to what is wanted: after a change, and after another track was put into a sender. */
  apply(source: Source): Promise<void> {
    const done = (this.#queues.get(source) ?? Promise.resolve()).then(() => this.#set(source));
    this.#queues.set(source, done);
    return done;
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#ending.values()) clearTimeout(timer);
    this.#ending.clear();
  }

  async #set(source: Source): Promise<void> {
    const sender = this.senderOf(source);
    if (!sender) return;
    // Once more when something else (an answer, another track) has changed the parameters in between.
    for (let attempt = 0; attempt < 2 && !this.#stopped; attempt += 1) {
      try {
        const parameters = sender.getParameters();
        // Firefox before 110 has none before it sends (or throws here), and refuses what it did not give.
        const { encodings } = parameters;
        if (encodings.length === 0) return;
        const sizes = this.#sizes(source, sender, encodings.length);
        const layers = sizes?.length ?? encodings.length;
        const wanted = encodings.map((_, layer) => this.#isActive(source, layer, layers));
        const only = source === 'camera' && encodings.length === 1 ? encodings[0] : undefined;
        const isResized = only !== undefined && (this.#saving === 'small') !== (this.#whole !== undefined);
        const isFitting = (encoding: RTCRtpEncodingParameters, layer: number) =>
          (encoding.active ?? true) === wanted[layer] && hasSize(encoding, sizes?.[layer]);
        if (!isResized && encodings.every(isFitting)) return;
        encodings.forEach((encoding, layer) => {
          encoding.active = wanted[layer] ?? true;
          Object.assign(encoding, sizes?.[layer]);
        });
        const whole = isResized ? this.#resize(only) : this.#whole;
        await sender.setParameters(parameters);
        this.#whole = whole;
        return;
      } catch {
        // Left as it is after the second time; the next change tries again.
      }
    }
  }

  /** How large the layers of a camera are to be; nothing where that is as it was made. */
  #sizes(source: Source, { track }: RTCRtpSender, encodings: number): readonly LayerSize[] | undefined {
    if (source !== 'camera' || encodings !== 3) return undefined;
    const sizes = cameraLayers(track?.getSettings() ?? {});
    this.#isFitted ||= sizes.length < encodings;
    return this.#isFitted ? sizes : undefined;
  }

  /** Makes an encoding small, or what it was. Gives what it was. */
  #resize(only: RTCRtpEncodingParameters): Size | undefined {
    if (!this.#whole) {
      const { scaleResolutionDownBy = 1, maxBitrate } = only;
      Object.assign(only, SMALL_ALONE);
      return maxBitrate === undefined ? { scaleResolutionDownBy } : { scaleResolutionDownBy, maxBitrate };
    }
    delete only.maxBitrate;
    Object.assign(only, this.#whole);
    return undefined;
  }

  #isActive(source: Source, layer: number, layers: number): boolean {
    if (layer >= layers) return false;
    if (source === 'camera' && this.#saving === 'off') return false;
    if (source === 'camera' && this.#saving === 'small' && layer > 0) return false;
    const needed = this.#needed.get(source);
    if (!needed) return true;
    const either = (at: number) => (needed[at] ?? true) || (this.#lingering.get(source)?.[at] ?? false);
    // Where there are fewer layers than were offered, because the browser takes no more or the camera is small, the highest stands for those above.
    return layer === layers - 1 ? needed.some((_, at) => at >= layer && either(at)) : either(layer);
  }
}

const hasSize = (encoding: RTCRtpEncodingParameters, size: LayerSize | undefined): boolean =>
  !size || (encoding.scaleResolutionDownBy === size.scaleResolutionDownBy && encoding.maxBitrate === size.maxBitrate);
