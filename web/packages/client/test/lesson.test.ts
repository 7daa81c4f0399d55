import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { fold, participantOf, reduce, type LessonEvent, type LessonState } from '../src/index.js';
import { fixtures } from './support/fixtures.js';
import { AT, LESSON } from './support/server.js';

describe('the reducer', () => {
  it.each(fixtures<{ events: LessonEvent[]; state: LessonState | null }>('lesson'))('folds $file', ({ content }) => {
    expect(fold(undefined, content.events) ?? null).toEqual(content.state);
  });

  it('never changes a state in place, and keeps what an event does not touch', () => {
    const before = deepFreeze(fold(undefined, LESSON));
    const after = reduce(before, { seq: 4, at: AT, by: 'you', kind: 'hand-raised', participant: 'you' });
    expect(after?.hands).toEqual(['you']);
    expect(after?.participants).toBe(before?.participants);
    expect(after?.settings).toBe(before?.settings);
  });

  it('has no participant that nobody is', () => {
    const state = fold(undefined, LESSON);
    expect(state && participantOf(state, 'constructor')).toBeUndefined();
  });

  // The Rust reducer says what is right; both fold the same made-up lessons.
  it('agrees with the server on any lesson', { timeout: 120_000 }, () => {
    const logs = fc.sample(log, { seed: 20261121, numRuns: 2000 });
    const answers = rustStates(logs);
    expect(answers).toHaveLength(logs.length);
    logs.forEach((events, index) => {
      const ours = fold(undefined, events) ?? null;
      // Through JSON, as `__proto__` is an identity like any other.
      expect(JSON.parse(JSON.stringify(ours)), `log ${index}: ${JSON.stringify(events)}`).toEqual(answers[index]);
    });
    expect(answers.filter((state) => state?.hands.length && state.chat.length).length).toBeGreaterThan(100);
  });
});

function rustStates(logs: readonly LessonEvent[][]): (LessonState | null)[] {
  const target = process.env['CARGO_TARGET_DIR'] ?? resolve(import.meta.dirname, '../../../../target');
  const built = process.env['LECTERN_FOLD'] ?? resolve(target, 'debug/examples/fold');
  if (!existsSync(built)) {
    throw new Error(
      `${built} is missing: build it with "cargo build -p signaling --example fold", or set LECTERN_FOLD`,
    );
  }
  const input = logs.map((events) => JSON.stringify(events)).join('\n');
  const output = execFileSync(built, { input, maxBuffer: 1 << 30, encoding: 'utf8' });
  return output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as LessonState | null);
}

const identity = fc.constantFrom('t', 's1', 's2', 's3', '小明', 'constructor', '__proto__', '7');
const source = fc.constantFrom('microphone', 'camera', 'screen', 'screen-audio', 'desktop');
const role = fc.constantFrom('teacher', 'assistant', 'student', 'observer', 'recorder');
const settings = fc.record({
  preset: fc.constantFrom('tutoring', 'lecture', 'seminar'),
  title: fc.string({ maxLength: 10 }),
  locked: fc.boolean(),
  chat: fc.boolean(),
  studentMicrophones: fc.boolean(),
  studentCameras: fc.boolean(),
  studentScreens: fc.boolean(),
  studentsSeeStudents: fc.boolean(),
  maxParticipants: fc.nat(500),
  recordAutomatically: fc.boolean(),
  recordStudentCameras: fc.boolean(),
});
const about = { participant: identity };
const rare = (arbitrary: fc.Arbitrary<object>) => ({ arbitrary, weight: 1 });
const often = (arbitrary: fc.Arbitrary<object>) => ({ arbitrary, weight: 30 });
const kind = fc.oneof(
  often(fc.record({ kind: fc.constant('joined'), ...about, name: fc.string({ maxLength: 5 }), role })),
  often(fc.record({ kind: fc.constant('published'), ...about, source, muted: fc.boolean() })),
  often(fc.record({ kind: fc.constant('unpublished'), ...about, source })),
  often(fc.record({ kind: fc.constant('muted'), ...about, source, muted: fc.boolean() })),
  often(fc.record({ kind: fc.constantFrom('hand-raised', 'hand-lowered', 'floor-given', 'floor-taken'), ...about })),
  often(fc.record({ kind: fc.constant('role-changed'), ...about, role })),
  often(
    fc.record({ kind: fc.constant('chat'), text: fc.string({ maxLength: 5 }), nonce: fc.string({ maxLength: 3 }) }),
  ),
  { arbitrary: fc.record({ kind: fc.constant('settings-changed'), settings }), weight: 2 },
  { weight: 3, arbitrary: leftEvent() },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('recording-started'), recording: fc.constantFrom('a', 'b') }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('recording-paused', 'recording-resumed') }) },
  {
    weight: 2,
    arbitrary: fc.record(
      { kind: fc.constant('recording-limited'), limit: fc.constantFrom('sound-only', 'gaps') },
      { requiredKeys: ['kind'] },
    ),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('recording-stopped'),
      reason: fc.constantFrom('stopped', 'closed', 'failed', 'interrupted'),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('recording-consent'), ...about, agreed: fc.boolean() }) },
  rare(
    fc.record({ kind: fc.constant('opened'), lesson: fc.constantFrom('l1', 'l2'), room: fc.constant('r'), settings }),
  ),
  rare(fc.record({ kind: fc.constant('closed') })),
);

function leftEvent() {
  const reason = fc.constantFrom('left', 'removed', 'timeout', 'closed', 'shutdown');
  return fc.record({ kind: fc.constant('left'), ...about, reason });
}

/** Mostly in order, with repeats and gaps, as a client may see them; one in twenty does not begin with `opened`. */
const log = fc
  .record({
    opens: fc.nat(19).map((roll) => roll > 0),
    settings,
    steps: fc.array(fc.tuple(fc.constantFrom(1, 1, 1, 1, 1, 1, 0, 2, -1), fc.option(identity), kind), {
      maxLength: 80,
      minLength: 20,
      size: 'max',
    }),
  })
  .map(({ opens, settings, steps }) => {
    const events: object[] = opens ? [{ seq: 1, at: AT, kind: 'opened', lesson: 'l1', room: 'r', settings }] : [];
    let seq = events.length;
    for (const [step, by, event] of steps) {
      seq = Math.max(1, seq + step);
      events.push({ seq, at: AT, ...(by !== null && { by }), ...event });
    }
    return events as LessonEvent[];
  });

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
