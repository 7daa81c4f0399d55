// The words of the pages. Every string is in a typed dictionary per language; a missing or unknown key does not compile.
import { computed, ref, watchEffect, type Ref } from 'vue';

import { readStored, writeStored } from '../ui/stored';
import { en } from './en';
import { zh } from './zh';

/** The name of a string. */
export type MessageKey = keyof typeof en;
/** The name of a string that has one form per plural category: `x.one` and `x.other`. */
export type PluralKey = MessageKey extends infer K ? (K extends `${infer Base}.other` ? Base : never) : never;
/** A language that we speak. */
export type Locale = 'en' | 'zh';
/** What the person chose. */
export type LocaleChoice = 'system' | Locale;
/** What goes into the `{gaps}` of a string. */
export type Params = Readonly<Record<string, string | number>>;

const KEY = 'lectern.locale';
const DICTIONARIES: Record<Locale, Record<MessageKey, string>> = { en, zh };
const LANGUAGE_TAGS: Record<Locale, string> = { en: 'en', zh: 'zh-CN' };

/** The first of the browser's languages that we speak, else English. */
export function pickLocale(languages: readonly string[]): Locale {
  for (const language of languages) {
    const primary = language.toLowerCase().split('-')[0];
    if (primary === 'zh') return 'zh';
    if (primary === 'en') return 'en';
  }
  return 'en';
}

function parse(text: string | undefined): LocaleChoice {
  return text === 'en' || text === 'zh' ? text : 'system';
}

const choice: Ref<LocaleChoice> = ref('system');
const system: Ref<Locale> = ref('en');

/** The language that the page speaks now. */
export const locale = computed<Locale>(() => (choice.value === 'system' ? system.value : choice.value));

/** The BCP 47 tag of the language that the page speaks now, for `Intl`. */
export const languageTag = computed(() => LANGUAGE_TAGS[locale.value]);

/** Follows the browser and the choice from now on; called once by each page before it mounts. */
export function startI18n(): void {
  choice.value = parse(readStored(KEY));
  system.value = pickLocale(navigator.languages);
  window.addEventListener('languagechange', () => (system.value = pickLocale(navigator.languages)));
  watchEffect(() => {
    document.documentElement.lang = languageTag.value;
  });
}

/** The choice of language; writing it changes the page at once and is remembered. */
export const localeChoice = computed<LocaleChoice>({
  get: () => choice.value,
  set: (value) => {
    choice.value = value;
    writeStored(KEY, value);
  },
});

/** Puts `params` into the `{gaps}` of `text`. A gap without a value stays as it is, so that it is seen in tests. */
export function fill(text: string, params: Params): string {
  return text.replace(/\{(\w+)\}/gu, (gap, name: string) => {
    const value = params[name];
    return value === undefined ? gap : String(value);
  });
}

/** The string of this name in the page's language. */
export function t(key: MessageKey, params: Params = {}): string {
  return fill(DICTIONARIES[locale.value][key], params);
}

/** The string of this name in the form that fits `count`; `{count}` is filled too. */
export function tn(key: PluralKey, count: number, params: Params = {}): string {
  const form = new Intl.PluralRules(languageTag.value).select(count) === 'one' ? 'one' : 'other';
  return t(`${key}.${form}` as MessageKey, { count, ...params });
}
