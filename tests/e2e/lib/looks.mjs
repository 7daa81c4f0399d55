// Tests of a figure of time, on a machine that may be busy with something else.
import { AssertionError } from 'node:assert';
import { test } from 'node:test';

const LOOKS = 3;

/**
 * A test that ends in a figure of time or of a network's quality. What else the machine does can only spoil such a figure, so the best of
 * up to three looks counts, each with a room and pages of its own; a fault of ours spoils all three. Only a failed assertion gets another
 * look: whatever else throws fails at once.
 *
 * `timeout` in milliseconds is for one look; `close` puts away what a look has opened.
 */
export function looks(name, { timeout, close }, body) {
  test(name, { timeout: LOOKS * timeout }, async () => {
    for (let look = 1; ; look += 1) {
      try {
        await body();
        break;
      } catch (error) {
        if (!(error instanceof AssertionError) || look === LOOKS) throw error;
        console.log(`# look ${look} of ${LOOKS}: ${error.message.split('\n', 1)[0]}`);
      }
      await close?.();
    }
    await close?.();
  });
}
