// The keys of a replay. What is typed into a field stays there.
import { onScopeDispose } from 'vue';

/** What a key does. */
export type ReplayKey =
  { do: 'toggle' | 'fullscreen' | 'faster' | 'slower' | 'mute' } | { do: 'move'; seconds: number };

/** What a key does, if anything. */
export function replayKey(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'altKey'>): ReplayKey | undefined {
  if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
  switch (event.key.length === 1 ? event.key.toLowerCase() : event.key) {
    case ' ':
    case 'k':
      return { do: 'toggle' };
    case 'ArrowLeft':
      return { do: 'move', seconds: -5 };
    case 'ArrowRight':
      return { do: 'move', seconds: 5 };
    case 'j':
      return { do: 'move', seconds: -10 };
    case 'l':
      return { do: 'move', seconds: 10 };
    case '<':
      return { do: 'slower' };
    case '>':
      return { do: 'faster' };
    case 'f':
      return { do: 'fullscreen' };
    case 'm':
      return { do: 'mute' };
    default:
      return undefined;
  }
}

/** Listens until the scope ends. */
export function useReplayKeys(run: (key: ReplayKey) => void): void {
  const pressed = (event: KeyboardEvent) => {
    const target = event.target instanceof HTMLElement ? event.target : undefined;
    const found = replayKey(event);
    if (!found || event.defaultPrevented || target?.isContentEditable) return;
    if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return;
    if (target instanceof HTMLInputElement && target.type !== 'range') return;
    // A range of its own, such as the volume, takes the arrows; a button takes the space.
    if (target instanceof HTMLInputElement && found.do === 'move' && !target.classList.contains('seek')) return;
    if (event.key === ' ' && target?.closest('button, a, summary, [role="menu"]')) return;
    event.preventDefault();
    run(found);
  };
  window.addEventListener('keydown', pressed);
  onScopeDispose(() => window.removeEventListener('keydown', pressed));
}
