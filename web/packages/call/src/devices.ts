/** Why there is no camera, microphone or screen. `cancelled` is a user who changed their mind. */
export type DeviceProblem = 'denied' | 'missing' | 'busy' | 'insecure' | 'cancelled';

export class DeviceError extends Error {
  constructor(
    readonly problem: DeviceProblem,
    options?: ErrorOptions,
  ) {
    super(problem, options);
  }
}

const VIDEO: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30, max: 30 },
};
const AUDIO: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export async function openCamera(): Promise<MediaStreamTrack> {
  return first(await open({ video: VIDEO }), 'video');
}

export async function openMicrophone(): Promise<MediaStreamTrack> {
  return first(await open({ audio: AUDIO }), 'audio');
}

export interface OpenDevices {
  microphone?: MediaStreamTrack;
  camera?: MediaStreamTrack;
  /** Why something is missing. */
  problem?: DeviceError;
}

/** Both with one question to the user; what is missing is left out, and the reason given. */
export async function openBoth(): Promise<OpenDevices> {
  try {
    const stream = await open({ audio: AUDIO, video: VIDEO });
    return { microphone: first(stream, 'audio'), camera: first(stream, 'video') };
  } catch (thrown) {
    const problem = thrown as DeviceError;
    if (problem.problem === 'denied' || problem.problem === 'insecure') return { problem };
    const [microphone, camera] = await Promise.allSettled([openMicrophone(), openCamera()]);
    return {
      ...(microphone.status === 'fulfilled' && { microphone: microphone.value }),
      ...(camera.status === 'fulfilled' && { camera: camera.value }),
      problem,
    };
  }
}

export async function openScreen(): Promise<{ screen: MediaStreamTrack; sound: MediaStreamTrack | undefined }> {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 15, max: 30 } },
      audio: true,
    });
    const screen = first(stream, 'video');
    screen.contentHint = 'detail';
    return { screen, sound: stream.getAudioTracks()[0] };
  } catch (thrown) {
    const error = deviceError(thrown);
    // The picker says the same whether the user or the system refused.
    throw error.problem === 'denied' ? new DeviceError('cancelled', { cause: thrown }) : error;
  }
}

/** Phones cannot share a screen. */
export function canShareScreen(): boolean {
  return typeof navigator.mediaDevices === 'object' && 'getDisplayMedia' in navigator.mediaDevices;
}

async function open(constraints: MediaStreamConstraints): Promise<MediaStream> {
  if (typeof navigator.mediaDevices !== 'object') throw new DeviceError('insecure');
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (thrown) {
    throw deviceError(thrown);
  }
}

function first(stream: MediaStream, kind: 'audio' | 'video'): MediaStreamTrack {
  const track = stream.getTracks().find((track) => track.kind === kind);
  if (!track) throw new DeviceError('missing');
  return track;
}

export function deviceError(thrown: unknown): DeviceError {
  if (thrown instanceof DeviceError) return thrown;
  const name = thrown instanceof Error ? thrown.name : '';
  const problems: Record<string, DeviceProblem> = {
    NotAllowedError: 'denied',
    SecurityError: 'denied',
    NotFoundError: 'missing',
    OverconstrainedError: 'missing',
    NotReadableError: 'busy',
    AbortError: 'busy',
  };
  return new DeviceError(problems[name] ?? 'missing', { cause: thrown });
}
