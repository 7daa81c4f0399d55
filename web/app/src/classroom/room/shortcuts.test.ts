import { describe, expect, it } from 'vitest';

import { actionOf, SHORTCUTS, type KeyPress } from './shortcuts';

const press = (key: string, change: Partial<KeyPress> = {}): KeyPress => ({
  key,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  repeat: false,
  isComposing: false,
  defaultPrevented: false,
  ...change,
});

describe('shortcuts', () => {
  it('do what the list says, also with Caps Lock', () => {
    expect(actionOf(press('m'), false)).toBe('microphone');
    expect(actionOf(press('M'), false)).toBe('microphone');
    expect(actionOf(press('?'), false)).toBe('help');
    expect(actionOf(press('x'), false)).toBeUndefined();
    expect(new Set(SHORTCUTS.map(({ key }) => key)).size).toBe(SHORTCUTS.length);
  });

  it('leave the browser’s own, held keys, composing and typing alone', () => {
    expect(actionOf(press('s', { ctrlKey: true }), false)).toBeUndefined();
    expect(actionOf(press('c', { metaKey: true }), false)).toBeUndefined();
    expect(actionOf(press('m', { repeat: true }), false)).toBeUndefined();
    expect(actionOf(press('m', { isComposing: true }), false)).toBeUndefined();
    expect(actionOf(press('m'), true)).toBeUndefined();
    expect(actionOf(press('Escape'), true)).toBe('close');
  });
});
