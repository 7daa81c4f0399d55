// How well a way carries a picture: a made one, so that no camera is needed, sent for a few seconds.
import type { Result, Say } from './steps';

/** How long is measured; the browser's estimate has settled by then. */
const FOR_MS = 6_000;
const EVERY_MS = 250;
/** What a camera at its largest takes (the client library's layers). */
const MOST_BPS = 2_500_000;
/** Pictures a second. */
const FRAMES = 20;

/** What was measured. */
export interface Measured {
  rttMs: number | undefined;
  /** `0..1`, of what was sent. */
  loss: number | undefined;
  /** About so much goes up. */
  upBps: number;
}

interface Entry {
  type: string;
  timestamp: number;
  state?: string;
  currentRoundTripTime?: number;
  availableOutgoingBitrate?: number;
  bytesSent?: number;
  packetsSent?: number;
  packetsLost?: number;
}

/** Measures a connection that sends nothing yet. */
export async function measure(connection: RTCPeerConnection, sender: RTCRtpSender): Promise<Measured> {
  const picture = moving();
  try {
    await sender.replaceTrack(picture.track);
    const parameters = sender.getParameters();
    for (const encoding of parameters.encodings) encoding.maxBitrate = MOST_BPS;
    await sender.setParameters(parameters);
    const samples: Entry[][] = [];
    const ends = performance.now() + FOR_MS;
    while (performance.now() < ends && connection.connectionState === 'connected') {
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
      samples.push([...(await connection.getStats()).values()] as Entry[]);
    }
    return sumUp(samples);
  } finally {
    picture.stop();
  }
}

/** What samples of statistics, oldest first, say. */
export function sumUp(samples: readonly (readonly Entry[])[]): Measured {
  const pairs = samples.flatMap((entries) =>
    entries.filter(({ type, state }) => type === 'candidate-pair' && state === 'succeeded'),
  );
  const times = pairs.flatMap(({ currentRoundTripTime: time }) => (time === undefined ? [] : [time * 1_000]));
  times.sort((a, b) => a - b);
  const of = (entries: readonly Entry[] | undefined, type: string) => entries?.find((entry) => entry.type === type);
  const sentOf = (entries: readonly Entry[] | undefined) => of(entries, 'outbound-rtp');
  const last = samples.at(-1);
  // The second half: by then the sender has found its rate.
  const [from, to] = [sentOf(samples[Math.floor(samples.length / 2)]), sentOf(last)];
  const seconds = from && to ? (to.timestamp - from.timestamp) / 1_000 : 0;
  const sentBps = seconds > 0 ? (((to?.bytesSent ?? 0) - (from?.bytesSent ?? 0)) * 8) / seconds : 0;
  const estimate = pairs.at(-1)?.availableOutgoingBitrate ?? 0;
  const lost = of(last, 'remote-inbound-rtp')?.packetsLost;
  const sent = to?.packetsSent ?? 0;
  return {
    rttMs: times.length > 0 ? Math.max(1, Math.round(times[Math.floor(times.length / 2)] ?? 0)) : undefined,
    loss: lost === undefined || sent === 0 ? undefined : Math.min(1, Math.max(0, lost / sent)),
    upBps: Math.round(Math.max(sentBps, estimate)),
  };
}

/** Above these a connection is no longer good, and no longer fair, as the server sees it (`Quality` in sfu/src/io.rs). */
const RTT_MS = [300, 600] as const;
const LOSS = [0.03, 0.1] as const;
/** Below these a picture is small, and there is hardly one beside the sound. */
const UP_BPS = [900_000, 200_000] as const;

/** Judges what was measured; `words` puts the figures into a sentence. */
export function judge({ rttMs, loss, upBps }: Measured, words: (measured: Measured) => Say): Result {
  const found = words({ rttMs, loss, upBps });
  const beyond = (index: 0 | 1): Say | undefined => {
    if ((loss ?? 0) > LOSS[index]) return { key: 'check.fix.loss' };
    if ((rttMs ?? 0) > RTT_MS[index]) return { key: 'check.fix.far' };
    if (upBps < UP_BPS[index]) return { key: 'check.fix.up' };
    return undefined;
  };
  const bad = beyond(1);
  if (bad) return { state: 'failed', found, fix: bad };
  const poor = beyond(0);
  return poor ? { state: 'warning', found, fix: poor } : { state: 'good', found };
}

/** A picture that changes everywhere, which costs an encoder what a camera costs. */
function moving(): { track: MediaStreamTrack; stop(): void } {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [640, 360];
  const context = canvas.getContext('2d');
  const stream = canvas.captureStream(FRAMES);
  const track = stream.getVideoTracks()[0];
  if (!context || !track) throw new Error('this browser draws no pictures');
  let step = 0;
  const draw = () => {
    step++;
    for (let index = 0; index < 400; index++) {
      context.fillStyle = `hsl(${(index * 47 + step * 13) % 360} 70% ${30 + ((index * 7 + step * 5) % 50)}%)`;
      context.fillRect((index * 97 + step * 17) % 640, (index * 61 + step * 11) % 360, 36, 24);
    }
  };
  draw();
  const timer = setInterval(draw, 1_000 / FRAMES);
  return {
    track,
    stop() {
      clearInterval(timer);
      track.stop();
    },
  };
}
