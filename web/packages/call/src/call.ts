import { LecternSession, type LecternError, type Source } from '@lectern/client';

import {
  DeviceError,
  deviceError,
  openBoth,
  openCamera,
  openMicrophone,
  openScreen,
  type DeviceProblem,
  type OpenDevices,
} from './devices.js';

/** What the element shows besides the session's own state. */
export interface CallView {
  changed(): void;
  /** A device or the server refuses something, in words for a moment. */
  problem(problem: DeviceProblem | 'refused'): void;
}

export interface CallOptions {
  url: string | undefined;
  token: string;
  videoSlots: number;
  microphone: boolean;
  camera: boolean;
}

/** A session together with the user's devices: what the buttons do. */
export class Call {
  readonly session: LecternSession;
  readonly #devices = new Map<Source, MediaStreamTrack>();
  readonly #busy = new Set<Source>();
  #over = false;

  constructor(
    private readonly options: CallOptions,
    private readonly view: CallView,
  ) {
    const { url, token, videoSlots } = options;
    this.session = new LecternSession({ token, videoSlots, ...(url !== undefined && { url }) });
    // Whatever is no longer sent is closed, so that its light is off too.
    this.session.on('local', ({ source, track }) => {
      if (!track) this.#close(source);
      view.changed();
    });
  }

  /** Joins, and asks for the devices at the same time: hearing the others does not wait for a permission. */
  async start(): Promise<void> {
    const devices = this.#openFirst();
    try {
      await this.session.join();
    } finally {
      void devices.then((opened) => this.#publishFirst(opened));
    }
  }

  /** Whether a device is being opened. */
  busy(source: Source): boolean {
    return this.#busy.has(source);
  }

  on(source: Source): boolean {
    const local = this.session.local(source);
    return local !== undefined && !local.muted;
  }

  toggleMicrophone(): Promise<void> {
    return this.#once('microphone', async () => {
      const local = this.session.local('microphone');
      if (local) await (local.muted ? this.session.unmute('microphone') : this.session.mute('microphone'));
      else await this.#publish('microphone', await openMicrophone());
    });
  }

  toggleCamera(): Promise<void> {
    return this.#once('camera', async () => {
      if (this.session.local('camera')) await this.session.unpublish('camera');
      else await this.#publish('camera', await openCamera());
    });
  }

  toggleScreen(): Promise<void> {
    return this.#once('screen', async () => {
      if (this.session.local('screen')) {
        await Promise.all([this.session.unpublish('screen'), this.session.unpublish('screen-audio')]);
        return;
      }
      const { screen, sound } = await openScreen();
      screen.addEventListener('ended', () => void this.session.unpublish('screen-audio').catch(() => undefined));
      try {
        await this.#publish('screen', screen);
      } catch (thrown) {
        sound?.stop();
        throw thrown;
      }
      if (sound && this.session.permissions.has('publish-screen-audio')) await this.#publish('screen-audio', sound);
      else sound?.stop();
    });
  }

  async leave(): Promise<void> {
    this.close();
    await this.session.leave();
  }

  /** Gives the devices back. */
  close(): void {
    this.#over = true;
    for (const source of [...this.#devices.keys()]) this.#close(source);
  }

  async #openFirst(): Promise<OpenDevices> {
    const { microphone, camera } = this.options;
    try {
      if (microphone && camera) return await openBoth();
      if (microphone) return { microphone: await openMicrophone() };
      return camera ? { camera: await openCamera() } : {};
    } catch (thrown) {
      return { problem: deviceError(thrown) };
    }
  }

  /** Publishes what this participant may; a student in a lecture may not, which is nothing to complain about. */
  async #publishFirst({ microphone, camera, problem }: OpenDevices): Promise<void> {
    const { permissions } = this.session;
    const publish = async (source: 'microphone' | 'camera', track: MediaStreamTrack | undefined) => {
      if (!track) return;
      if (this.#over || !permissions.has(`publish-${source}`)) track.stop();
      else await this.#publish(source, track);
    };
    const results = await Promise.allSettled([publish('microphone', microphone), publish('camera', camera)]);
    const useful = permissions.has('publish-microphone') || permissions.has('publish-camera');
    if (problem && useful) this.#tell(problem);
    for (const result of results) if (result.status === 'rejected') this.#tell(result.reason);
    this.view.changed();
  }

  async #publish(source: Source, track: MediaStreamTrack): Promise<void> {
    if (this.#over) {
      track.stop();
      return;
    }
    this.#devices.set(source, track);
    try {
      await this.session.publish(source, track);
    } catch (thrown) {
      this.#close(source);
      throw thrown;
    }
  }

  #close(source: Source): void {
    this.#devices.get(source)?.stop();
    this.#devices.delete(source);
  }

  async #once(source: Source, action: () => Promise<void>): Promise<void> {
    if (this.#busy.has(source)) return;
    this.#busy.add(source);
    this.view.changed();
    try {
      await action();
    } catch (thrown) {
      this.#tell(thrown);
    } finally {
      this.#busy.delete(source);
      this.view.changed();
    }
  }

  #tell(thrown: unknown): void {
    if (this.#over) return;
    if (thrown instanceof DeviceError) {
      if (thrown.problem !== 'cancelled') this.view.problem(thrown.problem);
      return;
    }
    const { code } = thrown as LecternError;
    // The session shows its own end.
    if (code === 'ended' || code === 'aborted') return;
    this.view.problem('refused');
  }
}
