// Whether the signalling of a class gets through: it goes over a WebSocket, which some proxies stop.

/** Longest wait for each. */
const WITHIN_MS = 6_000;
const PATH = '/socket.io/?EIO=4&transport=';

/** How far signalling gets: all the way, by long polling alone, which is not enough for a class, or not at all. */
export type Signalling = { reach: 'websocket'; ms: number } | { reach: 'polling' | 'nothing' };

/** Tries it, as far as the server's first word. */
export async function trySignalling(): Promise<Signalling> {
  const began = performance.now();
  if (await opens()) return { reach: 'websocket', ms: Math.round(performance.now() - began) };
  return { reach: (await polls()) ? 'polling' : 'nothing' };
}

function opens(): Promise<boolean> {
  return new Promise((resolve) => {
    const url = new URL(`${PATH}websocket`, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    const done = (is: boolean) => {
      clearTimeout(timer);
      resolve(is);
      socket.close();
    };
    const timer = setTimeout(() => done(false), WITHIN_MS);
    // Engine.IO's first packet is `0` and a handshake in JSON.
    socket.addEventListener('message', ({ data }) => done(typeof data === 'string' && data.startsWith('0{')));
    socket.addEventListener('error', () => done(false));
    socket.addEventListener('close', () => done(false));
  });
}

async function polls(): Promise<boolean> {
  try {
    const response = await fetch(`${PATH}polling`, { signal: AbortSignal.timeout(WITHIN_MS) });
    const text = await response.text();
    if (!text.startsWith('0{')) return false;
    const { sid } = JSON.parse(text.slice(1)) as { sid: string };
    // Engine.IO's packet `1` closes the session.
    await fetch(`${PATH}polling&sid=${sid}`, { method: 'POST', body: '1' }).catch(() => undefined);
    return true;
  } catch {
    return false;
  }
}
