/** Without a byte for this long, a connection that asks and gets no answer is dead. */
const SILENCE_MS = 2000;
/** After a repair was asked for, it has this long before the next. */
const REPAIR_MS = 10_000;
/**
 * Who sends media hears of it: the server reports what has come (transport-wide feedback) ten times a second, whatever anybody else sends.
 * Without a byte for this long, a way on which media was sent all the while is dead...
 */
const UNHEARD_MS = 600;
/** ...and after this long it may be. */
const DOUBT_MS = 300;
/** A network that stands still again and again is not helped by another way each time. */
const UNHEARD_AGAIN_MS = 5000;
/** Less than this between two looks is no media, but reports of what was received, which nobody answers. */
const MEDIA_BYTES = 300;
/** So often media must have been sent into the silence. */
const SENT_LOOKS = 2;

/** What a connection has received until now, and what it has sent and asked for. */
export interface Beat {
  /** The pair of addresses that media takes. */
  pair: string;
  bytesReceived: number;
  bytesSent: number;
  /** Checks of the pair that are not answered yet. */
  unanswered: number;
}

/** What a look finds. Each silence is `doubtful` once at most. */
export type Finding = 'alive' | 'doubtful' | 'dead';

/**
 * Tells when the way to the server is dead, seconds before the browser does (Chromium waits for six). Who sends finds out within a second:
 * nothing comes, not even the server's reports. Who does not, after two: nothing comes, and a check of the way has been without an answer
 * since before the last look. A class in which nobody sends is silent too, but its checks are answered.
 */
export class Pulse {
  #last: Beat | undefined;
  #heardAt = 0;
  #askedAt: number | undefined;
  /** Looks since something was heard, between which media was sent. */
  #sentLooks = 0;
  #isDoubted = false;
  #quietUntil = 0;
  #hearingUntil = 0;

  /** Nothing has come since the last `doubtful`. */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /** Looks at the connection; to be called five times a second. `dead` once for each repair. */
  take(beat: Beat | undefined, nowMs: number): Finding {
    const last = this.#last;
    this.#last = beat;
    if (!beat || !last || beat.pair !== last.pair || beat.bytesReceived !== last.bytesReceived) {
      this.#heardAt = nowMs;
      this.#askedAt = undefined;
      this.#sentLooks = 0;
      this.#isDoubted = false;
      // What comes, comes by a way that lives: should that die too, it is another death.
      if (beat && last) this.#quietUntil = 0;
      return 'alive';
    }
    if (beat.unanswered <= 0) this.#askedAt = undefined;
    else this.#askedAt ??= nowMs;
    if (beat.bytesSent - last.bytesSent >= MEDIA_BYTES) this.#sentLooks += 1;
    const silence = nowMs - this.#heardAt;
    const isUnanswered = silence >= SILENCE_MS && this.#askedAt !== undefined && this.#askedAt < nowMs;
    const isSending = this.#sentLooks >= SENT_LOOKS && nowMs >= this.#hearingUntil;
    const isUnheard = isSending && silence >= UNHEARD_MS;
    if ((isUnanswered || isUnheard) && nowMs >= this.#quietUntil) {
      this.#quietUntil = nowMs + REPAIR_MS;
      if (isUnheard) this.#hearingUntil = nowMs + UNHEARD_AGAIN_MS;
      return 'dead';
    }
    if (!isSending || silence < DOUBT_MS || this.#isDoubted) return 'alive';
    this.#isDoubted = true;
    return 'doubtful';
  }
}

interface Entry {
  type: string;
  id: string;
}
interface Transport extends Entry {
  selectedCandidatePairId?: string;
}
interface Pair extends Entry {
  bytesReceived?: number;
  bytesSent?: number;
  requestsSent?: number;
  responsesReceived?: number;
}

/** The beat in a report; undefined when there is no pair, or the browser does not say how its checks fare. */
export function beatOf(report: Iterable<Entry>): Beat | undefined {
  const entries = [...report];
  const transport = entries.find((entry): entry is Transport => entry.type === 'transport');
  const pair = entries.find((entry): entry is Pair => entry.id === transport?.selectedCandidatePairId);
  if (!pair || pair.requestsSent === undefined || pair.bytesReceived === undefined) return undefined;
  return {
    pair: pair.id,
    bytesReceived: pair.bytesReceived,
    bytesSent: pair.bytesSent ?? 0,
    unanswered: pair.requestsSent - (pair.responsesReceived ?? 0),
  };
}
