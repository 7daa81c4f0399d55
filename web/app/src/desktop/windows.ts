import { computed, reactive } from 'vue';

import { fitted, moved, placed, resized, type Box, type Edge, type Space } from './geometry';

export type AppName = 'call' | 'about';

export interface DesktopWindow {
  app: AppName;
  box: Box;
  maximised: boolean;
  minimised: boolean;
}

const SIZES: Record<AppName, Space> = { call: { width: 920, height: 600 }, about: { width: 420, height: 400 } };

/** The open windows, lowest first; the last that is not minimised has the focus. */
export class Windows {
  readonly #state = reactive<{ stack: DesktopWindow[]; space: Space }>({ stack: [], space: { width: 0, height: 0 } });

  readonly stack = computed(() => this.#state.stack);
  readonly focused = computed(() => this.#state.stack.findLast(({ minimised }) => !minimised)?.app);

  find(app: AppName): DesktopWindow | undefined {
    return this.#state.stack.find((window) => window.app === app);
  }

  /** Opens, or brings back to the front. */
  open(app: AppName): void {
    const { stack, space } = this.#state;
    if (!this.find(app)) {
      stack.push({ app, box: placed(space, SIZES[app], stack.length), maximised: false, minimised: false });
    }
    this.raise(app);
  }

  close(app: AppName): void {
    this.#state.stack = this.#state.stack.filter((window) => window.app !== app);
  }

  raise(app: AppName): void {
    const window = this.find(app);
    if (!window) return;
    window.minimised = false;
    if (this.#state.stack.at(-1) === window) return;
    this.#state.stack = [...this.#state.stack.filter((other) => other !== window), window];
  }

  minimise(app: AppName): void {
    const window = this.find(app);
    if (window) window.minimised = true;
  }

  /** What a click in the dock does: open, bring to the front, or put away. */
  toggle(app: AppName): void {
    if (this.focused.value === app) this.minimise(app);
    else this.open(app);
  }

  maximise(app: AppName): void {
    const window = this.find(app);
    if (window) window.maximised = !window.maximised;
  }

  move(app: AppName, dx: number, dy: number): void {
    const window = this.find(app);
    if (window && !window.maximised) window.box = moved(window.box, dx, dy, this.#state.space);
  }

  resize(app: AppName, edge: Edge, dx: number, dy: number): void {
    const window = this.find(app);
    if (window && !window.maximised) window.box = resized(window.box, edge, dx, dy, this.#state.space);
  }

  /** Puts a window where it was at the start of a drag, plus the way since. */
  drag(app: AppName, start: Box, edge: Edge | undefined, dx: number, dy: number): void {
    const window = this.find(app);
    if (!window || window.maximised) return;
    const { space } = this.#state;
    window.box = edge ? resized(start, edge, dx, dy, space) : moved(start, dx, dy, space);
  }

  /** The space changed: all windows stay within reach. */
  fit(space: Space): void {
    this.#state.space = space;
    for (const window of this.#state.stack) window.box = fitted(window.box, space);
  }
}
