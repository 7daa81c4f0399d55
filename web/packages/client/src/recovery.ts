import type { ErrorCode } from './errors.js';
import type { EndReason } from './protocol.js';

/** What to do when something went wrong. */
export type Recovery =
  /** Join anew, with a new media connection, and publish again. */
  | 'rejoin'
  /** Try the same again a little later. */
  | 'retry'
  /** Tell the user; only they can go on. */
  | 'give-up';

/** After a refused `join`, or a refused connection. */
export function afterJoinError(code: ErrorCode, resuming: boolean): Recovery {
  switch (code) {
    case 'session-unknown':
      return resuming ? 'rejoin' : 'give-up';
    // A join that is already under way, a restart of the server, too many joins at once: pass with time.
    case 'unreachable':
    case 'timeout':
    case 'unavailable':
    case 'rate-limited':
    case 'conflict':
    case 'internal':
    case 'already-joined':
    case 'not-joined':
      return 'retry';
    default:
      return 'give-up';
  }
}

/** After the server's `ended`. */
export function afterEnded(reason: EndReason): Recovery {
  return reason === 'shutdown' ? 'rejoin' : 'give-up';
}

const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 8000;

/**
 * How long to wait before attempt `attempt` (from 0), in milliseconds: doubling, and spread by `random` (0..1) over half of
 * the span, so that a class that lost its server does not come back all in one moment.
 */
export function backoffMs(attempt: number, random: number): number {
  const span = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt, 10));
  return Math.round(span * (0.5 + random / 2));
}
