// Answers that leave one way open. The server has no candidates of the browser, so that no connection begins from its side.
import type { WayId } from './steps';

const CANDIDATE = /^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) /i;

/** Of the candidates of an answer those that a way goes to, and their places: `203.0.113.7:7882`. */
export function onlyWay(answer: string, way: WayId): { sdp: string; places: string[] } {
  // A relay brings datagrams to the server whatever it is reached by.
  const wanted = way === 'tcp' ? 'tcp' : 'udp';
  const places = new Set<string>();
  const lines = answer.split(/\r?\n/u).filter((line) => {
    const [, protocol, address, port] = CANDIDATE.exec(line) ?? [];
    if (protocol === undefined || address === undefined || port === undefined) return true;
    if (protocol.toLowerCase() !== wanted) return false;
    places.add(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
    return true;
  });
  return { sdp: lines.join('\r\n'), places: [...places] };
}

/** The URL of a relay that belongs to a way, and its place, or nothing when the server offers none. */
export function relayOf(
  servers: readonly RTCIceServer[],
  way: WayId,
): { server: RTCIceServer; place: string } | undefined {
  for (const server of servers) {
    for (const url of [server.urls].flat()) {
      const [, scheme, place = '', transport = 'udp'] =
        /^(turns?):([^?]+?)(?:\?transport=(udp|tcp))?$/iu.exec(url) ?? [];
      if (scheme === undefined) continue;
      const id: WayId =
        scheme.toLowerCase() === 'turns' ? 'relay-tls' : transport === 'tcp' ? 'relay-tcp' : 'relay-udp';
      if (id === way) return { server: { ...server, urls: url }, place };
    }
  }
  return undefined;
}

const isLoopback = (place: string) => /^(127\.|\[::1\]|localhost\b)/u.test(place);

/** Few of many places for a sentence: those of the network rather than loopback, which is good for a local run alone. */
export function shortPlaces(places: readonly string[], most = 3): string {
  const far = places.filter((place) => !isLoopback(place));
  const shown = far.length > 0 ? far : [...places];
  return shown.slice(0, most).join(', ') + (shown.length > most ? ' …' : '');
}
