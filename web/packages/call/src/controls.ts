import { make } from './dom.js';
import { icon, type IconName } from './icons.js';

export interface ControlLook {
  label: string;
  icon: IconName;
  /** A toggle's state; undefined for a plain button. */
  pressed?: boolean;
  visible: boolean;
  disabled: boolean;
}

/** A round button of the bar. */
export class Control {
  readonly element: HTMLButtonElement;
  #icon: IconName | undefined;

  constructor(kind: string, key: string | undefined, onClick: () => void) {
    this.element = make('button', { type: 'button', class: `control ${kind}` });
    if (key !== undefined) this.element.setAttribute('aria-keyshortcuts', key);
    this.element.addEventListener('click', onClick);
  }

  show(look: ControlLook): void {
    const { element } = this;
    if (this.#icon !== look.icon) {
      this.#icon = look.icon;
      element.replaceChildren(icon(look.icon));
    }
    element.setAttribute('aria-label', look.label);
    element.title = look.label;
    element.hidden = !look.visible;
    element.disabled = look.disabled;
    if (look.pressed === undefined) element.removeAttribute('aria-pressed');
    else element.setAttribute('aria-pressed', String(look.pressed));
  }
}
