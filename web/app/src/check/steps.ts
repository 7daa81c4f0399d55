// What is tested, in this order, and what came of it.
import type { MessageKey, Params } from '../i18n';

/** A way for media to the server. */
export type WayId = 'udp' | 'tcp' | 'relay-udp' | 'relay-tcp' | 'relay-tls';
/** One thing that is tested. */
export type StepId = 'page' | 'microphone' | 'camera' | 'signalling' | WayId | 'quality';
/** How it stands. `skipped` was not tested, and says why. */
export type StepState = 'waiting' | 'running' | 'good' | 'warning' | 'failed' | 'skipped';

/** The ways, best first. */
export const WAYS: readonly WayId[] = ['udp', 'tcp', 'relay-udp', 'relay-tcp', 'relay-tls'];

/** Words to be put into the page's language when they are shown. */
export interface Say {
  key: MessageKey;
  params?: Params;
}

/** What came of a test. */
export interface Result {
  state: Exclude<StepState, 'waiting' | 'running'>;
  /** What was found, and what it means. */
  found: Say;
  /** What helps. */
  fix?: Say;
  /** The address, port and protocol that a network must let through for it. */
  place?: string;
}

/** One row of the page. */
export interface Step {
  id: StepId;
  state: StepState;
  result?: Result;
}

/** The rows of a test that has not begun; `relays` are the ways of the relay that the server offers, as far as is known. */
export function newSteps(relays: readonly WayId[] = ['relay-udp', 'relay-tcp']): Step[] {
  const ids: StepId[] = ['page', 'microphone', 'camera', 'signalling', 'udp', 'tcp', ...relays, 'quality'];
  return ids.map((id) => ({ id, state: 'waiting' }));
}
