// Keeps the screen on during a class: nobody touches a phone while listening.
import { onScopeDispose } from 'vue';

/** Holds a screen wake lock while the page is seen, until the scope ends. */
export function useAwake(): void {
  let lock: WakeLockSentinel | undefined;
  const ended = new AbortController();

  const isOver = () => ended.signal.aborted;

  async function hold(): Promise<void> {
    if (isOver() || document.hidden || !('wakeLock' in navigator)) return;
    // Refused on a low battery; a class works without.
    const sentinel = await navigator.wakeLock.request('screen').catch(() => undefined);
    if (isOver()) await sentinel?.release();
    else lock = sentinel;
  }

  // The browser releases the lock of a page that is hidden.
  const seen = () => void hold();
  document.addEventListener('visibilitychange', seen);
  void hold();
  onScopeDispose(() => {
    ended.abort();
    document.removeEventListener('visibilitychange', seen);
    void lock?.release();
  });
}
