// Short notes that come and go: at most a few at once, each read out once by assistive technology.
import { shallowReactive } from 'vue';

import type { IconName } from './icons';

/** A note. */
export interface Toast {
  id: number;
  text: string;
  icon?: IconName;
  tone: 'plain' | 'good' | 'warn' | 'bad';
  /** A button in it. */
  action?: { label: string; run: () => void };
}

const MOST = 3;
const SHOWN_MS = 5_000;
/** Somebody has to read and press. */
const SHOWN_WITH_ACTION_MS = 9_000;

let nextId = 1;
const shown = shallowReactive<Toast[]>([]);
const keys = new Map<string, number>();

/** The notes now shown, oldest first. */
export const toasts: readonly Toast[] = shown;

/** Shows a note. With a `key`, it replaces the note that has the same key. */
export function toast(note: Omit<Toast, 'id' | 'tone'> & { tone?: Toast['tone']; key?: string }): void {
  const { key, ...rest } = note;
  const id = nextId++;
  if (key !== undefined) {
    const before = keys.get(key);
    if (before !== undefined) dismiss(before);
    keys.set(key, id);
  }
  shown.push({ tone: 'plain', ...rest, id });
  while (shown.length > MOST) shown.shift();
  setTimeout(() => dismiss(id), note.action ? SHOWN_WITH_ACTION_MS : SHOWN_MS);
}

/** Takes away the note with this key: what it asked for has been done. */
export function dismissKey(key: string): void {
  const id = keys.get(key);
  if (id !== undefined) dismiss(id);
}

/** Takes a note away. */
export function dismiss(id: number): void {
  const at = shown.findIndex((note) => note.id === id);
  if (at >= 0) shown.splice(at, 1);
}
