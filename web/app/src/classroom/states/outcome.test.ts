import { LecternError } from '@lectern/client';
import { describe, expect, it } from 'vitest';

import { en } from '../../i18n/en';
import { outcomeOfConnection, outcomeOfError, outcomeView, type OutcomeKind } from './outcome';

describe('outcomes', () => {
  it('turn refusals of a join into what the person can do', () => {
    expect(outcomeOfError('token-expired')).toBe('expired');
    expect(outcomeOfError('unauthenticated')).toBe('wrong-link');
    expect(outcomeOfError('room-full')).toBe('room-full');
    expect(outcomeOfError('room-locked')).toBe('room-locked');
    expect(outcomeOfError('removed')).toBe('removed');
    expect(outcomeOfError('unreachable')).toBe('unreachable');
    expect(outcomeOfError('timeout')).toBe('unreachable');
    expect(outcomeOfError('media-unsupported')).toBe('unsupported');
    expect(outcomeOfError('unavailable')).toBe('busy');
    expect(outcomeOfError('internal')).toBe('failed');
  });

  it('follow the end of a session, and nothing before', () => {
    expect(outcomeOfConnection({ status: 'connected' })).toBeUndefined();
    expect(outcomeOfConnection({ status: 'reconnecting', cause: 'media' })).toBeUndefined();
    expect(outcomeOfConnection({ status: 'ended', reason: 'closed' })).toBe('ended');
    expect(outcomeOfConnection({ status: 'ended', reason: 'replaced' })).toBe('replaced');
    expect(outcomeOfConnection({ status: 'ended', reason: 'token-expired' })).toBe('expired');
    expect(outcomeOfConnection({ status: 'failed', error: new LecternError('room-full') })).toBe('room-full');
  });

  it('have words and a way on', () => {
    const kinds = Object.keys(en).flatMap((key) => /^outcome\.(.+)\.title$/u.exec(key)?.[1] ?? []) as OutcomeKind[];
    expect(kinds.length).toBeGreaterThan(10);
    for (const kind of kinds) {
      const view = outcomeView(kind);
      expect(en[view.text], kind).toBeTruthy();
      expect(view.actions, kind).toContain('home');
    }
    expect(outcomeView('replaced').actions).toContain('use-here');
    expect(outcomeView('left').actions).toContain('rejoin');
  });
});
