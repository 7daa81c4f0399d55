// Whether media gets through one way, by a connection that may use no other.
import { answerOf, type Session } from './api';
import { onlyWay, relayOf } from './sdp';
import type { WayId } from './steps';

/** A connection takes a second or two where it works; the server gives up after ten. */
const WITHIN_MS = 8_000;

/** What became of a way. */
export type Tried =
  | { outcome: 'through'; connection: RTCPeerConnection; sender: RTCRtpSender; rttMs: number | undefined }
  /** The server does not offer it. */
  | { outcome: 'absent' }
  /** Nothing came back; `relayed` when the relay itself answered, and what is behind it did not. */
  | { outcome: 'closed'; places: string[]; relayed: boolean };

/** Tries a way. The connection of one that gets through is the caller's to close. */
export async function tryWay(way: WayId, session: Session): Promise<Tried> {
  const isRelay = way.startsWith('relay');
  const relay = isRelay ? relayOf(session.iceServers, way) : undefined;
  if (isRelay && !relay) return { outcome: 'absent' };
  const connection = new RTCPeerConnection({
    iceServers: relay ? [relay.server] : [],
    iceTransportPolicy: relay ? 'relay' : 'all',
    bundlePolicy: 'max-bundle',
  });
  let through = false;
  let relayed = false;
  try {
    const { sender } = connection.addTransceiver('video', { direction: 'sendonly' });
    const settled = settles(connection, relay !== undefined, () => (relayed = true));
    const offer = await connection.createOffer();
    await connection.setLocalDescription(offer);
    const answer = onlyWay(await answerOf(session, offer.sdp ?? ''), way);
    if (answer.places.length === 0) return { outcome: 'absent' };
    await connection.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    through = await settled;
    if (!through) return { outcome: 'closed', places: relay ? [relay.place] : answer.places, relayed };
    return { outcome: 'through', connection, sender, rttMs: await roundTrip(connection) };
  } finally {
    if (!through) connection.close();
  }
}

/** Whether it connects. `onRelayed` hears when a relay has given an address. */
function settles(connection: RTCPeerConnection, relayAlone: boolean, onRelayed: () => void): Promise<boolean> {
  return new Promise((resolve) => {
    let candidates = 0;
    const timer = setTimeout(() => resolve(false), WITHIN_MS);
    connection.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate?.candidate) {
        candidates++;
        if (candidate.type === 'relay') onRelayed();
      } else if (candidate === null && relayAlone && candidates === 0) {
        // No relay has answered, and nothing else may be used.
        resolve(false);
      }
    });
    connection.addEventListener('connectionstatechange', () => {
      const state = connection.connectionState;
      if (state === 'connected') resolve(true);
      if (state === 'failed' || state === 'closed') resolve(false);
      if (state !== 'new' && state !== 'connecting') clearTimeout(timer);
    });
  });
}

interface Pair {
  type: string;
  state?: string;
  currentRoundTripTime?: number;
}

async function roundTrip(connection: RTCPeerConnection): Promise<number | undefined> {
  const entries = [...(await connection.getStats()).values()] as Pair[];
  const times = entries.flatMap(({ type, state, currentRoundTripTime }) =>
    type === 'candidate-pair' && state === 'succeeded' && currentRoundTripTime !== undefined
      ? [currentRoundTripTime * 1_000]
      : [],
  );
  return times.length > 0 ? Math.max(1, Math.round(Math.min(...times))) : undefined;
}
