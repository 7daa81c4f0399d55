// The server's side of a recording: its manifest, its timeline, and where its files are.
import type { Manifest } from './engine/manifest';

/** Why there is no recording to show. */
export type ReplayProblem = 'expired' | 'forbidden' | 'not-found' | 'locked' | 'damaged' | 'unreachable' | 'server';

/** A failed question. */
export class ReplayError extends Error {
  constructor(readonly problem: ReplayProblem) {
    super(problem);
  }
}

/** `fetch`, or something like it in tests. */
export type Fetch = (path: string, init: RequestInit) => Promise<Response>;

const TIMEOUT_MS = 20_000;

/** The API for one recording and one token. */
export class ReplayApi {
  constructor(
    readonly id: string,
    readonly token: string,
    private readonly fetcher: Fetch = (path, init) => fetch(path, init),
  ) {}

  /** The address of a file, for elements that send no headers. */
  fileUrl(file: string): string {
    return `/api/recordings/${this.id}/files/${encodeURIComponent(file)}?token=${encodeURIComponent(this.token)}`;
  }

  async manifest(): Promise<Manifest> {
    const response = await this.ask(`/api/recordings/${this.id}`, { Authorization: `Bearer ${this.token}` });
    const manifest = (await response.json().catch(() => undefined)) as Manifest | undefined;
    // What has no tracks and no duration is no manifest.
    if (!Array.isArray(manifest?.tracks) || typeof manifest.durationMs !== 'number') throw new ReplayError('server');
    return { ...manifest, pauses: Array.isArray(manifest.pauses) ? manifest.pauses : [] };
  }

  /** The timeline from byte `from` on; empty when there is nothing after it. */
  async timeline(file: string, from: number): Promise<Uint8Array> {
    const response = await this.ask(this.fileUrl(file), from > 0 ? { Range: `bytes=${from}-` } : {}, [416]);
    if (response.status === 416) return new Uint8Array();
    const whole = await response.arrayBuffer().catch(() => {
      throw new ReplayError('unreachable');
    });
    const bytes = new Uint8Array(whole);
    // A server, or a cache, that does not know ranges gives the whole.
    return from > 0 && response.status === 200 ? bytes.subarray(from) : bytes;
  }

  /** Whether the server gives the beginning of a file: an element that stops in it has met damage then, not a broken network. */
  async gives(file: string): Promise<boolean> {
    const asked = this.ask(this.fileUrl(file), { Range: 'bytes=0-0' });
    return asked.then(
      () => true,
      (error: unknown) => error instanceof ReplayError && error.problem === 'damaged',
    );
  }

  private async ask(path: string, headers: Record<string, string>, also: number[] = []): Promise<Response> {
    const response = await this.fetcher(path, {
      headers,
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    }).catch(() => {
      throw new ReplayError('unreachable');
    });
    if (response.ok || also.includes(response.status)) return response;
    if (response.status === 404) throw new ReplayError('not-found');
    if (response.status === 401) {
      throw new ReplayError((await codeOf(response)) === 'token-expired' ? 'expired' : 'forbidden');
    }
    if (response.status === 403) throw new ReplayError('forbidden');
    if (response.status === 423) throw new ReplayError('locked');
    throw new ReplayError((await codeOf(response)) === 'recording-damaged' ? 'damaged' : 'server');
  }
}

async function codeOf(response: Response): Promise<unknown> {
  const body = (await response.json().catch(() => undefined)) as { error?: { code?: unknown } } | undefined;
  return body?.error?.code;
}
