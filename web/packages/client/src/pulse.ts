/** Without a byte for this long, a connection that asks and gets no answer is dead. */
const SILENCE_MS = 2000;
/** After a repair was asked for, it has this long before the next. */
const REPAIR_MS = 10_000;

/** What a connection has received until now, and what it has asked for. */
export interface Beat {
  /** The pair of addresses that media takes. */
  pair: string;
  bytesReceived: number;
  /** Checks of the pair that are not answered yet. */
  unanswered: number;
}

/**
 * Tells when the way to the server is dead, seconds before the browser does (Chromium waits for six): nothing has come for two
 * seconds, and a check of the way has been without an answer since before the last look. A class in which nobody sends is silent
 * too, but its checks are answered.
 */
export class Pulse {
  #last: Beat | undefined;
  #heardAt = 0;
  #askedAt: number | undefined;
  #quietUntil = 0;

  /** Looks at the connection; to be called about twice a second. True when it is dead, once for each repair. */
  take(beat: Beat | undefined, nowMs: number): boolean {
    const last = this.#last;
    this.#last = beat;
    if (!beat || !last || beat.pair !== last.pair || beat.bytesReceived !== last.bytesReceived) {
      this.#heardAt = nowMs;
      this.#askedAt = undefined;
      // What comes, comes by a way that lives: should that die too, it is another death.
      if (beat && last) this.#quietUntil = 0;
      return false;
    }
    if (beat.unanswered <= 0) this.#askedAt = undefined;
    else this.#askedAt ??= nowMs;
    const isDead = nowMs - this.#heardAt >= SILENCE_MS && this.#askedAt !== undefined && this.#askedAt < nowMs;
    if (!isDead || nowMs < this.#quietUntil) return false;
    this.#quietUntil = nowMs + REPAIR_MS;
    return true;
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
    unanswered: pair.requestsSent - (pair.responsesReceived ?? 0),
  };
}
