import { afterEach, describe, expect, it } from 'vitest';

import { localeChoice } from '../i18n';
import { aboutOf, actOf, refusalOf } from './acts';
import type { AuditEntry } from './api';

const entry = (parts: Partial<AuditEntry>): AuditEntry => ({
  seq: 1,
  at: '2026-11-27T09:00:00.000Z',
  actor: 'participant',
  act: 'room.settings',
  outcome: 'ok',
  ...parts,
});

afterEach(() => {
  localeChoice.value = 'en';
});

describe('acts in words', () => {
  it('says what was changed', () => {
    const about = (detail: Record<string, unknown>) => aboutOf(entry({ room: 'knots', detail }));
    expect(about({ locked: true, studentMicrophones: false })).toBe('knots · Locked: on · Use the microphone: off');
    expect(about({ identity: 'ada', role: 'teacher', ttlSeconds: 7200 })).toBe(
      'knots · ada · Teacher · valid for 2 hr',
    );
    expect(about({ source: 'screen-audio', muted: true })).toBe('knots · Sound of the screen · muted');
    expect(about({ title: 'Knots', maxParticipants: 1200 })).toBe('knots · Title: Knots · at most 1,200 people');
    localeChoice.value = 'zh';
    expect(about({ source: 'microphone', muted: false })).toBe('knots · 麦克风 · 取消静音');
  });

  it('says why it was refused', () => {
    expect(refusalOf(entry({}))).toBeUndefined();
    expect(refusalOf(entry({ outcome: 'unauthenticated' }))).toBe('refused: wrong key or link');
  });

  it('leaves alone what a newer server may say', () => {
    const newer = entry({ act: 'room.paint', outcome: 'no-paint', detail: { colour: 'red', role: 'painter' } });
    expect([actOf(newer), refusalOf(newer), aboutOf(newer)]).toEqual([
      'room.paint',
      'refused: no-paint',
      'colour: red · painter',
    ]);
  });
});
