// Tooltips: one element for the whole page, shown after a short rest of the pointer or on keyboard focus. A directive, so
// that no wrapper elements are needed: `v-tip="text"` or `v-tip="{ text, keys }"`.
import type { ObjectDirective } from 'vue';

/** What a tooltip says, and the key that does the same. */
export type Tip = string | { text: string; keys?: string };

const SHOW_AFTER_MS = 350;
const GAP_PX = 8;
const MARGIN_PX = 8;

interface Watched {
  tip: Tip;
  stop: () => void;
}

const watched = new WeakMap<HTMLElement, Watched>();
let bubble: HTMLElement | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let shownFor: HTMLElement | undefined;

function element(): HTMLElement {
  if (bubble) return bubble;
  bubble = document.createElement('div');
  bubble.className = 'ui-tip';
  bubble.setAttribute('aria-hidden', 'true'); // The control has the same words as its accessible name.
  return bubble;
}

function show(anchor: HTMLElement): void {
  const tip = watched.get(anchor)?.tip;
  if (!tip || !anchor.isConnected) return;
  const { text, keys } = typeof tip === 'string' ? { text: tip, keys: undefined } : tip;
  const node = element();
  node.textContent = text;
  if (keys) {
    const key = document.createElement('kbd');
    key.textContent = keys;
    node.append(key);
  }
  // A modal dialog is in the top layer: the tooltip has to be inside of it to be seen.
  (anchor.closest('dialog') ?? document.body).append(node);
  const at = anchor.getBoundingClientRect();
  const size = node.getBoundingClientRect();
  const above = at.top - size.height - GAP_PX;
  const left = at.left + at.width / 2 - size.width / 2;
  node.style.setProperty('top', `${above < MARGIN_PX ? at.bottom + GAP_PX : above}px`);
  node.style.setProperty(
    'left',
    `${Math.max(MARGIN_PX, Math.min(left, window.innerWidth - size.width - MARGIN_PX))}px`,
  );
  node.classList.add('shown');
  shownFor = anchor;
}

function hide(anchor: HTMLElement): void {
  clearTimeout(timer);
  if (shownFor !== anchor) return;
  shownFor = undefined;
  bubble?.classList.remove('shown');
  bubble?.remove();
}

/** `v-tip`. */
export const vTip: ObjectDirective<HTMLElement, Tip | undefined> = {
  mounted(anchor, { value }) {
    const later = (event: PointerEvent) => {
      if (event.pointerType === 'touch') return;
      clearTimeout(timer);
      timer = setTimeout(() => show(anchor), SHOW_AFTER_MS);
    };
    const focus = () => anchor.matches(':focus-visible') && show(anchor);
    const gone = () => hide(anchor);
    anchor.addEventListener('pointerenter', later);
    anchor.addEventListener('pointerleave', gone);
    anchor.addEventListener('pointerdown', gone);
    anchor.addEventListener('focus', focus);
    anchor.addEventListener('blur', gone);
    watched.set(anchor, {
      tip: value ?? '',
      stop: () => {
        anchor.removeEventListener('pointerenter', later);
        anchor.removeEventListener('pointerleave', gone);
        anchor.removeEventListener('pointerdown', gone);
        anchor.removeEventListener('focus', focus);
        anchor.removeEventListener('blur', gone);
      },
    });
  },
  updated(anchor, { value }) {
    const entry = watched.get(anchor);
    if (!entry) return;
    entry.tip = value ?? '';
    if (shownFor === anchor) show(anchor);
  },
  beforeUnmount(anchor) {
    hide(anchor);
    watched.get(anchor)?.stop();
  },
};
