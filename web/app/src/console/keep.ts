// How long a recording is kept: by the server's rule, for ever, or up to a day.
import type { ConsoleRecording } from './api';

/** What can be chosen. */
export type KeepChoice = 'rule' | 'forever' | 'day';

/** What is chosen for a recording now. */
export function choiceOf({ keepUntil }: ConsoleRecording): KeepChoice {
  if (keepUntil === undefined || keepUntil === null) return 'rule';
  return keepUntil === 'forever' ? 'forever' : 'day';
}

/** A time as the day that it is here, for a date field; empty for what is no time. */
export function dayOf(time: string | null | undefined): string {
  const at = new Date(time ?? '');
  if (Number.isNaN(at.getTime())) return '';
  const two = (value: number) => String(value).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

/** What the API is told; undefined when the day is none, or has passed. */
export function keepUntilOf(choice: KeepChoice, day: string, now: Date): string | null | undefined {
  if (choice === 'rule') return null;
  if (choice === 'forever') return 'forever';
  // The whole day, as it is here.
  const end = new Date(`${day}T23:59:59.999`);
  return Number.isNaN(end.getTime()) || end <= now ? undefined : end.toISOString();
}
