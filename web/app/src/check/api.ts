// The server's part of the test before class (docs/http.md).

/** What the server has given for a test. */
export interface Session {
  check: string;
  seconds: number;
  iceServers: RTCIceServer[];
}

/** Why there is none, or no answer. */
export type CheckProblem = 'off' | 'busy' | 'over' | 'unreachable' | 'refused';

/** The server did not do what was asked. */
export class CheckError extends Error {
  constructor(readonly problem: CheckProblem) {
    super(problem);
  }
}

/** `fetch`, or something that stands for it. */
export type Fetch = (path: string, init: RequestInit) => Promise<Response>;

/** Begins a test. */
export async function beginCheck(fetcher: Fetch = fetch.bind(globalThis)): Promise<Session> {
  const response = await ask(fetcher, '/api/check', { method: 'POST' });
  if (response.status === 404) throw new CheckError('off');
  if (response.status === 429 || response.status === 503) throw new CheckError('busy');
  if (!response.ok) throw new CheckError('refused');
  return (await response.json()) as Session;
}

/** Has an offer answered. */
export async function answerOf(
  { check }: Session,
  offer: string,
  fetcher: Fetch = fetch.bind(globalThis),
): Promise<string> {
  const headers = { 'Content-Type': 'application/sdp' };
  const response = await ask(fetcher, `/api/check/${check}`, { method: 'POST', headers, body: offer });
  if (response.status === 404) throw new CheckError('over');
  if (response.status === 429 || response.status === 503) throw new CheckError('busy');
  if (!response.ok) throw new CheckError('refused');
  return response.text();
}

/** Ends a test; one that is forgotten ends by itself. */
export async function endCheck({ check }: Session, fetcher: Fetch = fetch.bind(globalThis)): Promise<void> {
  await ask(fetcher, `/api/check/${check}`, { method: 'DELETE' }).catch(() => undefined);
}

async function ask(fetcher: Fetch, path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetcher(path, init);
  } catch {
    throw new CheckError('unreachable');
  }
}
