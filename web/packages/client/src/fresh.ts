/** Addresses of the machine are there at once; what asks others (mDNS, relays) is not waited for. */
const GATHER_MS = 150;

type PeerConnectionClass = typeof RTCPeerConnection;

/** A document without content, and its own view of the machine's networks. */
export interface Fresh {
  PeerConnection: PeerConnectionClass;
  /** Takes the document away, and with it the connections that were made in it. */
  dispose(): void;
}

/**
 * Chromium tells a document two seconds late that the machine has another address (on Linux and Windows: its network notifier waits for
 * things to settle); connections of the document gather the old addresses until then, whatever is restarted. A document that is made now
 * sees the networks as they are. Nothing where there can be none.
 */
export function freshDocument(): Fresh | undefined {
  try {
    const frame = document.createElement('iframe');
    frame.hidden = true;
    frame.setAttribute('aria-hidden', 'true');
    document.body.append(frame);
    const { RTCPeerConnection: PeerConnection } = (frame.contentWindow ?? {}) as {
      RTCPeerConnection?: PeerConnectionClass;
    };
    const dispose = () => frame.remove();
    if (PeerConnection) return { PeerConnection, dispose };
    dispose();
  } catch {
    // No page, or one that takes no frames.
  }
  return undefined;
}

/** The address of a candidate of this machine's own; nothing for names that hide one (mDNS), relays and TCP. */
export function hostAddress(candidate: string): string | undefined {
  const [, , protocol, , address, , , type] = candidate.split(' ');
  return protocol?.toLowerCase() === 'udp' && type === 'host' && !address?.endsWith('.local') ? address : undefined;
}

/**
 * Whether a connection that once found the addresses `had` is gone with one of them, while the machine has another (`now`) that its document
 * does not know of (`known`): to gather again there finds nothing.
 */
export function isBehind(had: ReadonlySet<string>, known: ReadonlySet<string>, now: ReadonlySet<string>): boolean {
  const gone = [...had].some((address) => !now.has(address));
  return gone && [...now].some((address) => !had.has(address) && !known.has(address));
}

/** The machine's own addresses, as a new connection finds them. */
export async function addressesOf(PeerConnection: PeerConnectionClass): Promise<Set<string>> {
  const addresses = new Set<string>();
  const connection = new PeerConnection();
  try {
    await new Promise<void>((resolve) => {
      setTimeout(resolve, GATHER_MS);
      connection.addEventListener('icecandidate', ({ candidate }) => {
        const address = hostAddress(candidate?.candidate ?? '');
        if (address !== undefined) addresses.add(address);
        if (!candidate) resolve();
      });
      connection.createDataChannel('addresses');
      connection.createOffer().then((offer) => connection.setLocalDescription(offer), resolve);
    });
  } finally {
    connection.close();
  }
  return addresses;
}
