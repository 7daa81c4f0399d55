import { participantOf } from './lesson.js';
import type { LessonState, ViewPicture } from './protocol.js';

/** Sizes are rounded up to this many pixels, so that a window that is being dragged does not ask for a new size at each frame. */
const STEP_PX = 16;
/** Sizes are 16-bit numbers on the wire. */
const LONGEST_SIDE_PX = 65_520;

/**
 * What to ask the server for: at most `slots` pictures, each once, in the order given, but pictures that exist before
 * those that are muted before those of present participants who may publish one soon.
 */
export function planView(
  shown: readonly ViewPicture[],
  state: LessonState | undefined,
  self: string | undefined,
  slots: number,
): ViewPicture[] {
  const ranked: ViewPicture[][] = [[], [], []];
  const seen = new Set<string>();
  for (const picture of shown) {
    const { participant, source } = picture;
    const key = `${source} ${participant}`;
    const shownTo = state && participantOf(state, participant);
    if (participant === self || seen.has(key) || !shownTo?.present) continue;
    seen.add(key);
    const track = shownTo.tracks[source];
    ranked[!track ? 2 : track.muted ? 1 : 0]?.push({
      participant,
      source,
      width: sizePx(picture.width),
      height: sizePx(picture.height),
    });
  }
  return ranked.flat().slice(0, slots);
}

function sizePx(size: number): number {
  if (!Number.isFinite(size)) return STEP_PX;
  return Math.min(LONGEST_SIDE_PX, Math.max(STEP_PX, Math.ceil(size / STEP_PX) * STEP_PX));
}

export function sameView(a: readonly ViewPicture[], b: readonly ViewPicture[]): boolean {
  return a.length === b.length && a.every((picture, index) => samePicture(picture, b[index]));
}

function samePicture(a: ViewPicture, b: ViewPicture | undefined): boolean {
  return a.participant === b?.participant && a.source === b.source && a.width === b.width && a.height === b.height;
}

/** Sends views at most every `intervalMs`, the first at once, and only those that differ from the last one sent. */
export class ViewSender {
  #sent: ViewPicture[] | undefined;
  #wanted: ViewPicture[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `send` gives false when it cannot send now; {@link reset} follows then. */
  constructor(
    private readonly send: (pictures: ViewPicture[]) => boolean,
    private readonly intervalMs = 100,
  ) {}

  want(pictures: ViewPicture[]): void {
    this.#wanted = pictures;
    if (this.#timer === undefined) this.#flush();
  }

  /** The server has forgotten what was sent: a new session. Sends again. */
  reset(): void {
    this.#sent = undefined;
    this.stop();
    this.#flush();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #flush(): void {
    this.#timer = undefined;
    if (sameView(this.#wanted, this.#sent ?? [])) return;
    if (!this.send(this.#wanted)) return;
    this.#sent = this.#wanted;
    this.#timer = setTimeout(() => this.#flush(), this.intervalMs);
  }
}
