import { make } from './dom.js';

/** Plays the audio slots. Browsers may refuse sound before the user did anything on the page. */
export class Sound {
  #players: HTMLAudioElement[] = [];

  constructor(
    private readonly root: ShadowRoot,
    private readonly onBlocked: (blocked: boolean) => void,
  ) {}

  start(streams: readonly MediaStream[]): void {
    this.stop();
    this.#players = streams.map((stream) => {
      const player = make('audio', { autoplay: '' });
      player.srcObject = stream;
      this.root.append(player);
      return player;
    });
    void this.resume();
  }

  /** Tries to play; has to be called from a click when it was blocked. */
  async resume(): Promise<void> {
    const results = await Promise.allSettled(this.#players.map((player) => player.play()));
    const blocked = results.some(
      (result) => result.status === 'rejected' && (result.reason as Error).name === 'NotAllowedError',
    );
    this.onBlocked(blocked);
  }

  stop(): void {
    for (const player of this.#players) {
      player.srcObject = null;
      player.remove();
    }
    this.#players = [];
  }
}
