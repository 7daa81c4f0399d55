import { LecternError, type LessonState, type ParticipantState } from '@lectern/client';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { arrange, hue, initials } from '../src/arrange.js';
import { Call } from '../src/call.js';
import { deviceError } from '../src/devices.js';
import { grid, pair, stage, type Area, type Rect } from '../src/layout.js';
import { textsFor } from '../src/texts.js';

const area = fc.record({ width: fc.integer({ min: 200, max: 2560 }), height: fc.integer({ min: 160, max: 1440 }) });

function inside({ width, height }: Area, rects: readonly Rect[]): boolean {
  return rects.every(
    (rect) => rect.x >= 0 && rect.y >= 0 && rect.x + rect.width <= width + 1 && rect.y + rect.height <= height + 1,
  );
}

function apart(rects: readonly Rect[]): boolean {
  return rects.every((a, index) =>
    rects
      .slice(index + 1)
      .every((b) => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y),
  );
}

describe('layout', () => {
  it.each([
    ['grid', grid],
    ['stage', stage],
  ] as const)('%s keeps all tiles inside and apart', (_name, layout) => {
    fc.assert(
      fc.property(area, fc.integer({ min: 1, max: 11 }), (space, count) => {
        const rects = layout(space, count);
        expect(rects).toHaveLength(count);
        expect(inside(space, rects)).toBe(true);
        expect(apart(rects)).toBe(true);
        expect(rects.every(({ width, height }) => width > 0 && height > 0)).toBe(true);
      }),
      { seed: 11, numRuns: 400 },
    );
  });

  it('makes a grid of three by three for nine, and a column on a phone', () => {
    const columns = (rects: readonly Rect[]) => new Set(rects.map(({ x }) => x)).size;
    expect(columns(grid({ width: 1280, height: 720 }, 9))).toBe(3);
    expect(columns(grid({ width: 360, height: 640 }, 3))).toBe(1);
  });

  it('shows the other whole and oneself in a corner', () => {
    const [other, self] = pair({ width: 800, height: 600 });
    expect(other).toEqual({ x: 0, y: 0, width: 800, height: 600 });
    expect(self && inside({ width: 800, height: 600 }, [self])).toBe(true);
  });

  it('has no places without space', () => {
    expect([grid, stage].flatMap((layout) => layout({ width: 0, height: 0 }, 3))).toEqual([]);
    expect(pair({ width: 0, height: 0 })).toEqual([]);
  });
});

const person = (second: number, change: Partial<ParticipantState> = {}): ParticipantState => ({
  name: 'Name',
  role: 'student',
  present: true,
  joinedAt: `2026-11-21T09:30:${String(second).padStart(2, '0')}.000Z`,
  tracks: {},
  ...change,
});

function room(participants: Record<string, ParticipantState>): LessonState {
  return {
    lesson: 'l',
    room: 'r',
    seq: 1,
    closed: false,
    participants,
    hands: [],
    floor: [],
    removed: [],
    chat: [],
    recordingInterrupted: false,
    recordings: [],
    consents: {},
    settings: {
      preset: 'seminar',
      title: '',
      locked: false,
      chat: true,
      studentMicrophones: true,
      studentCameras: true,
      studentScreens: true,
      studentsSeeStudents: true,
      maxParticipants: 100,
      recordAutomatically: false,
      recordStudentCameras: true,
    },
  };
}

const faces = (arrangement: ReturnType<typeof arrange>) => arrangement.faces.map(({ participant }) => participant);

describe('arrange', () => {
  const three = room({ c: person(3), me: person(0), a: person(1), b: person(2) });

  it('shows others in the order they came, without recorders and those who left', () => {
    const more = { ...three.participants, r: person(4, { role: 'recorder' }), gone: person(5, { present: false }) };
    expect(faces(arrange(room(more), 'me', [], undefined, 9))).toEqual(['a', 'b', 'c']);
  });

  it('leaves people where they are when somebody goes and comes back', () => {
    const before = arrange(three, 'me', [], undefined, 9).faces;
    const without = arrange(room({ b: person(2), c: person(3) }), 'me', before, undefined, 9);
    expect(faces(without)).toEqual(['b', 'c']);
    const back = arrange(room({ b: person(2), c: person(3), a: person(9) }), 'me', without.faces, undefined, 9);
    expect(faces(back)).toEqual(['b', 'c', 'a']);
  });

  it('gives a place to whoever speaks, and says how many have none', () => {
    const many = room(Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`p${index}`, person(index)])));
    const quiet = arrange(many, 'me', [], undefined, 9);
    expect(quiet.faces).toHaveLength(8);
    expect(quiet.hidden).toBe(4);
    const loud = arrange(many, 'me', quiet.faces, 'p11', 9);
    expect(faces(loud)).toEqual([...faces(quiet).slice(0, 7), 'p11']);
    expect(faces(arrange(many, 'me', loud.faces, 'p3', 9))).toEqual(faces(loud));
  });

  it('finds a screen that is shared and not muted', () => {
    const shared = (muted: boolean) => room({ a: person(1, { tracks: { screen: { muted } } }) });
    expect(arrange(shared(false), 'me', [], undefined, 9).screen).toEqual({ participant: 'a', source: 'screen' });
    expect(arrange(shared(true), 'me', [], undefined, 9).screen).toBeUndefined();
  });
});

describe('words', () => {
  it('makes initials in any script', () => {
    expect(['Ada Lovelace', 'euler', '小明', '  ', '😀 Bob', 'Ms. J. van Dyke'].map(initials)).toEqual([
      'AL',
      'E',
      '小',
      '?',
      'B',
      'MD',
    ]);
  });

  it('gives each identity one colour', () => {
    expect(hue('s-1')).toBe(hue('s-1'));
    expect(Math.abs(hue('s-1') - hue('s-2'))).toBeGreaterThan(60);
  });

  it('speaks Chinese to Chinese pages and English to all others', () => {
    expect(textsFor('zh-CN').leave).toBe('离开');
    expect(textsFor('zhuang').leave).toBe('Leave');
    expect(textsFor(undefined).leave).toBe('Leave');
  });

  it('tells device problems apart', () => {
    const named = (name: string) => Object.assign(new Error(name), { name });
    expect(deviceError(named('NotAllowedError')).problem).toBe('denied');
    expect(deviceError(named('NotFoundError')).problem).toBe('missing');
    expect(deviceError(named('NotReadableError')).problem).toBe('busy');
  });
});

describe('a call', () => {
  afterEach(() => void vi.unstubAllGlobals());

  it('gives back the sound of a screen that it may not share', async () => {
    const captured = (kind: string) => Object.assign(new EventTarget(), { kind, stop: vi.fn() });
    const [screen, sound] = [captured('video'), captured('audio')];
    const stream = { getTracks: () => [screen, sound], getAudioTracks: () => [sound] };
    vi.stubGlobal('navigator', { mediaDevices: { getDisplayMedia: () => Promise.resolve(stream) } });
    const options = { url: 'http://127.0.0.1:1', token: 'jwt', videoSlots: 1, microphone: false, camera: false };
    const problem = vi.fn();
    const call = new Call(options, { changed: () => undefined, problem });
    vi.spyOn(call.session, 'publish').mockRejectedValue(new LecternError('forbidden'));
    await call.toggleScreen();
    expect(problem).toHaveBeenCalledWith('refused');
    expect(screen.stop).toHaveBeenCalledOnce();
    expect(sound.stop).toHaveBeenCalledOnce();
  });
});
