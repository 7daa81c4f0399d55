// Small pictures of the own camera and screen for the operator's wall: sent only while somebody looks, and only of what is sent to the class and while
// the sign that says so can be seen.
import type { ThumbnailSource } from '@lectern/client';

/** How often a picture of each source is sent. */
export const EVERY_MS = 5_000;
/** The first is sent within this time, so that not all pages of a class send at once. */
export const FIRST_MS = 1_200;
/** What the server takes (docs/protocol.md, "Small pictures for the operator"). */
const SIDE = 256;
const BYTES = 12 * 1024;
/** Good enough to see who it is; less where a picture full of detail would be too long. */
const QUALITIES = [0.6, 0.4, 0.25, 0.1];

const SOURCES: readonly ThumbnailSource[] = ['camera', 'screen'];

/** What the sender needs of the page. */
export interface ThumbnailPorts {
  /** What is sent as this source now, and may be shown. */
  track(source: ThumbnailSource): MediaStreamTrack | undefined;
  /** A picture of it, in base64; nothing when there is none yet. */
  draw(source: ThumbnailSource, track: MediaStreamTrack): Promise<string | undefined>;
  /** Sends it; nothing takes the last one back. */
  send(source: ThumbnailSource, jpeg: string | undefined): Promise<void>;
  /** Nothing of the source will be drawn for now. */
  rest(source: ThumbnailSource): void;
}

/** Sends pictures while they are wanted. */
export class ThumbnailSender {
  readonly #sent = new Set<ThumbnailSource>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wanted = false;
  /** Counts rounds: what was drawn for an earlier one is not sent. */
  #round = 0;

  constructor(
    private readonly ports: ThumbnailPorts,
    private readonly random: () => number = Math.random,
  ) {}

  /** The operator looks, or does not any more. */
  want(wanted: boolean): void {
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#round++;
    clearTimeout(this.#timer);
    // The server has dropped what it had.
    this.#sent.clear();
    if (wanted) this.#timer = setTimeout(() => void this.#look(), this.random() * FIRST_MS);
    else for (const source of SOURCES) this.ports.rest(source);
  }

  /** Tracks, or whether the page is seen, have changed. */
  changed(): void {
    if (this.#wanted) void this.#look();
  }

  async #look(): Promise<void> {
    const round = ++this.#round;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), EVERY_MS);
    for (const source of SOURCES) {
      const track = this.ports.track(source);
      if (!track) {
        this.ports.rest(source);
        // A refusal: the server has dropped it by itself. A cut: it drops what is not sent anew.
        if (this.#sent.delete(source)) await this.ports.send(source, undefined).catch(() => undefined);
      } else {
        const jpeg = await this.ports.draw(source, track).catch(() => undefined);
        // Muted, hidden, or asked to stop while the picture was drawn.
        if (round !== this.#round) return;
        if (jpeg === undefined) continue;
        this.#sent.add(source);
        // A refusal or a cut: the next one comes soon.
        await this.ports.send(source, jpeg).catch(() => undefined);
      }
      if (round !== this.#round) return;
    }
  }
}

/** The size of a small picture: the same shape, as wide and high as the server takes it, and never larger than it was. */
export function smallSize(width: number, height: number): { width: number; height: number } {
  const scale = Math.min(1, SIDE / width, SIDE / height);
  const side = (length: number) => Math.max(1, Math.round(length * scale));
  return { width: side(width), height: side(height) };
}

/** A picture in base64 that the server takes, as good as that lets it be; nothing when none is short enough. */
export function encode(canvas: Pick<HTMLCanvasElement, 'toDataURL'>): string | undefined {
  for (const quality of QUALITIES) {
    const url = canvas.toDataURL('image/jpeg', quality);
    const base64 = url.slice(url.indexOf(',') + 1);
    // A browser that cannot write JPEG gives PNG.
    if (!url.startsWith('data:image/jpeg;base64,')) return undefined;
    if (base64.length <= (BYTES / 3) * 4) return base64;
  }
  return undefined;
}

/** Draws tracks into a canvas. */
export class Drawer {
  readonly #videos = new Map<ThumbnailSource, { track: MediaStreamTrack; video: HTMLVideoElement }>();
  readonly #canvas = document.createElement('canvas');

  async draw(source: ThumbnailSource, track: MediaStreamTrack): Promise<string | undefined> {
    const video = await this.#videoOf(source, track);
    const context = this.#canvas.getContext('2d');
    if (!context || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.videoWidth === 0) return undefined;
    const { width, height } = smallSize(video.videoWidth, video.videoHeight);
    Object.assign(this.#canvas, { width, height });
    context.drawImage(video, 0, 0, width, height);
    return encode(this.#canvas);
  }

  rest(source: ThumbnailSource): void {
    const kept = this.#videos.get(source);
    if (kept) kept.video.srcObject = null;
    this.#videos.delete(source);
  }

  async #videoOf(source: ThumbnailSource, track: MediaStreamTrack): Promise<HTMLVideoElement> {
    const kept = this.#videos.get(source);
    if (kept?.track === track) return kept.video;
    this.rest(source);
    const video = document.createElement('video');
    Object.assign(video, { muted: true, playsInline: true, srcObject: new MediaStream([track]) });
    this.#videos.set(source, { track, video });
    await video.play();
    return video;
  }
}
