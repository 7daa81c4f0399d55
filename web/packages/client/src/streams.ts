import type { MediaLink } from './media.js';
import type { Kind } from './protocol.js';

/**
 * One MediaStream per slot, the same objects for the whole session: elements that play them go on playing when a new media
 * connection puts other tracks into them.
 */
export class SlotStreams {
  readonly audio: readonly MediaStream[];
  readonly #video: readonly MediaStream[];

  constructor(audioSlots: number, videoSlots: number) {
    const streams = (count: number) => Array.from({ length: count }, () => new MediaStream());
    this.audio = streams(audioSlots);
    this.#video = streams(videoSlots);
  }

  of(kind: Kind, index: number): MediaStream | undefined {
    return (kind === 'audio' ? this.audio : this.#video)[index];
  }

  /** Puts the tracks of a media connection into the streams. */
  fill(link: MediaLink): void {
    put(this.audio, link.received('audio'));
    put(this.#video, link.received('video'));
  }
}

function put(streams: readonly MediaStream[], tracks: readonly MediaStreamTrack[]): void {
  streams.forEach((stream, index) => {
    const track = tracks[index];
    for (const old of stream.getTracks()) {
      if (old !== track) stream.removeTrack(old);
    }
    if (track) stream.addTrack(track);
  });
}
