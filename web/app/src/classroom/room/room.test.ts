// @vitest-environment happy-dom
import { LecternError } from '@lectern/client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { computed, effectScope, nextTick, ref, type EffectScope } from 'vue';

import { ScriptedSession } from '../../preview/session';
import { dismiss, toasts } from '../../ui/toasts';
import { createChat } from '../chat/outbox';
import type { Captures } from '../media/capture';
import { arrange, type Arrangement } from '../stage/layout';
import { useView } from '../stage/view';
import { SETTINGS } from '../test/people';
import { useNotices } from './notices';
import { createOwn } from './own';
import { createRoom } from './room';

let scope: EffectScope;
beforeEach(() => {
  vi.useFakeTimers();
  scope = effectScope();
});
afterEach(() => {
  scope.stop();
  for (const note of [...toasts]) dismiss(note.id);
  vi.useRealTimers();
});

function lesson(role: 'teacher' | 'student' = 'student'): ScriptedSession {
  const session = new ScriptedSession('me', role);
  session.say({ kind: 'opened', lesson: '1', room: 'r', settings: SETTINGS });
  session.enter({
    id: 't',
    name: 'Ana',
    role: role === 'teacher' ? 'student' : 'teacher',
    camera: true,
    microphone: 'on',
  });
  session.enter({ id: 'me', name: 'Me', role });
  return session;
}

const room = (session: ScriptedSession) => scope.run(() => createRoom(session)) as ReturnType<typeof createRoom>;

describe('chat', () => {
  it('counts as unread what others say while it is closed, but not what was said before', async () => {
    const session = lesson();
    session.say({ kind: 'chat', text: 'before', nonce: '1' }, 't');
    const chat = createChat(room(session));
    expect(chat.unread.value).toBe(0);
    session.say({ kind: 'chat', text: 'news', nonce: '2' }, 't');
    await session.chat('mine');
    expect(chat.unread.value).toBe(1);
    chat.open.value = true;
    await nextTick();
    expect(chat.unread.value).toBe(0);
  });

  it('shows a message once, whichever comes first: the lesson or the acknowledgement', async () => {
    const session = lesson();
    const chat = createChat(room(session));
    let acknowledge: (() => void) | undefined;
    session.chat = (text, options) => {
      const nonce = options?.nonce ?? '';
      session.say({ kind: 'chat', text, nonce }, 'me');
      return new Promise((resolve) => (acknowledge = () => resolve({ seq: 9, nonce })));
    };
    chat.send('hello');
    expect(chat.messages.value.map(({ text }) => text)).toEqual(['hello']);
    expect(chat.outgoing.value).toEqual([]);
    acknowledge?.();
    await vi.runOnlyPendingTimersAsync();
    expect(chat.outgoing.value).toEqual([]);
  });

  it('keeps what failed, and sends it again or drops it', async () => {
    const session = lesson();
    const chat = createChat(room(session));
    session.failing = true;
    chat.send('a');
    chat.send('b');
    await vi.runOnlyPendingTimersAsync();
    expect(chat.outgoing.value.map(({ text, failed }) => [text, failed])).toEqual([
      ['a', 'rate-limited'],
      ['b', 'rate-limited'],
    ]);
    session.failing = false;
    const [a, b] = chat.outgoing.value;
    if (a) chat.retry(a.id);
    if (b) chat.drop(b.id);
    await vi.runOnlyPendingTimersAsync();
    expect(chat.outgoing.value).toEqual([]);
    expect(chat.messages.value.map(({ text }) => text)).toEqual(['a']);
  });

  it('sends again with the nonce that it had: what the server has heard is not said twice', async () => {
    const session = lesson();
    const chat = createChat(room(session));
    const nonces: (string | undefined)[] = [];
    session.chat = (_text, options) => {
      nonces.push(options?.nonce);
      return Promise.reject(new LecternError('timeout'));
    };
    chat.send('a');
    chat.send('a');
    await vi.runOnlyPendingTimersAsync();
    chat.retry(chat.outgoing.value[0]?.id ?? 0);
    await vi.runOnlyPendingTimersAsync();
    expect(nonces[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(nonces[1]).not.toBe(nonces[0]);
    expect(nonces[2]).toBe(nonces[0]);
    // Its acknowledgement was lost, but the lesson has it.
    session.say({ kind: 'chat', text: 'a', nonce: nonces[0] ?? '' }, 'me');
    expect(chat.outgoing.value.map(({ failed }) => failed)).toEqual(['timeout']);
  });
});

describe('view', () => {
  const arrangementOf = (width: number): Arrangement =>
    arrange({
      width,
      height: 600,
      layout: 'grid',
      most: 9,
      page: 0,
      own: 'me',
      stage: undefined,
      tiles: [
        { id: 't', source: 'camera' },
        { id: 'me', source: 'camera' },
      ],
    });

  function hide(hidden: boolean): void {
    Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }

  it('asks at once, once for many changes of size, and for nothing while hidden', async () => {
    const session = lesson();
    const width = ref(800);
    const classroom = room(session);
    scope.run(() =>
      useView(
        classroom,
        computed(() => arrangementOf(width.value)),
      ),
    );
    await vi.advanceTimersByTimeAsync(1);
    expect(session.views).toHaveLength(1);
    expect(session.views[0]).toMatchObject([{ participant: 't', source: 'camera' }]);

    for (let step = 1; step <= 20; step++) {
      width.value = 800 + step;
      await vi.advanceTimersByTimeAsync(16);
    }
    await vi.advanceTimersByTimeAsync(500);
    expect(session.views.length).toBeLessThanOrEqual(3);

    hide(true);
    await nextTick();
    expect(session.views.at(-1)).toEqual([]);
    hide(false);
    await nextTick();
    expect(session.views.at(-1)).toMatchObject([{ participant: 't' }]);
  });

  it('stops asking for a camera that was turned off', async () => {
    const session = lesson();
    const classroom = room(session);
    scope.run(() =>
      useView(
        classroom,
        computed(() => arrangementOf(800)),
      ),
    );
    await vi.advanceTimersByTimeAsync(500);
    session.say({ kind: 'unpublished', participant: 't', source: 'camera' }, 't');
    await vi.advanceTimersByTimeAsync(500);
    expect(session.views.at(-1)).toEqual([]);
  });
});

describe('room', () => {
  it('keeps the class on the page while the server goes down', () => {
    const session = lesson();
    const classroom = room(session);
    expect(classroom.people.value).toHaveLength(2);
    session.say({ kind: 'left', participant: 't', reason: 'shutdown' });
    session.say({ kind: 'left', participant: 'me', reason: 'shutdown' });
    expect(classroom.people.value).toHaveLength(2);
    session.enter({ id: 'me', name: 'Me', role: 'student' });
    expect(classroom.people.value.map(({ id }) => id)).toEqual(['me']);
  });

  it('lights the ring of who speaks, and puts it out in silence', async () => {
    const session = lesson();
    const classroom = room(session);
    session.speak('t');
    expect(classroom.speaking('t')).toBe(true);
    expect(classroom.spoke.value).toEqual(['t']);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(classroom.speaking('t')).toBe(false);
  });
});

describe('notes', () => {
  const captures = { microphone: { status: 'off' }, camera: { status: 'off' } } as Captures;

  function notes(session: ScriptedSession): () => string[] {
    const classroom = room(session);
    scope.run(() => useNotices(classroom, createOwn(classroom, captures)));
    return () => toasts.map(({ text }) => text);
  }

  it('tell a student what concerns them', () => {
    const session = lesson();
    const said = notes(session);
    session.say({ kind: 'floor-given', participant: 'me' }, 't');
    session.say({ kind: 'muted', participant: 'me', source: 'microphone', muted: true }, 't');
    expect(said()).toEqual(['You have the floor', 'Ana muted you']);
  });

  it('say nothing of what one did oneself, nor of others’ hands', () => {
    const session = lesson();
    const said = notes(session);
    session.enter({ id: 'b', name: 'Bo', role: 'student' });
    for (const note of [...toasts]) dismiss(note.id);
    session.say({ kind: 'hand-raised', participant: 'b' }, 'b');
    session.say({ kind: 'hand-raised', participant: 'me' }, 'me');
    session.say({ kind: 'hand-lowered', participant: 'me' }, 'me');
    session.say({ kind: 'muted', participant: 'b', source: 'microphone', muted: true }, 't');
    expect(said()).toEqual([]);
  });

  it('tell everybody of the recording, also who comes later, and that it failed', () => {
    const session = lesson();
    session.say({ kind: 'recording-started', recording: 'r1' }, 't');
    const said = notes(session);
    expect(said()).toEqual(['This class is being recorded']);
    session.say({ kind: 'recording-paused' }, 't');
    expect(said()).toEqual(['The recording is paused']);
    session.say({ kind: 'recording-stopped', reason: 'failed' });
    expect(said()[0]).toMatch(/disk cannot be written; what was recorded is kept$/u);
  });

  it('tell those who lead what a recording does without', () => {
    const session = lesson();
    session.say({ kind: 'recording-started', recording: 'r1' }, 't');
    const said = notes(session);
    session.say({ kind: 'recording-limited', limit: 'sound-only' });
    expect(said()).toEqual(['This class is being recorded']);
    session.say({ kind: 'role-changed', participant: 'me', role: 'assistant' }, 't');
    session.say({ kind: 'recording-limited', limit: 'gaps' });
    expect(said().join()).toMatch(/too slow: the recording has gaps/u);
    session.say({ kind: 'recording-limited', limit: 'sound-only' });
    expect(said().join()).toMatch(/only sound and chat are recorded/u);
    session.say({ kind: 'recording-limited' });
    expect(said().join()).toMatch(/Everything is recorded again/u);
    session.say({ kind: 'recording-stopped', reason: 'disk-full' });
    expect(said().join()).toMatch(/the disk is full; what was recorded is kept/u);
  });

  it('say that the recording was interrupted when the whole state comes anew', () => {
    const session = lesson();
    session.say({ kind: 'recording-started', recording: 'r1' }, 't');
    const said = notes(session);
    const state = session.state;
    if (!state) throw new Error('no state');
    const { recording: _, ...rest } = state;
    session.emit('state', { state: { ...rest, recordingInterrupted: true }, events: [] });
    expect(said()[0]).toMatch(/^The recording was interrupted/u);
  });

  it('let a teacher answer a hand, and go when it is answered', () => {
    const session = lesson('teacher');
    const said = notes(session);
    session.say({ kind: 'hand-raised', participant: 't' }, 't');
    expect(said()).toEqual(['Ana raised a hand']);
    toasts[0]?.action?.run();
    expect(session.state?.floor).toEqual(['t']);
    expect(said()).toEqual([]);
  });
});
