import { io, type Socket } from 'socket.io-client';

import { LecternError } from './errors.js';
import { backoffMs } from './recovery.js';
import type { Acknowledgement, Notices, RequestName, Requests, ServerErrorCode } from './protocol.js';

/** The longest that a connection may take to open, the server's check of the token included, in milliseconds. */
const OPEN_MS = 8000;
/** The longest that the server may take to answer a request, in milliseconds. */
const ANSWER_MS = 10_000;

export interface SignalEvents {
  /** A connection is open and nothing was said on it yet. */
  opened(): void;
  /** The connection was lost, or there was none to be had; another attempt follows by itself. */
  lost(error: LecternError): void;
  /** The server refuses this token; nothing follows by itself. */
  refused(error: LecternError): void;
  notice<Name extends keyof Notices>(name: Name, payload: Notices[Name]): void;
}

const NOTICES = [
  'lesson',
  'slots',
  'speakers',
  'quality',
  'permissions',
  'media',
  'encodings',
  'pictures',
  'usage',
  'thumbnails',
  'ended',
] as const;

/** A request was on its way when the connection went, so nobody knows whether it was heard. */
export class ConnectionLost extends Error {}

/** The Socket.IO connection: typed requests and notices, reconnection with backoff, no memory of the session. */
export class Signal {
  readonly #socket: Socket;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #opening: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(
    url: string | undefined,
    token: () => Promise<string>,
    private readonly events: SignalEvents,
  ) {
    const options = {
      transports: ['websocket'],
      auth: (answer: (auth: object) => void) => {
        token().then(
          (value) => answer({ token: value }),
          // Whoever gives tokens cannot be reached now; that says nothing about the next time.
          () => {
            this.#socket.disconnect();
            this.#lost(new LecternError('unreachable', 'there was no token to be had'));
          },
        );
      },
      autoConnect: false,
      // Reconnection is here: Socket.IO's own does not follow when the server closes.
      reconnection: false,
      forceNew: true,
      timeout: 5000,
    };
    this.#socket = url === undefined ? io(options) : io(url, options);
    this.#socket.on('connect', () => {
      clearTimeout(this.#opening);
      this.#attempt = 0;
      events.opened();
    });
    this.#socket.on('connect_error', (error) => this.#onConnectError(error));
    this.#socket.on('disconnect', (reason) => {
      this.#lost(new LecternError('unreachable', `the connection was lost: ${reason}`));
    });
    for (const name of NOTICES) {
      this.#socket.on(name, (payload: Notices[typeof name]) => events.notice(name, payload));
    }
  }

  get connected(): boolean {
    return this.#socket.connected;
  }

  connect(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#closed || this.#socket.connected) return;
    this.#socket.connect();
    clearTimeout(this.#opening);
    this.#opening = setTimeout(() => {
      if (this.#socket.connected || this.#timer !== undefined) return;
      this.#socket.disconnect();
      this.#lost(new LecternError('unreachable', 'the server did not answer'));
    }, OPEN_MS);
  }

  /** Drops the connection, if any, and opens another after `delayMs`. */
  reconnect(delayMs: number): void {
    this.#socket.disconnect();
    this.#schedule(delayMs);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#opening);
    this.#socket.disconnect();
  }

  /** Throws {@link LecternError} when the server refuses, {@link ConnectionLost} when the connection goes first. */
  async request<Name extends RequestName>(
    name: Name,
    payload: Requests[Name]['payload'],
    timeoutMs = ANSWER_MS,
  ): Promise<Requests[Name]['data']> {
    const socket = this.#socket;
    // Never buffered: Socket.IO would send it after the reconnection and before `join`.
    if (!socket.connected) throw new ConnectionLost();
    const answer = await new Promise<Acknowledgement<Requests[Name]['data']>>((resolve, reject) => {
      const timer = setTimeout(
        () => settle(() => reject(new LecternError('timeout', `no answer to ${name}`))),
        timeoutMs,
      );
      const onLost = () => settle(() => reject(new ConnectionLost()));
      const settle = (then: () => void) => {
        clearTimeout(timer);
        socket.off('disconnect', onLost);
        then();
      };
      socket.on('disconnect', onLost);
      socket.emit(name, payload, (data: Acknowledgement<Requests[Name]['data']>) => settle(() => resolve(data)));
    });
    if ('error' in answer) throw new LecternError(answer.error.code, answer.error.message);
    return answer.data;
  }

  /** Sends without waiting, as far as that goes: for a page that is being closed. */
  say<Name extends RequestName>(name: Name, payload: Requests[Name]['payload']): void {
    if (this.#socket.connected) this.#socket.emit(name, payload, () => undefined);
  }

  #onConnectError(error: Error): void {
    // The server's own refusals carry a code; a transport's failure does not, and Socket.IO marks the two apart.
    const code = this.#socket.active || !isCode(error.message) ? 'unreachable' : error.message;
    if (code === 'unreachable' || code === 'unavailable' || code === 'internal' || code === 'rate-limited') {
      this.#lost(new LecternError(code, error.message));
    } else {
      clearTimeout(this.#opening);
      this.events.refused(new LecternError(code, error.message));
    }
  }

  #lost(error: LecternError): void {
    if (this.#closed) return;
    if (this.#timer === undefined) {
      this.#schedule(backoffMs(this.#attempt, Math.random()));
      this.#attempt += 1;
    }
    this.events.lost(error);
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.connect(), delayMs);
  }
}

const CODES: ReadonlySet<string> = new Set<ServerErrorCode>([
  'unauthenticated',
  'token-expired',
  'forbidden',
  'room-full',
  'room-locked',
  'removed',
  'rate-limited',
  'unavailable',
  'internal',
]);

function isCode(text: string): text is ServerErrorCode {
  return CODES.has(text);
}
