// The test as plain text, for a message to whoever runs the network or the server.
import { t } from '../i18n';
import { sentences } from '../i18n/format';
import type { Say, Step } from './steps';
import type { Verdict } from './verdict';

const say = ({ key, params }: Say) => t(key, params);

/** All that was found, in the page's language. */
export function reportOf(
  steps: readonly Step[],
  verdict: Verdict,
  where: { page: string; browser: string; at: Date },
): string {
  const lines = [
    t('check.report.title'),
    `${where.at.toISOString()} · ${where.page}`,
    where.browser,
    '',
    sentences(t(verdict.title), t(verdict.text)),
    ...verdict.places.map((place) => `  ${place}`),
    '',
  ];
  for (const { id, state, result } of steps) {
    lines.push(`[${t(`check.state.${state}`)}] ${t(`check.step.${id}`)}${result ? `: ${say(result.found)}` : ''}`);
    if (result?.fix) lines.push(`    ${say(result.fix)}`);
  }
  return `${lines.join('\n')}\n`;
}
