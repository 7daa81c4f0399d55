// Keys of the classroom.
import { onScopeDispose } from 'vue';

/** What a key does. */
export type ShortcutAction =
  'microphone' | 'camera' | 'screen' | 'hand' | 'chat' | 'people' | 'layout' | 'statistics' | 'help' | 'close';

/** The keys; `key` as in `KeyboardEvent.key`, in lower case. */
export const SHORTCUTS: readonly { key: string; shown: string; action: ShortcutAction }[] = [
  { key: 'm', shown: 'M', action: 'microphone' },
  { key: 'v', shown: 'V', action: 'camera' },
  { key: 's', shown: 'S', action: 'screen' },
  { key: 'h', shown: 'H', action: 'hand' },
  { key: 'c', shown: 'C', action: 'chat' },
  { key: 'p', shown: 'P', action: 'people' },
  { key: 'l', shown: 'L', action: 'layout' },
  { key: 'i', shown: 'I', action: 'statistics' },
  { key: '?', shown: '?', action: 'help' },
  { key: 'escape', shown: 'Esc', action: 'close' },
];

/** What of a `KeyboardEvent` decides. */
export type KeyPress = Pick<
  KeyboardEvent,
  'key' | 'ctrlKey' | 'metaKey' | 'altKey' | 'repeat' | 'isComposing' | 'defaultPrevented'
>;

/** The action of a key press; none with a modifier, while an input method composes, or while a key is held. */
export function actionOf(event: KeyPress, typing: boolean): ShortcutAction | undefined {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || event.defaultPrevented) {
    return undefined;
  }
  const action = SHORTCUTS.find(({ key }) => key === event.key.toLowerCase())?.action;
  return typing && action !== 'close' ? undefined : action;
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement)
    return true;
  return target instanceof HTMLInputElement && !['checkbox', 'radio', 'button', 'range'].includes(target.type);
}

/** Calls `run` for each shortcut until the scope ends. */
export function useShortcuts(run: (action: ShortcutAction) => void): void {
  const listener = (event: KeyboardEvent) => {
    const action = actionOf(event, isTyping(event.target));
    if (!action) return;
    event.preventDefault();
    run(action);
  };
  window.addEventListener('keydown', listener);
  onScopeDispose(() => window.removeEventListener('keydown', listener));
}
