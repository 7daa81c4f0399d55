/** What a page goes through that a call has to know of. */
export interface PageEvents {
  /** The way to the server may be another now: connections that look well may be dead. */
  networkChanged(): void;
  /** The page goes away for good. */
  closing(): void;
}

/** Follows the page, if there is one; the answer stops that. */
export function followPage(events: PageEvents): () => void {
  if (typeof window === 'undefined') return () => undefined;
  const changed = () => events.networkChanged();
  const hidden = (event: PageTransitionEvent) => {
    if (!event.persisted) events.closing();
  };
  const network = (navigator as { connection?: EventTarget }).connection;
  window.addEventListener('online', changed);
  window.addEventListener('pagehide', hidden);
  network?.addEventListener('change', changed);
  return () => {
    window.removeEventListener('online', changed);
    window.removeEventListener('pagehide', hidden);
    network?.removeEventListener('change', changed);
  };
}
