import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { en } from './en';
import { ago, clockTime, elapsed, sentences } from './format';
import { fill, pickLocale } from './index';
import { zh } from './zh';

const gaps = (text: string) => [...text.matchAll(/\{(\w+)\}/gu)].map((match) => match[1]).sort();

describe('dictionaries', () => {
  it('have the same keys', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  });

  it('have the same gaps under each key, and words', () => {
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(gaps(zh[key]), key).toEqual(gaps(en[key]));
      expect(en[key].trim(), key).not.toBe('');
      expect(zh[key].trim(), key).not.toBe('');
    }
  });

  it('have both forms of what is counted', () => {
    const keys = new Set(Object.keys(en));
    for (const key of keys) {
      if (key.endsWith('.one')) expect(keys, key).toContain(key.replace(/\.one$/u, '.other'));
    }
  });

  it('speak Chinese in the Chinese one: no Latin punctuation beside Chinese characters', () => {
    for (const [key, text] of Object.entries(zh))
      expect(text, key).not.toMatch(/\p{Script=Han}[,;:?!]|[,;:?!]\p{Script=Han}/u);
  });

  it('have no string that no page uses', () => {
    const source = sources(join(import.meta.dirname, '..'));
    for (const key of Object.keys(en)) {
      const family = key.replace(/\.(one|other)$/u, '');
      // `t(`role.${role}`)`: the family is used, its members are the compiler's.
      const prefix = `\`${key.slice(0, key.indexOf('.', 0) + 1)}`;
      const used = source.includes(`'${family}'`) || source.includes(prefix);
      expect(used, key).toBe(true);
    }
  });
});

function sources(folder: string): string {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter(
      (entry) => entry.isFile() && /\.(vue|ts)$/u.test(entry.name) && !/^(en|zh)\.ts$|\.test\.ts$/u.test(entry.name),
    )
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('\n');
}

describe('language', () => {
  it('is the first of the browser’s that we speak', () => {
    expect(pickLocale(['fr-FR', 'zh-Hant-TW', 'en'])).toBe('zh');
    expect(pickLocale(['en-GB', 'zh-CN'])).toBe('en');
    expect(pickLocale(['ZH'])).toBe('zh');
    expect(pickLocale(['de', 'fr'])).toBe('en');
    expect(pickLocale([])).toBe('en');
  });
});

describe('fill', () => {
  it('puts values into gaps and leaves unknown gaps', () => {
    expect(fill('{name} has {count} of {total}', { name: 'Ana', count: 0 })).toBe('Ana has 0 of {total}');
  });

  it('does not fill what was filled in', () => {
    expect(fill('{a}{b}', { a: '{b}', b: 'x' })).toBe('{b}x');
  });
});

describe('sentences', () => {
  it('have a space between them where the language has one', () => {
    expect(sentences('One.', 'Two.', 'en')).toBe('One. Two.');
    expect(sentences('一。', '二。', 'zh-CN')).toBe('一。二。');
  });
});

describe('times', () => {
  it('elapsed counts up and never below zero', () => {
    expect(elapsed(-5_000)).toBe('0:00');
    expect(elapsed(7_999)).toBe('0:07');
    expect(elapsed(754_000)).toBe('12:34');
    expect(elapsed(3_723_000)).toBe('1:02:03');
  });

  it('clock times follow the language', () => {
    const at = new Date(2026, 10, 21, 14, 5);
    expect(clockTime(at, 'en').replace(/\s/gu, ' ')).toBe('2:05 PM');
    expect(clockTime(at, 'zh-CN')).toBe('14:05');
  });

  it('says how long ago, and how soon', () => {
    const now = new Date('2026-11-21T12:00:00Z');
    const before = (seconds: number) => ago(new Date(now.getTime() - seconds * 1_000), now, 'en');
    expect(before(10)).toBe('now');
    expect(before(300)).toBe('5 minutes ago');
    expect(before(7_200)).toBe('2 hours ago');
    expect(before(86_400)).toBe('yesterday');
    expect(before(-3_600)).toBe('in 1 hour');
    expect(before(-86_400 * 3)).toBe('in 3 days');
  });
});
