import type { SendingLimit, Source } from './protocol.js';

/** How often a browser is asked what holds it back. */
const EVERY_MS = 1000;
/** How long something must hold before it is said: the first seconds of a picture, and moments of a busy machine, are no news. */
const HOLD_MS = 3000;

/** The sources that can be held back. */
export const PICTURES: readonly Source[] = ['camera', 'screen'];

/** The fields of the browsers' statistics that are read here (W3C webrtc-stats, `RTCOutboundRtpStreamStats`). */
interface Outbound {
  type: string;
  active?: boolean;
  qualityLimitationReason?: string;
}

/** What holds back a picture, from the statistics of its sender: of several layers, the worst. */
export function limitOf(report: Iterable<Outbound>): SendingLimit {
  const layers = [...report].filter(({ type, active }) => type === 'outbound-rtp' && active !== false);
  const reasons = new Set(layers.map(({ qualityLimitationReason }) => qualityLimitationReason));
  return reasons.has('cpu') ? 'cpu' : reasons.has('bandwidth') ? 'bandwidth' : 'none';
}

export interface SendingEvents {
  /** What holds a source back now; `none` also when nothing is sent. Never throws. */
  read(source: Source): Promise<SendingLimit>;
  /** It has held for long enough. */
  changed(source: Source, limit: SendingLimit): void;
}

/** Watches what holds the own pictures back, and says so when that has held for three seconds. */
export class SendingWatch {
  readonly #said = new Map<Source, SendingLimit>();
  readonly #seen = new Map<Source, { limit: SendingLimit; since: number }>();
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly events: SendingEvents) {}

  start(): void {
    this.#timer ??= setInterval(() => void this.#look(), EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The server knows nothing of a source: it was published anew, or all of them in a new session. */
  forget(source?: Source): void {
    for (const gone of source ? [source] : PICTURES) {
      this.#said.delete(gone);
      this.#seen.delete(gone);
    }
  }

  async #look(): Promise<void> {
    for (const source of PICTURES) {
      const limit = await this.events.read(source);
      // Stopped while the browser thought about it.
      if (this.#timer === undefined) return;
      const seen = this.#seen.get(source);
      const now = Date.now();
      if (seen?.limit !== limit) {
        this.#seen.set(source, { limit, since: now });
      } else if (now - seen.since >= HOLD_MS && limit !== (this.#said.get(source) ?? 'none')) {
        this.#said.set(source, limit);
        this.events.changed(source, limit);
      }
    }
  }
}
