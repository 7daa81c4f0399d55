import type { LocalTrack } from './events.js';
import type { Source } from './protocol.js';
import { mustHave } from './publications.js';

export interface LocalTrackEvents {
  changed(source: Source, track: LocalTrack | undefined, by: string | undefined): void;
  /** The device was unplugged, or the browser's own button stopped a share. */
  deviceEnded(source: Source): void;
}

/** What this client sends, and whether it is muted: a muted track is disabled, so that nothing of it leaves the browser. */
export class LocalTracks {
  readonly #tracks = new Map<Source, LocalTrack>();

  constructor(private readonly events: LocalTrackEvents) {}

  get all(): ReadonlyMap<Source, LocalTrack> {
    return this.#tracks;
  }

  get(source: Source): LocalTrack | undefined {
    return this.#tracks.get(source);
  }

  mustGet(source: Source): LocalTrack {
    return mustHave(this.#tracks, source);
  }

  /** `by`: somebody else did it, or the server (an empty string). */
  set(source: Source, local: LocalTrack, by?: string): void {
    const before = this.#tracks.get(source);
    local.track.enabled = !local.muted;
    this.#tracks.set(source, local);
    if (before?.track !== local.track) this.#followEnd(source, local.track);
    this.events.changed(source, local, by);
  }

  setMuted(source: Source, muted: boolean, by?: string): void {
    const local = this.#tracks.get(source);
    if (local && local.muted !== muted) this.set(source, { ...local, muted }, by);
  }

  drop(source: Source, by?: string): void {
    if (this.#tracks.delete(source)) this.events.changed(source, undefined, by);
  }

  #followEnd(source: Source, track: MediaStreamTrack): void {
    const ended = () => {
      if (this.#tracks.get(source)?.track === track) this.events.deviceEnded(source);
    };
    track.addEventListener('ended', ended, { once: true });
  }
}
