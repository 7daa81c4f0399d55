import type { ServerErrorCode } from './protocol.js';

/** Why something failed: a code of the server, or one of the client's own. */
export type ErrorCode =
  | ServerErrorCode
  /** The server cannot be reached. */
  | 'unreachable'
  /** The server did not answer in time. */
  | 'timeout'
  /** The caller gave up. */
  | 'aborted'
  /** The session is over. */
  | 'ended'
  /** This browser has no WebRTC, or refused what the call needs. */
  | 'media-unsupported'
  /** The media connection did not come up: most often a firewall. */
  | 'media-failed';

/** The one error type of this library; `code` is for programs, `message` is English for logs. */
export class LecternError extends Error {
  override readonly name = 'LecternError';

  constructor(
    readonly code: ErrorCode,
    message: string = code,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Any thrown value as a LecternError. */
  static from(thrown: unknown, code: ErrorCode = 'internal'): LecternError {
    if (thrown instanceof LecternError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new LecternError(code, message, { cause: thrown });
  }
}
