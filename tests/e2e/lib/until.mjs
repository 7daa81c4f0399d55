// Waiting on conditions, never on luck.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks `probe` again and again until it gives something true, and gives that. After `within` milliseconds the error tells
 * what was waited for and what the probe gave last. A probe that throws counts as "not yet".
 */
export async function until(what, probe, { within = 15_000, every = 50 } = {}) {
  const deadline = Date.now() + within;
  let last;
  for (;;) {
    try {
      last = await probe();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      const seen = last instanceof Error ? (last.stack ?? last.message) : JSON.stringify(last);
      throw new Error(`not within ${within} ms: ${what}; last seen: ${seen}`);
    }
    await sleep(every);
  }
}

/** The p-th percentile (0..100), nearest rank. */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil((p / 100) * sorted.length) - 1))];
}
