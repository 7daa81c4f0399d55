// A link to a recording: `https://host/replay/<id>#token=<jwt>&t=<seconds>`.

/** What a link is. */
export type ReplayLink = { kind: 'valid'; id: string; token: string; atMs: number | undefined } | { kind: 'wrong' };

const PATH = /^\/replay\/([A-Za-z0-9._-]{1,200})\/?$/u;

/** Reads a link to a recording. Whether the token is true is the server's to say. */
export function readReplayLink(url: URL): ReplayLink {
  const id = PATH.exec(url.pathname)?.[1];
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = fragment.get('token');
  if (id === undefined || !token) return { kind: 'wrong' };
  const given = fragment.get('t');
  const seconds = given === null || given === '' ? NaN : Number(given);
  return { kind: 'valid', id, token, atMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined };
}

/** The link to `atMs` of a recording. */
export function linkAt(origin: string, id: string, token: string, atMs: number): string {
  return `${origin}/replay/${id}#token=${token}&t=${Math.floor(Math.max(0, atMs) / 1_000)}`;
}
