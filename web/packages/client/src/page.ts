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
  const network = (navigator as { connection?: EventTarget & { type?: string } }).connection;
  // It also tells of each new estimate of how fast the network is, every few seconds on some.
  let type = network?.type;
  const estimated = () => {
    if (network?.type !== type) changed();
    type = network?.type;
  };
  window.addEventListener('online', changed);
  window.addEventListener('pagehide', hidden);
  network?.addEventListener('change', estimated);
  return () => {
    window.removeEventListener('online', changed);
    window.removeEventListener('pagehide', hidden);
    network?.removeEventListener('change', estimated);
  };
}
