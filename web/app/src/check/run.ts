// The test itself: one thing after the other, each with what was found and what helps.
import { browserFamily, permissionHelp } from '../classroom/media/help';
import type { CaptureKind, Captures } from '../classroom/media/capture';
import { bitRate, percent } from '../i18n/format';
import { beginCheck, CheckError, endCheck, type Session } from './api';
import { judge, measure, type Measured } from './quality';
import { relayOf, shortPlaces } from './sdp';
import { trySignalling } from './signalling';
import { newSteps, WAYS, type Result, type Say, type Step, type StepId, type WayId } from './steps';
import { tryWay, type Tried } from './ways';

/** How long a microphone is listened to. */
const LISTEN_MS = 5_000;
const LISTEN_EVERY_MS = 50;
/** Of a meter's `0..1`: what speech reaches, and a silent room does not. */
const HEARD = 0.25;
/** A camera shows its first picture within this time. */
const PICTURE_MS = 5_000;

/** What the test works with. */
export interface Tools {
  captures: Captures;
  /** The level of the microphone now, `0..1`. */
  level: () => number;
  /** Says how the rows stand, whenever that changes. */
  show: (steps: Step[]) => void;
}

/** Runs the whole test; the answer is how all rows ended. */
export async function runCheck({ captures, level, show }: Tools): Promise<Step[]> {
  let steps = newSteps();
  const set = (id: StepId, change: Partial<Step>) => {
    steps = steps.map((step) => (step.id === id ? { ...step, ...change } : step));
    show(steps);
  };
  const test = async (id: StepId, work: () => Promise<Result> | Result): Promise<Result> => {
    set(id, { state: 'running' });
    const result = await Promise.resolve()
      .then(work)
      .catch((error: unknown): Result => ({
        state: 'failed',
        found: { key: 'check.found.error', params: { error: String(error) } },
      }));
    set(id, { state: result.state, result });
    return result;
  };

  await test('page', testPage);
  await test('microphone', () => testMicrophone(captures, level));
  await test('camera', () => testCamera(captures));
  await test('signalling', testSignalling);

  const server = new Server();
  const first = await server.session();
  const relays = WAYS.filter((way) => way.startsWith('relay') && relayOf(first?.iceServers ?? [], way));
  if (relays.length > 0) {
    steps = newSteps(relays).map((fresh) => steps.find(({ id }) => id === fresh.id) ?? fresh);
  }
  let best: WayId | undefined;
  for (const { id } of steps.filter(({ id }) => WAYS.includes(id as WayId))) {
    const way = id as WayId;
    const { state } = await test(way, () => testWay(way, server));
    if (state === 'good') best ??= way;
  }
  await test('quality', () => testQuality(best, server));
  await server.end();
  return steps;
}

/** Keeps a session with the server, and begins another when its time is over. */
class Server {
  #session: Session | undefined;
  problem: CheckError['problem'] | undefined;

  async session(): Promise<Session | undefined> {
    try {
      this.#session ??= await beginCheck();
    } catch (error) {
      this.problem = error instanceof CheckError ? error.problem : 'unreachable';
    }
    return this.#session;
  }

  /** Does something with a session. */
  async with<T>(work: (session: Session) => Promise<T>): Promise<T> {
    for (let again = false; ; again = true) {
      const session = await this.session();
      if (!session) throw new CheckError(this.problem ?? 'unreachable');
      try {
        return await work(session);
      } catch (error) {
        if (again || !(error instanceof CheckError) || error.problem !== 'over') throw error;
        this.#session = undefined;
      }
    }
  }

  async end(): Promise<void> {
    if (this.#session) await endCheck(this.#session);
  }
}

function testPage(): Result {
  // Whatever the types say: pages over plain http have no devices, old browsers lack the rest.
  const { isSecureContext, RTCPeerConnection: rtc, WebSocket: socket } = window as Partial<Window & typeof globalThis>;
  if (!isSecureContext)
    return { state: 'failed', found: { key: 'check.found.insecure' }, fix: { key: 'check.fix.insecure' } };
  const media = navigator.mediaDevices as MediaDevices | undefined;
  if (!rtc || !socket || !media || !('replaceTrack' in RTCRtpSender.prototype)) {
    return { state: 'failed', found: { key: 'check.found.old-browser' }, fix: { key: 'check.fix.old-browser' } };
  }
  return { state: 'good', found: { key: 'check.found.page' } };
}

async function testMicrophone(captures: Captures, level: () => number): Promise<Result> {
  const track = await captures.start('microphone');
  if (!track) return problem(captures, 'microphone');
  const device = { device: track.label };
  const ends = performance.now() + LISTEN_MS;
  while (performance.now() < ends) {
    if (level() > HEARD) return { state: 'good', found: { key: 'check.found.microphone', params: device } };
    await new Promise((resolve) => setTimeout(resolve, LISTEN_EVERY_MS));
  }
  return { state: 'warning', found: { key: 'check.found.silent', params: device }, fix: { key: 'check.fix.silent' } };
}

async function testCamera(captures: Captures): Promise<Result> {
  const track = await captures.start('camera');
  const { camera } = captures;
  if (!track || camera.status !== 'on') return problem(captures, 'camera');
  const video = document.createElement('video');
  video.muted = true;
  video.srcObject = camera.stream;
  const shows = await new Promise<boolean>((resolve) => {
    setTimeout(() => resolve(false), PICTURE_MS);
    video.addEventListener('loadeddata', () => resolve(true));
    // A picture that may not play here may be loaded all the same.
    void video.play().catch(() => undefined);
  });
  const size = `${video.videoWidth} × ${video.videoHeight}`;
  video.srcObject = null;
  const device = { device: track.label };
  if (!shows)
    return { state: 'warning', found: { key: 'check.found.dark', params: device }, fix: { key: 'check.fix.dark' } };
  return { state: 'good', found: { key: 'check.found.camera', params: { ...device, size } } };
}

function problem(captures: Captures, kind: CaptureKind): Result {
  const capture = captures[kind];
  const what = capture.status === 'problem' ? capture.problem : 'failed';
  const help = permissionHelp(browserFamily(navigator.userAgent, navigator.maxTouchPoints));
  return {
    // Who has none may listen, and be heard or seen all the same.
    state: what === 'missing' ? 'warning' : 'failed',
    found: { key: `device.${kind}.${what}` },
    fix: { key: what === 'denied' ? help : `device.hint.${what}` },
  };
}

async function testSignalling(): Promise<Result> {
  const signalling = await trySignalling();
  if (signalling.reach === 'websocket') {
    return { state: 'good', found: { key: 'check.found.signalling', params: { ms: signalling.ms } } };
  }
  return {
    state: 'failed',
    found: { key: `check.found.signalling-${signalling.reach}` },
    fix: { key: `check.fix.signalling-${signalling.reach}`, params: { host: location.host } },
  };
}

const PROTOCOLS = {
  udp: 'UDP',
  tcp: 'TCP',
  'relay-udp': 'UDP',
  'relay-tcp': 'TCP',
  'relay-tls': 'TCP',
} as const satisfies Record<WayId, string>;

async function testWay(way: WayId, server: Server): Promise<Result> {
  let tried: Tried;
  try {
    tried = await server.with((session) => tryWay(way, session));
  } catch (error) {
    if (error instanceof CheckError) return untested(error.problem);
    throw error;
  }
  switch (tried.outcome) {
    case 'through':
      tried.connection.close();
      return tried.rttMs === undefined
        ? { state: 'good', found: { key: 'check.found.way' } }
        : { state: 'good', found: { key: 'check.found.way-time', params: { ms: tried.rttMs } } };
    case 'absent':
      return { state: 'skipped', found: { key: way === 'tcp' ? 'check.found.no-tcp' : 'check.found.no-relay' } };
    case 'closed': {
      const place = `${PROTOCOLS[way]} ${shortPlaces(tried.places)}`;
      if (tried.relayed) {
        return { state: 'failed', found: { key: 'check.found.relay-ends' }, fix: { key: 'check.fix.relay-ends' } };
      }
      const kind = way.startsWith('relay') ? 'relay' : way === 'tcp' ? 'tcp' : 'udp';
      return {
        state: 'failed',
        found: { key: 'check.found.closed', params: { place } },
        fix: { key: `check.fix.${kind}`, params: { place } },
        place,
      };
    }
  }
}

function untested(problem: CheckError['problem']): Result {
  if (problem === 'off') return { state: 'skipped', found: { key: 'check.found.off' }, fix: { key: 'check.fix.off' } };
  if (problem === 'busy')
    return { state: 'skipped', found: { key: 'check.found.busy' }, fix: { key: 'check.fix.busy' } };
  return { state: 'failed', found: { key: 'check.found.unreachable' }, fix: { key: 'check.fix.unreachable' } };
}

async function testQuality(best: WayId | undefined, server: Server): Promise<Result> {
  if (best === undefined) return { state: 'skipped', found: { key: 'check.found.no-way' } };
  const tried = await server.with((session) => tryWay(best, session));
  if (tried.outcome !== 'through')
    return { state: 'failed', found: { key: 'check.found.broken' }, fix: { key: 'check.fix.loss' } };
  try {
    return judge(await measure(tried.connection, tried.sender), figures);
  } finally {
    tried.connection.close();
  }
}

function figures({ rttMs, loss, upBps }: Measured): Say {
  return {
    key: 'check.found.quality',
    params: {
      up: bitRate(upBps),
      rtt: rttMs === undefined ? '–' : `${rttMs} ms`,
      loss: loss === undefined ? '–' : percent(loss),
    },
  };
}
