import type { CameraLayers, ScreenContent, VideoCodec } from './events.js';

/** The part of `RTCRtpCodec` that choosing needs. */
export interface Codec {
  mimeType: string;
  sdpFmtpLine?: string;
}

const MIME: Record<VideoCodec, string> = { vp8: 'video/vp8', vp9: 'video/vp9', h264: 'video/h264', av1: 'video/av1' };

/**
 * Codecs for a video slot: all four that somebody may send, in the profiles that are sent, and no redundancy that the server
 * does not use. Each profile more costs 200 bytes in each of the slots of an offer.
 */
export function receivedVideo<C extends Codec>(capabilities: readonly C[]): C[] {
  const wanted = new Set([...Object.values(MIME), 'video/rtx']);
  return capabilities.filter((codec) => wanted.has(codec.mimeType.toLowerCase()) && isPlain(codec));
}

/**
 * Codecs for a sending video m-line: only the preferred one, so that the answer's order cannot choose another and the
 * offer stays small; all when this browser does not have it.
 */
export function sentVideo<C extends Codec>(capabilities: readonly C[], preferred: VideoCodec): C[] {
  const all = receivedVideo(capabilities);
  const chosen = all.filter((codec) => is(codec, MIME[preferred]));
  return chosen.length ? [...chosen, ...all.filter((codec) => is(codec, 'video/rtx'))] : all;
}

/**
 * Opus, and after it redundant audio (RED, RFC 2198) where the browser has it: the server sends it to who loses packets. Behind
 * Opus it is received and not sent; {@link tuneOpus} lets the microphone send it.
 */
export function audioCodecs<C extends Codec>(capabilities: readonly C[]): C[] {
  return ['audio/opus', 'audio/red'].flatMap((mime) => capabilities.filter((codec) => is(codec, mime)));
}

function is(codec: Codec, mimeType: string): boolean {
  return codec.mimeType.toLowerCase() === mimeType;
}

/** 8 bits with 4:2:0 chroma, which every receiver has: profile 0 of VP9 and AV1; H264 in packets of mode 1. */
function isPlain({ mimeType, sdpFmtpLine = '' }: Codec): boolean {
  switch (mimeType.toLowerCase()) {
    case 'video/vp9':
      return !/profile-id=[1-9]/.test(sdpFmtpLine);
    case 'video/av1':
      return !/profile=[1-9]/.test(sdpFmtpLine);
    case 'video/h264':
      return sdpFmtpLine.includes('packetization-mode=1');
    default:
      return true;
  }
}

/** How small an encoding is and how much it may take. */
export interface LayerSize {
  scaleResolutionDownBy: number;
  maxBitrate: number;
}

/** Simulcast layers of a camera, smallest first: quarter, half and full size. */
const CAMERA_LAYERS = [
  { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
] as const;

/**
 * What a camera of fewer pixels is sent in. Of small pictures libwebrtc sends only the first encodings, as many as here, whatever size they were given: one of
 * 640x480 would be seen as 320x240 at most, and one of 320x240 as 80x60.
 */
const SMALL_CAMERAS: readonly { below: number; layers: readonly LayerSize[] }[] = [
  { below: 480 * 270, layers: [{ scaleResolutionDownBy: 1, maxBitrate: 250_000 }] },
  {
    below: 960 * 540,
    layers: [
      { scaleResolutionDownBy: 2, maxBitrate: 150_000 },
      { scaleResolutionDownBy: 1, maxBitrate: 700_000 },
    ],
  },
];

/** The layers that a camera of this size is sent in, smallest first; all three where it is not known. */
export function cameraLayers({ width = 0, height = 0 }: MediaTrackSettings): readonly LayerSize[] {
  const pixels = width * height;
  const small = pixels > 0 ? SMALL_CAMERAS.find(({ below }) => pixels < below) : undefined;
  return small?.layers ?? CAMERA_LAYERS.map(({ rid: _, ...size }) => size);
}

export type Encoding = RTCRtpEncodingParameters & { scalabilityMode?: string };

/** The part of a sender's parameters that is set here. */
export interface SendParameters {
  encodings: Encoding[];
  degradationPreference?: RTCDegradationPreference;
}

/**
 * Encodings of the camera, each with three temporal layers: the server halves the pictures a second of one receiver without
 * asking the sender for anything. VP9 and AV1 would turn several encodings without a mode into spatial layers of one stream. A browser
 * whose encoder has no temporal layers sends one.
 */
export function cameraEncodings(codec: VideoCodec, layers: CameraLayers): Encoding[] {
  if (layers === 'svc' && (codec === 'vp9' || codec === 'av1')) {
    return [{ maxBitrate: 2_300_000, scalabilityMode: 'L3T3_KEY' }];
  }
  return CAMERA_LAYERS.map((layer) => ({ ...layer, scalabilityMode: 'L1T3' }));
}

/** VP9 and AV1 would turn several encodings without a mode into spatial layers of one stream. */
function apart(codec: VideoCodec): { scalabilityMode?: string } {
  return codec === 'vp9' || codec === 'av1' ? { scalabilityMode: 'L1T1' } : {};
}

/**
 * Layers of a shared screen, lowest first. Text: both of full size, for text that was scaled down is no longer text; the lower one has
 * few pictures a second. A film: both move, and the lower one is half as large.
 */
const SCREEN_LAYERS: Record<ScreenContent, readonly Encoding[]> = {
  text: [
    { rid: 'l', scaleResolutionDownBy: 1, maxFramerate: 5, maxBitrate: 450_000 },
    { rid: 'h', scaleResolutionDownBy: 1, maxFramerate: 30, maxBitrate: 2_500_000 },
  ],
  motion: [
    { rid: 'l', scaleResolutionDownBy: 2, maxFramerate: 30, maxBitrate: 450_000 },
    { rid: 'h', scaleResolutionDownBy: 1, maxFramerate: 30, maxBitrate: 2_500_000 },
  ],
};

/** Encodings of a screen, as text until the track says otherwise. */
export function screenEncodings(codec: VideoCodec): Encoding[] {
  return SCREEN_LAYERS.text.map((layer) => ({ ...layer, ...apart(codec) }));
}

/** What a screen's track says that it shows: everything but film is to be read. */
export function screenContent(track: Pick<MediaStreamTrack, 'contentHint'>): ScreenContent {
  return track.contentHint === 'motion' ? 'motion' : 'text';
}

/** Sets a screen's sender to its content. */
export function tuneScreen(parameters: SendParameters, content: ScreenContent): void {
  const layers = SCREEN_LAYERS[content];
  // A browser that took one encoding only sends the best.
  const top = layers.length - parameters.encodings.length;
  parameters.encodings.forEach((encoding, index) => {
    const { rid: _, ...layer } = layers[index + top] ?? {};
    Object.assign(encoding, layer);
  });
  // Too little bandwidth or CPU costs a film its size and a text its pictures a second (W3C mst-content-hint, 4).
  parameters.degradationPreference = content === 'text' ? 'maintain-resolution' : 'balanced';
}
