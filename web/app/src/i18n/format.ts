// Times and numbers for people, in the page's language.
import { languageTag } from './index';

/** Sentences one after the other: Chinese puts no space between. */
export function sentences(first: string, second: string, language: string = languageTag.value): string {
  return language.startsWith('zh') ? first + second : `${first} ${second}`;
}

/** A time of day: `14:05`, `2:05 PM`. */
export function clockTime(at: Date, language: string = languageTag.value): string {
  return new Intl.DateTimeFormat(language, { hour: 'numeric', minute: '2-digit' }).format(at);
}

/** A day and its time: `Saturday, November 21, 2026 at 2:05 PM`; empty for what is no date. */
export function longDate(at: Date, language: string = languageTag.value): string {
  if (Number.isNaN(at.getTime())) return '';
  return new Intl.DateTimeFormat(language, { dateStyle: 'full', timeStyle: 'short' }).format(at);
}

/** A day: `November 21, 2026`; empty for what is no date. */
export function day(at: Date, language: string = languageTag.value): string {
  if (Number.isNaN(at.getTime())) return '';
  return new Intl.DateTimeFormat(language, { dateStyle: 'long' }).format(at);
}

/** A day of the year and its time, short: `Nov 21, 2:05 PM`; empty for what is no date. */
export function shortDate(at: Date, language: string = languageTag.value): string {
  if (Number.isNaN(at.getTime())) return '';
  const format = { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' } as const;
  return new Intl.DateTimeFormat(language, format).format(at);
}

/** How long something has gone on: `0:07`, `12:34`, `1:02:03`. Never negative: clocks of two machines differ. */
export function elapsed(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  const two = (value: number) => String(value).padStart(2, '0');
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor((seconds % 3_600) / 60);
  const rest = two(seconds % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** A span of time, coarsely: `40 sec`, `5 min`, `2 hr`, `30 days`. */
export function duration(seconds: number, language: string = languageTag.value): string {
  const [unit, size] =
    seconds < 60
      ? (['second', 1] as const)
      : seconds < 3_600
        ? (['minute', 60] as const)
        : seconds < 172_800
          ? (['hour', 3_600] as const)
          : (['day', 86_400] as const);
  return new Intl.NumberFormat(language, { style: 'unit', unit, maximumFractionDigits: 1 }).format(seconds / size);
}

/** How long ago or how soon, coarsely: `now`, `5 minutes ago`, `yesterday`, `in 12 hours`. */
export function ago(at: Date, now: Date, language: string = languageTag.value): string {
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  const seconds = Math.round((at.getTime() - now.getTime()) / 1_000);
  const distance = Math.abs(seconds);
  if (distance < 45) return format.format(0, 'second');
  if (distance < 3_600) return format.format(Math.round(seconds / 60), 'minute');
  if (distance < 86_400) return format.format(Math.round(seconds / 3_600), 'hour');
  return format.format(Math.round(seconds / 86_400), 'day');
}

/** A whole number with the language's grouping: `12,345`. */
export function count(value: number, language: string = languageTag.value): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(value);
}

/** A rate: `350 kbit/s`, `1.4 Mbit/s`. */
export function bitRate(bitsPerSecond: number, language: string = languageTag.value): string {
  const [value, unit] =
    bitsPerSecond < 999_500
      ? ([bitsPerSecond / 1_000, 'kbit/s'] as const)
      : ([bitsPerSecond / 1_000_000, 'Mbit/s'] as const);
  const digits = unit === 'Mbit/s' && value < 10 ? 1 : 0;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value)} ${unit}`;
}

/** An amount of data in megabytes, as those who sell it count: `0.4 MB`, `212 MB`. */
export function megabytes(bytes: number, language: string = languageTag.value): string {
  const value = bytes / 1_000_000;
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value)} MB`;
}

/** A ratio `0..1` in percent: `37%`. */
export function percent(ratio: number, language: string = languageTag.value): string {
  return new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 }).format(ratio);
}
