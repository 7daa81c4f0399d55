import type { MediaStatus } from './events.js';

/** ICE often repairs itself; after this long it does not. */
const PATIENCE_MS = 2000;
/** A media connection that is not up by then does not come up this way. */
const CONNECT_MS = 12_000;

export interface MediaRepairs {
  /** An ICE restart. False when signalling is away: it is tried again when that is back. Throws when the server refuses. */
  restart(): Promise<boolean>;
  /** The whole session anew; `attempt` counts from 0. */
  rejoin(attempt: number): void;
}

/** Watches a media connection and repairs it: first an ICE restart, then everything anew. */
export class MediaWatch {
  #status: MediaStatus = 'connecting';
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** A restart waits for signalling. */
  #pending = false;
  #restarting = false;
  /** A restart was the last repair; the next is another. */
  #restarted = false;
  #negotiated = false;
  #stopped = false;
  #rejoins: number;

  /** `rejoins`: how often media was lost in a row before this connection. */
  constructor(
    private readonly repairs: MediaRepairs,
    rejoins = 0,
  ) {
    this.#rejoins = rejoins;
  }

  /** The first answer is in place: it should be up soon. */
  negotiated(): void {
    this.#negotiated = true;
    if (this.#status !== 'connected') this.#check();
  }

  /** How often in a row everything was made anew because of media. */
  get rejoins(): number {
    return this.#rejoins;
  }

  status(status: MediaStatus): void {
    const before = this.#status;
    this.#status = status;
    if (this.#stopped || this.#restarting || status === before) return;
    if (status === 'connected') {
      this.#rejoins = 0;
      this.#pending = false;
      this.#restarted = false;
      clearTimeout(this.#timer);
    } else if (status === 'disconnected') {
      this.#after(PATIENCE_MS, () => void this.#restart());
    } else if (status === 'failed') {
      if (this.#restarted) this.#rejoin();
      else void this.#restart();
    }
  }

  /** Signalling is back: a repair that waited for it can go on. */
  signallingBack(): void {
    if (this.#pending) void this.#restart();
  }

  /** The way to the server may be another now. */
  networkChanged(): void {
    void this.#restart();
  }

  /** What the server says of the connection: it may hear nothing while this side still believes. */
  serverSays(state: 'connected' | 'disconnected'): void {
    if (this.#status !== 'connected') return;
    if (state === 'disconnected') this.#after(PATIENCE_MS, () => void this.#restart());
    else clearTimeout(this.#timer);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #restart(): Promise<void> {
    if (this.#stopped || this.#restarting || !this.#negotiated) return;
    this.#restarting = true;
    clearTimeout(this.#timer);
    try {
      this.#pending = !(await this.repairs.restart());
      this.#restarted = !this.#pending;
      if (this.#restarted) this.#check();
    } catch {
      this.#rejoin();
    } finally {
      this.#restarting = false;
    }
  }

  /** Up soon, or everything anew. */
  #check(): void {
    this.#after(CONNECT_MS, () => {
      if (this.#status === 'connected') this.#restarted = false;
      else this.#rejoin();
    });
  }

  #rejoin(): void {
    if (this.#stopped || this.#status === 'connected') return;
    this.stop();
    this.#rejoins += 1;
    this.repairs.rejoin(this.#rejoins - 1);
  }

  #after(delayMs: number, then: () => void): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(then, delayMs);
  }
}
