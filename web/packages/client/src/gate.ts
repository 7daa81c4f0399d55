import type { LecternError } from './errors.js';

interface Waiter {
  resolve: () => void;
  reject: (error: LecternError) => void;
}

/** Holds callers until it is opened once, or broken. */
export class Gate {
  readonly #waiters = new Set<Waiter>();

  wait(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiters.add({ resolve, reject });
    });
  }

  /** Lets everybody through who waits now. */
  open(): void {
    for (const { resolve } of this.#drain()) resolve();
  }

  /** Sends everybody away who waits now. */
  break(error: LecternError): void {
    for (const { reject } of this.#drain()) reject(error);
  }

  #drain(): Waiter[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }
}
