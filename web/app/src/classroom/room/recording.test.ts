// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope, type EffectScope } from 'vue';

import { ScriptedSession } from '../../preview/session';
import { SETTINGS } from '../test/people';
import { inclusionOf, useRecording, type Recording } from './recording';
import { createRoom } from './room';

let scope: EffectScope;
beforeEach(() => {
  vi.useFakeTimers();
  scope = effectScope();
});
afterEach(() => {
  scope.stop();
  vi.useRealTimers();
});

describe('inclusionOf', () => {
  it.each([
    ['teacher', undefined, 'in'],
    ['assistant', false, 'out'],
    ['student', undefined, 'unanswered'],
    ['student', true, 'in'],
    ['student', false, 'out'],
    ['observer', true, 'never'],
  ] as const)('%s who said %s: %s', (role, said, expected) => {
    expect(inclusionOf(said === undefined ? {} : { me: said }, 'me', role)).toBe(expected);
  });

  it('asks also who is called like something that every object has', () => {
    expect(inclusionOf({}, 'constructor', 'student')).toBe('unanswered');
  });
});

describe('useRecording', () => {
  it('asks a student once, while a recording is made', async () => {
    const session = new ScriptedSession('me', 'student');
    session.say({ kind: 'opened', lesson: '1', room: 'r', settings: SETTINGS });
    session.enter({ id: 't', name: 'Ana', role: 'teacher' });
    session.enter({ id: 'me', name: 'Me', role: 'student' });
    const recording = scope.run(() => useRecording(createRoom(session))) as Recording;
    expect([recording.status.value, recording.asks.value]).toEqual(['off', false]);
    session.say({ kind: 'recording-started', recording: 'r1' }, 't');
    expect([recording.status.value, recording.asks.value, recording.included.value]).toEqual(['recording', true, 1]);
    recording.answer(true);
    await vi.advanceTimersByTimeAsync(0);
    expect([recording.mine.value, recording.asks.value, recording.included.value]).toEqual(['in', false, 2]);
    session.say({ kind: 'recording-paused' }, 't');
    expect(recording.status.value).toBe('paused');
  });
});
