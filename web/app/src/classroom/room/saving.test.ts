// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { effectScope, type EffectScope } from 'vue';

import { ScriptedSession } from '../../preview/session';
import { dismiss, toasts } from '../../ui/toasts';
import { createRoom } from './room';
import { createSaving, parseBudget, parseReceiving } from './saving';

let scope: EffectScope;
beforeEach(() => {
  localStorage.clear();
  scope = effectScope();
});
afterEach(() => {
  scope.stop();
  for (const note of [...toasts]) dismiss(note.id);
});

function saving(session: ScriptedSession, open = () => undefined) {
  const made = scope.run(() => createSaving(createRoom(session), open));
  if (!made) throw new Error('the scope runs');
  return made;
}

describe('how much to receive', () => {
  it('is remembered, and asked for in the next class', () => {
    const session = new ScriptedSession('me', 'student');
    saving(session).choose({ mode: 'data-saver', budgetMegabytes: 200 });
    expect(session.receiving).toEqual({ mode: 'data-saver', budgetMegabytes: 200 });
    const next = new ScriptedSession('me', 'student');
    expect(saving(next).chosen.value).toEqual({ mode: 'data-saver', budgetMegabytes: 200 });
    expect(next.receiving).toEqual({ mode: 'data-saver', budgetMegabytes: 200 });
    saving(next).choose({ mode: 'normal' });
    expect(localStorage.length).toBe(0);
  });

  it('is everything when what was stored is nonsense', () => {
    for (const text of [undefined, '', '{', 'null', '[]', '{"mode":"all"}', '{"budgetMegabytes":"many"}']) {
      expect(parseReceiving(text), text).toEqual({ mode: 'normal' });
    }
    expect(parseReceiving('{"mode":"audio-only","budgetMegabytes":1e9}')).toEqual({
      mode: 'audio-only',
      budgetMegabytes: 100_000,
    });
  });

  it('takes a budget of at least one megabyte', () => {
    expect(['', '0', '-3', 'x', '  '].map(parseBudget)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect([' 300 ', '1.4', '999999'].map(parseBudget)).toEqual([300, 1, 100_000]);
  });

  it('is told when the budget changes it, once each time', () => {
    const session = new ScriptedSession('me', 'student');
    saving(session);
    session.use({ sentBytes: 9, receivedBytes: 0, mode: 'normal' });
    expect(toasts).toHaveLength(0);
    session.use({ sentBytes: 9, receivedBytes: 0, mode: 'data-saver', budgetMegabytes: 1, reason: 'budget' });
    session.use({ sentBytes: 10, receivedBytes: 0, mode: 'data-saver', budgetMegabytes: 1, reason: 'budget' });
    expect(toasts.map(({ text }) => text)).toEqual(['Most of the budget is used: pictures are small now']);
    session.use({ sentBytes: 11, receivedBytes: 0, mode: 'audio-only', budgetMegabytes: 1, reason: 'budget' });
    expect(toasts.map(({ text }) => text)).toEqual(['The budget is used up: sound only']);
    session.use({ sentBytes: 11, receivedBytes: 0, mode: 'audio-only' });
    expect(toasts).toHaveLength(1);
  });
});
