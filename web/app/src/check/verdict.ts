// The one sentence above the list, and what to tell whoever runs the network.
import type { MessageKey } from '../i18n';
import { WAYS, type Step, type StepId } from './steps';

/** What the whole test says. */
export interface Verdict {
  tone: 'good' | 'warning' | 'bad';
  title: MessageKey;
  text: MessageKey;
  /** What the network should let through, such as `UDP 203.0.113.7:7882`. */
  places: string[];
}

/** Sums up a test that is over. */
export function verdictOf(steps: readonly Step[]): Verdict {
  const state = (id: StepId) => steps.find((step) => step.id === id)?.state;
  const is = (tone: Verdict['tone'], name: Name, places: string[] = []): Verdict => ({
    tone,
    title: `check.verdict.${name}.title`,
    text: `check.verdict.${name}.text`,
    places,
  });
  const ways = WAYS.filter((id) => state(id) === 'good');
  const closed = steps.flatMap(({ state, result }) => (state === 'failed' && result?.place ? [result.place] : []));
  if (state('page') === 'failed') return is('bad', 'page');
  if (state('signalling') === 'failed') return is('bad', 'signalling');
  if (WAYS.every((id) => (state(id) ?? 'skipped') === 'skipped')) return is('warning', 'untested');
  if (ways.length === 0) return is('bad', 'no-way', closed);
  if (state('microphone') === 'failed' || state('camera') === 'failed') return is('warning', 'devices');
  if (state('quality') === 'failed') return is('bad', 'slow');
  if (state('quality') === 'warning') return is('warning', 'slow');
  if (ways[0] !== 'udp') return is('warning', 'detour', closed.slice(0, 1));
  if (state('microphone') === 'warning' || state('camera') === 'warning') return is('warning', 'quiet');
  return is('good', 'ready');
}

type Name = 'page' | 'signalling' | 'untested' | 'no-way' | 'devices' | 'slow' | 'detour' | 'quiet' | 'ready';
