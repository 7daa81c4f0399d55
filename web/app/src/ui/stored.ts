// Small things that a browser remembers for a person. Storage may be forbidden (private windows, embedded pages): then
// nothing is remembered, and nothing breaks.

/** What was stored under `key`, if anything. */
export function readStored(key: string, storage: 'local' | 'session' = 'local'): string | undefined {
  try {
    return area(storage).getItem(key) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Stores `value` under `key`, or forgets it. */
export function writeStored(key: string, value: string | undefined, storage: 'local' | 'session' = 'local'): void {
  try {
    if (value === undefined) area(storage).removeItem(key);
    else area(storage).setItem(key, value);
  } catch {
    // Forbidden or full: the choice holds for this page only.
  }
}

function area(storage: 'local' | 'session'): Storage {
  return storage === 'local' ? window.localStorage : window.sessionStorage;
}
