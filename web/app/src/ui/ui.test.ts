import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { AVATAR_COLOURS, avatarColour, initials } from './avatar';
import { dismissKey, toast, toasts } from './toasts';

describe('initials', () => {
  it.each([
    ['Ana Souza', 'AS'],
    ['ana', 'A'],
    ['  Maximilian von Hohenberg ', 'MH'],
    ['王小明', '小明'],
    ['李', '李'],
    ['👩‍🏫 Kim', '👩‍🏫K'],
    ['', '?'],
    ['   ', '?'],
  ])('%j', (name, expected) => expect(initials(name)).toBe(expected));
});

describe('avatarColour', () => {
  it('is stable, in range, and spreads over all colours', () => {
    const counts = new Array<number>(AVATAR_COLOURS).fill(0);
    for (let index = 0; index < 1_000; index++) {
      const colour = avatarColour(`student-${index}`);
      expect(avatarColour(`student-${index}`)).toBe(colour);
      counts[colour] = (counts[colour] ?? 0) + 1;
    }
    for (const count of counts) expect(count).toBeGreaterThan(50);
  });
});

describe('toasts', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    vi.runAllTimers();
    vi.useRealTimers();
  });

  it('go away by themselves, later when there is something to press', () => {
    toast({ text: 'a' });
    toast({ text: 'b', action: { label: 'x', run: () => undefined } });
    vi.advanceTimersByTime(5_001);
    expect(toasts.map(({ text }) => text)).toEqual(['b']);
    vi.advanceTimersByTime(5_000);
    expect(toasts).toEqual([]);
  });

  it('replace the one with the same key, and are at most three', () => {
    toast({ text: 'old', key: 'k' });
    toast({ text: 'new', key: 'k' });
    expect(toasts.map(({ text }) => text)).toEqual(['new']);
    for (const text of ['1', '2', '3']) toast({ text });
    expect(toasts.map(({ text }) => text)).toEqual(['1', '2', '3']);
    toast({ text: 'answered', key: 'k' });
    dismissKey('k');
    expect(toasts.map(({ text }) => text)).not.toContain('answered');
  });
});

describe('colours', () => {
  const css = readFileSync(join(import.meta.dirname, 'styles/tokens.css'), 'utf8');
  const themes = {
    light: block(":root,\n:root[data-theme='light'] {"),
    dark: block(":root[data-theme='dark'] {"),
  };

  function block(start: string): Map<string, string> {
    const from = css.indexOf(start);
    expect(from, start).toBeGreaterThan(0);
    const body = css.slice(from, css.indexOf('\n}', from));
    return new Map([...body.matchAll(/(--[\w-]+): (#[\da-f]{6});/gu)].map((match) => [match[1] ?? '', match[2] ?? '']));
  }

  /** Contrast of two colours, WCAG 2.2, 1.4.3. */
  function contrast(a: string, b: string): number {
    const luminance = (hex: string) => {
      const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
        const value = parseInt(hex.slice(at, at + 2), 16) / 255;
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  }

  const PAIRS = [
    ['--text', '--bg'],
    ['--text', '--surface'],
    ['--text-2', '--surface'],
    ['--text-2', '--bg'],
    ['--text-3', '--surface'],
    ['--text-3', '--bg-stage'],
    ['--warn-text', '--bg-stage'],
    ['--text-3', '--bg'],
    ['--text-3', '--surface-2'],
    ['--on-accent', '--accent'],
    ['--accent-text', '--accent-soft'],
    ['--accent-text', '--surface'],
    ['--danger-text', '--danger-soft'],
    ['--on-danger', '--danger'],
    ['--warn-text', '--warn-soft'],
    ['--on-hand', '--hand'],
  ] as const;

  it.each(Object.keys(themes) as (keyof typeof themes)[])('of the %s theme can be read (4.5 : 1)', (theme) => {
    for (const [text, ground] of PAIRS) {
      const [a, b] = [themes[theme].get(text), themes[theme].get(ground)];
      if (a === undefined || b === undefined) throw new Error(`${text} or ${ground} is missing`);
      expect(contrast(a, b), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    }
  });
});
