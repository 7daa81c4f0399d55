// The own microphone and camera: asked for, chosen, lost, and why not.
import { computed, onScopeDispose, reactive, ref, shallowReactive } from 'vue';

import { readStored, writeStored } from '../../ui/stored';

/** What can be captured here; a screen is asked for anew each time and is not in this list. */
export type CaptureKind = 'microphone' | 'camera';

/** Why something cannot be captured. */
export type CaptureProblem =
  /** The person or the browser said no. */
  | 'denied'
  /** There is none. */
  | 'missing'
  /** Another program has it. */
  | 'busy'
  /** A page that came over plain http from another machine may not ask. */
  | 'insecure'
  /** It was pulled out, or the system stopped it. */
  | 'lost'
  | 'failed';

/** How one of them stands. */
export type Capture =
  | { status: 'off' }
  | { status: 'asking' }
  | { status: 'on'; track: MediaStreamTrack; stream: MediaStream }
  | { status: 'problem'; problem: CaptureProblem };

/** Devices and what is captured from them. */
export interface Captures {
  readonly microphone: Capture;
  readonly camera: Capture;
  readonly devices: { microphone: MediaDeviceInfo[]; camera: MediaDeviceInfo[]; speaker: MediaDeviceInfo[] };
  /** Device ids; empty for the system's default. */
  readonly chosen: { microphone: string; camera: string; speaker: string };
  readonly canChooseSpeaker: boolean;
  /** Starts capturing (again); the answer is the track, or undefined when there is a problem. */
  start(kind: CaptureKind): Promise<MediaStreamTrack | undefined>;
  stop(kind: CaptureKind): void;
  /** Takes another device; the answer is the new track when one is captured. */
  choose(kind: CaptureKind | 'speaker', deviceId: string): Promise<MediaStreamTrack | undefined>;
  refresh(): Promise<void>;
}

/** The problem behind an error of `getUserMedia` (Media Capture and Streams, 10.2). */
export function problemOf(error: unknown, secure: boolean): CaptureProblem {
  if (!secure) return 'insecure';
  switch (error instanceof Error || error instanceof DOMException ? error.name : '') {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
      return 'denied';
    case 'NotFoundError':
    case 'OverconstrainedError':
    case 'DevicesNotFoundError':
      return 'missing';
    case 'NotReadableError':
    case 'AbortError':
    case 'TrackStartError':
      return 'busy';
    case 'SecurityError':
      return 'insecure';
    default:
      return 'failed';
  }
}

/** Pages over plain http have no `mediaDevices` at all, whatever the types say. */
function mediaDevices(): MediaDevices | undefined {
  return typeof navigator === 'undefined' ? undefined : navigator.mediaDevices;
}

/** Whether this browser can share a screen; phones cannot. */
export function canShareScreen(): boolean {
  return 'getDisplayMedia' in (mediaDevices() ?? {});
}

const KEYS = { microphone: 'lectern.microphone', camera: 'lectern.camera', speaker: 'lectern.speaker' } as const;
const INPUT_KINDS = { microphone: 'audioinput', camera: 'videoinput', speaker: 'audiooutput' } as const;

function constraints(kind: CaptureKind, deviceId: string): MediaStreamConstraints {
  // `ideal`, so that a device that is gone gives the default one and not an error.
  const device = deviceId === '' ? {} : { deviceId: { ideal: deviceId } };
  return kind === 'microphone'
    ? { audio: { ...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true } }
    : { video: { ...device, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } } };
}

/** Keeps the own microphone and camera. They are released when the scope that made this ends. */
export function createCaptures(): Captures {
  const captures = shallowReactive<Record<CaptureKind, Capture>>({
    microphone: { status: 'off' },
    camera: { status: 'off' },
  });
  const devices = shallowReactive<Captures['devices']>({ microphone: [], camera: [], speaker: [] });
  const chosen = reactive({
    microphone: readStored(KEYS.microphone) ?? '',
    camera: readStored(KEYS.camera) ?? '',
    speaker: readStored(KEYS.speaker) ?? '',
  });
  // Two quick presses must not leave two cameras open: only the last attempt of a kind counts.
  const attempts = { microphone: 0, camera: 0 };
  const media = mediaDevices();
  const canChooseSpeaker = typeof HTMLMediaElement !== 'undefined' && 'setSinkId' in HTMLMediaElement.prototype;
  const secure = ref(typeof window === 'undefined' || window.isSecureContext);

  async function refresh(): Promise<void> {
    if (!media) return;
    const all = await media.enumerateDevices().catch(() => []);
    for (const kind of ['microphone', 'camera', 'speaker'] as const) {
      devices[kind] = all.filter((device) => device.kind === INPUT_KINDS[kind] && device.deviceId !== '');
    }
  }

  function release(kind: CaptureKind): void {
    const capture = captures[kind];
    if (capture.status === 'on') capture.track.stop();
  }

  async function start(kind: CaptureKind): Promise<MediaStreamTrack | undefined> {
    const attempt = ++attempts[kind];
    if (!media) {
      captures[kind] = { status: 'problem', problem: secure.value ? 'failed' : 'insecure' };
      return undefined;
    }
    if (captures[kind].status !== 'on') captures[kind] = { status: 'asking' };
    try {
      const stream = await media.getUserMedia(constraints(kind, chosen[kind]));
      const track = stream.getTracks()[0];
      if (!track) throw new DOMException('no track', 'NotFoundError');
      if (attempt !== attempts[kind]) {
        track.stop();
        return undefined;
      }
      release(kind);
      captures[kind] = { status: 'on', track, stream };
      track.addEventListener('ended', () => {
        const now = captures[kind];
        if (now.status === 'on' && now.track === track) captures[kind] = { status: 'problem', problem: 'lost' };
      });
      void refresh(); // Names of devices are told only after a permission was given.
      return track;
    } catch (error) {
      if (attempt !== attempts[kind]) return undefined;
      release(kind);
      captures[kind] = { status: 'problem', problem: problemOf(error, secure.value) };
      return undefined;
    }
  }

  function stop(kind: CaptureKind): void {
    attempts[kind]++;
    release(kind);
    captures[kind] = { status: 'off' };
  }

  async function choose(kind: CaptureKind | 'speaker', deviceId: string): Promise<MediaStreamTrack | undefined> {
    chosen[kind] = deviceId;
    writeStored(KEYS[kind], deviceId === '' ? undefined : deviceId);
    if (kind === 'speaker' || captures[kind].status === 'off') return undefined;
    return start(kind);
  }

  const changed = () => void refresh();
  media?.addEventListener('devicechange', changed);
  void refresh();
  onScopeDispose(() => {
    media?.removeEventListener('devicechange', changed);
    stop('microphone');
    stop('camera');
  });

  return reactive({
    microphone: computed(() => captures.microphone),
    camera: computed(() => captures.camera),
    devices,
    chosen,
    canChooseSpeaker,
    start,
    stop,
    choose,
    refresh,
  });
}
