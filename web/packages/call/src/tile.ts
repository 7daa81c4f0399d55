import { hue, initials } from './arrange.js';
import { make, setText } from './dom.js';
import { icon } from './icons.js';
import type { Rect } from './layout.js';
import type { Texts } from './texts.js';

/** Smaller tiles have smaller labels. */
const SMALL_PX = 190;

export interface TileLook {
  /** What the label says. */
  name: string;
  /** Whose initials stand for a picture. */
  person: string;
  stream: MediaStream | undefined;
  muted: boolean;
  speaking: boolean;
  weak: boolean;
  /** Why the picture is less than it could be. */
  why: string | undefined;
  /** Nothing arrives: the initials stay, with the reason. */
  paused: boolean;
  mirrored: boolean;
  /** A screen is shown whole; a face fills its tile. */
  whole: boolean;
}

/** The picture of a participant, or their initials. */
export class Tile {
  readonly element: HTMLElement;
  rect: Rect | undefined;
  readonly #video = make('video', { playsinline: '', autoplay: '' });
  readonly #letters = make('span');
  readonly #name = make('span', { class: 'name' });
  readonly #muted = make('span', { class: 'off' }, icon('microphoneOff'));
  readonly #weak = make('span', { class: 'weak' }, icon('signal'));
  readonly #reduced = make('span', { class: 'reduced' }, icon('reduced'));
  readonly #why = make('p', { class: 'why' });

  constructor(identity: string) {
    this.#video.muted = true;
    this.#video.disablePictureInPicture = true;
    const colour = hue(identity);
    this.#letters.style.background = `linear-gradient(150deg, hsl(${colour} 42% 44%), hsl(${colour + 28} 46% 34%))`;
    const avatar = make('div', { class: 'avatar', 'aria-hidden': 'true' }, this.#letters, this.#why);
    const label = make(
      'div',
      { class: 'label', 'aria-hidden': 'true' },
      this.#muted,
      this.#weak,
      this.#reduced,
      this.#name,
    );
    this.element = make(
      'div',
      { class: 'tile', role: 'listitem', 'data-identity': identity },
      avatar,
      this.#video,
      label,
    );
  }

  show(look: TileLook, texts: Texts): void {
    const { name, person, stream, muted, speaking, weak, why, paused, mirrored, whole } = look;
    setText(this.#letters, initials(person));
    setText(this.#name, name);
    this.#muted.hidden = !muted;
    this.#weak.hidden = !weak;
    this.#reduced.hidden = why === undefined;
    setText(this.#why, paused ? (why ?? '') : '');
    this.element.title = why ?? '';
    this.element.classList.toggle('speaking', speaking);
    this.element.classList.toggle('mirrored', mirrored);
    this.element.classList.toggle('whole', whole);
    const said = [name, muted && texts.muted, speaking && texts.speaking, weak && texts.poor, why]
      .filter(Boolean)
      .join(', ');
    if (this.element.getAttribute('aria-label') !== said) this.element.setAttribute('aria-label', said);
    this.#play(paused ? undefined : stream);
  }

  place(rect: Rect, corner: boolean): void {
    const before = this.rect;
    this.element.classList.toggle('corner', corner);
    if (before?.x === rect.x && before.y === rect.y && before.width === rect.width && before.height === rect.height)
      return;
    this.rect = rect;
    const { style } = this.element;
    style.left = `${rect.x}px`;
    style.top = `${rect.y}px`;
    style.width = `${rect.width}px`;
    style.height = `${rect.height}px`;
    this.element.toggleAttribute('data-small', rect.width < SMALL_PX);
  }

  remove(): void {
    this.#play(undefined);
    this.element.remove();
  }

  #play(stream: MediaStream | undefined): void {
    if (this.#video.srcObject === (stream ?? null)) return;
    this.element.classList.remove('playing');
    this.#video.srcObject = stream ?? null;
    if (!stream) return;
    const shown = () => {
      if (this.#video.srcObject === stream) this.element.classList.add('playing');
    };
    // The first frame of this stream, not the moment when playing was allowed: until then the initials stay.
    if ('requestVideoFrameCallback' in this.#video) this.#video.requestVideoFrameCallback(shown);
    else (this.#video as HTMLVideoElement).addEventListener('loadeddata', shown, { once: true });
    this.#video.play().catch(() => undefined);
  }
}
