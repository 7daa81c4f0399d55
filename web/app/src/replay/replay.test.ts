import { readFileSync } from 'node:fs';

import type { LessonEventKind, LessonState } from '@lectern/client';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { effectScope } from 'vue';

import { SETTINGS, stateOf } from '../classroom/test/people';
import { ReplayApi, ReplayError, type Fetch } from './api';
import { castAt, MOST_VIDEOS } from './engine/cast';
import { chapterAt, chaptersOf, pausesOf, searchIn, speakerMarks } from './engine/chapters';
import { History } from './engine/history';
import { fileTime, isOnAir, opensAt, type Track } from './engine/manifest';
import { pace } from './engine/pace';
import { crc32c, TimelineReader, type Entry } from './engine/timeline';
import { Transport } from './engine/transport';
import { replayKey } from './keys';
import { linkAt, readReplayLink } from './link';
import { loadRecording } from './recording';

const bytes = (text: string) => new TextEncoder().encode(text);
const line = (value: unknown) => {
  const json = JSON.stringify(value);
  return `${crc32c(bytes(json)).toString(16).padStart(8, '0')} ${json}\n`;
};
let seq = 100;
const lesson = (atMs: number, event: LessonEventKind, by?: string): Entry => ({
  atMs,
  kind: 'lesson',
  event: { seq: ++seq, at: '2026-11-21T09:00:00.000Z', ...(by === undefined ? {} : { by }), ...event },
});
const track = (number: number, over: Partial<Track> = {}): Track => ({
  track: number,
  file: `v-${number}.webm`,
  participant: `p${number}`,
  name: `P${number}`,
  source: 'camera',
  codec: 'vp8',
  offsetMs: 0,
  durationMs: 60_000,
  bytes: 1,
  clockFit: [],
  ...over,
});

describe('links', () => {
  const read = (text: string) => readReplayLink(new URL(text, 'https://class.example'));

  it('give id, token and time', () => {
    expect(read('/replay/a-1.b#token=x.y.z&t=12.5')).toEqual({
      kind: 'valid',
      id: 'a-1.b',
      token: 'x.y.z',
      atMs: 12_500,
    });
    expect(read('/replay/a/#token=x')).toMatchObject({ kind: 'valid', atMs: undefined });
    for (const t of ['', '-3', 'x', 'NaN', 'Infinity']) {
      expect(read(`/replay/a#token=x&t=${t}`), t).toMatchObject({ atMs: undefined });
    }
  });

  it.each(['/replay/a', '/replay/#token=x', '/replay/a/b#token=x', '/replay/a%2Fb#token=x', '/replay/a#token='])(
    '%s is none',
    (text) => expect(read(text)).toEqual({ kind: 'wrong' }),
  );

  it('come back', () => {
    expect(read(linkAt('https://class.example', 'a', 'x.y', 12_999))).toMatchObject({
      id: 'a',
      token: 'x.y',
      atMs: 12_000,
    });
  });
});

describe('file time', () => {
  it('is the room time less the offset where nothing else is known', () => {
    expect(fileTime({ offsetMs: 2_000, clockFit: [] }, 5_000)).toBe(3_000);
    expect(fileTime({ offsetMs: 2_000, clockFit: [] }, 1_000)).toBe(0);
  });

  it('follows the fit, and goes on beyond its ends at the pace of the room', () => {
    const drifting = {
      offsetMs: 1_000,
      clockFit: [
        [0, 1_000],
        [10_000, 11_010],
        [20_000, 21_010],
      ] as [number, number][],
    };
    expect(fileTime(drifting, 1_000)).toBe(0);
    expect(fileTime(drifting, 6_005)).toBeCloseTo(5_000);
    expect(fileTime(drifting, 16_010)).toBeCloseTo(15_000);
    expect(fileTime(drifting, 22_010)).toBe(21_000);
    expect(fileTime(drifting, 0)).toBe(0);
  });

  it('never goes back', () => {
    const points = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 500 })), { maxLength: 12 })
      .map((steps) => {
        let at: [number, number] = [0, 0];
        return steps.map(([file, room]) => (at = [at[0] + file, at[1] + room]));
      });
    fc.assert(
      fc.property(points, fc.nat(8_000), fc.nat(500), (clockFit, at, step) => {
        const of = (ms: number) => fileTime({ offsetMs: 0, clockFit }, ms);
        expect(of(at + step)).toBeGreaterThanOrEqual(of(at) - 1e-6);
      }),
    );
  });

  it('is on air from its offset to its end', () => {
    const one = { offsetMs: 100, durationMs: 50 };
    expect([99, 100, 149, 150].map((at) => isOnAir(one, at))).toEqual([false, true, true, false]);
  });
});

describe('opening', () => {
  it('shows the first pictures, unless much is said before them', () => {
    const at = (...tracks: [Track['source'], number][]) =>
      opensAt({ tracks: tracks.map(([source, offsetMs]) => ({ source, offsetMs }) as Track) });
    expect(at(['microphone', 1_200], ['camera', 900], ['screen', 400], ['camera', 30_000])).toBe(900);
    expect(at(['microphone', 100], ['camera', 60_000])).toBe(0);
    expect(at(['microphone', 100])).toBe(0);
    expect(at()).toBe(0);
  });
});

describe('pace', () => {
  const step = (error: number, over = {}) =>
    pace({ targetMs: 10_000 + error, actualMs: 10_000, playing: true, speed: 1, sinceJumpMs: 9_999, ...over });

  it('leaves small errors, nudges middling ones, jumps over large ones', () => {
    expect(step(19)).toEqual({ kind: 'rate', rate: 1 });
    expect(step(60)).toEqual({ kind: 'rate', rate: 1.03 });
    expect(step(-60)).toEqual({ kind: 'rate', rate: 0.97 });
    expect(step(240)).toEqual({ kind: 'rate', rate: 1.05 });
    expect(step(-240)).toEqual({ kind: 'rate', rate: 0.95 });
    expect(step(251)).toEqual({ kind: 'jump', toMs: 10_251 });
  });

  it('does not jump again at once', () => {
    expect(step(900, { sinceJumpMs: 300 })).toEqual({ kind: 'rate', rate: 1.05 });
  });

  it('goes with the speed', () => {
    expect(step(0, { speed: 2 })).toEqual({ kind: 'rate', rate: 2 });
    expect(step(400, { speed: 2 })).toEqual({ kind: 'rate', rate: 2.1 });
  });

  it('puts a standing picture where it belongs', () => {
    expect(step(30, { playing: false })).toEqual({ kind: 'rate', rate: 1 });
    expect(step(50, { playing: false, sinceJumpMs: 0 })).toEqual({ kind: 'jump', toMs: 10_050 });
  });

  it('brings a picture that is off within 20 ms in a few seconds, and keeps it there', () => {
    for (const start of [-240, -90, 35, 240]) {
      let actual = 1_000 + start;
      let worst = 0;
      for (let room = 1_000; room < 16_000; room += 100) {
        const next = pace({ targetMs: room, actualMs: actual, playing: true, speed: 1, sinceJumpMs: 9_999 });
        if (next.kind === 'jump') throw new Error('jumped');
        if (room > 11_000) worst = Math.max(worst, Math.abs(room - actual));
        actual += 100 * next.rate * 1.0001;
      }
      expect(worst, String(start)).toBeLessThan(25);
    }
  });
});

describe('transport', () => {
  function transport(durationMs = 10_000, pauses: [number, number][] = [], live = false): Transport {
    const made = new Transport();
    made.extend(durationMs, pauses, live);
    return made;
  }

  it('goes with the wall, at its speed, and stands while it is paused or the sound loads', () => {
    const one = transport();
    one.tick(0, 'wall');
    one.tick(500, 'wall');
    expect(one.positionMs).toBe(0);
    one.play();
    one.setSpeed(2);
    one.tick(1_000, 'wall');
    one.tick(1_500, 'wall');
    expect(one.positionMs).toBe(1_000);
    one.tick(2_500, 'stalled');
    one.tick(2_600, 'wall');
    expect(one.positionMs).toBe(1_200);
    one.pause();
    one.tick(9_000, 'wall');
    expect(one.positionMs).toBe(1_200);
  });

  it('follows the sound where there is one', () => {
    const one = transport();
    one.play();
    one.tick(0, 40);
    one.tick(100, 131);
    expect(one.positionMs).toBe(131);
  });

  it('skips pauses, also when one seeks into them', () => {
    const one = transport(10_000, [[2_000, 5_000]]);
    one.play();
    one.tick(0, 'wall');
    one.seek(1_950);
    one.tick(100, 'wall');
    expect(one.tick(200, 'wall')).toBe(true);
    expect(one.positionMs).toBe(5_000);
    one.seek(3_000);
    expect(one.positionMs).toBe(5_000);
  });

  it('stops at the end and begins anew; a live one waits for more', () => {
    const one = transport(1_000);
    one.play();
    one.tick(0, 'wall');
    one.tick(2_000, 'wall');
    expect([one.playing, one.positionMs]).toEqual([false, 1_000]);
    one.play();
    expect(one.positionMs).toBe(0);
    const live = transport(1_000, [], true);
    live.play();
    live.tick(0, 'wall');
    live.tick(2_000, 'wall');
    expect([live.playing, live.positionMs]).toEqual([true, 1_000]);
    live.extend(3_000, [], true);
    live.tick(2_500, 'wall');
    expect(live.positionMs).toBe(1_500);
  });

  it('keeps what it is told in its bounds', () => {
    const one = transport();
    one.seek(-5);
    expect(one.positionMs).toBe(0);
    one.seek(1e9);
    expect(one.positionMs).toBe(10_000);
    one.setSpeed(9);
    expect(one.speed).toBe(3);
  });
});

describe('timeline', () => {
  it('has the checksum of the standard', () => {
    expect(crc32c(bytes('123456789'))).toBe(0xe3069283);
  });

  it('gives what is known, and passes over what is not', () => {
    const reader = new TimelineReader();
    const text =
      line({ atMs: 0, kind: 'began' }) + line({ atMs: 1, kind: 'later-kind' }) + line({ atMs: 2, kind: 'paused' });
    expect(reader.push(bytes(text))).toBe(2);
    expect(reader.entries.map(({ kind }) => kind)).toEqual(['began', 'paused']);
    expect([reader.bytes, reader.damaged]).toEqual([bytes(text).length, false]);
  });

  it('ends at the first line that is damaged', () => {
    const good = line({ atMs: 0, kind: 'began' });
    const damaged = line({ atMs: 1, kind: 'paused' }).replace('"atMs":1', '"atMs":7');
    for (const bad of [damaged, 'x\n', '\n', 'zzzzzzzz {}\n', line({}).replace(' ', '\t')]) {
      const reader = new TimelineReader();
      reader.push(bytes(good + bad + good));
      expect([reader.entries.length, reader.damaged, reader.bytes], bad).toEqual([1, true, good.length]);
    }
  });

  it('is the same however it comes in parts', () => {
    const text = bytes(
      [0, 1, 2, 3].map((atMs) => line({ atMs, kind: 'speaker', participant: '王小明' })).join('') + '12345678 {"tor',
    );
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 6 }), (cuts) => {
        const reader = new TimelineReader();
        for (const to of [...cuts, text.length].sort((a, b) => a - b)) reader.push(text.subarray(reader.bytes, to));
        expect(reader.entries.map(({ atMs }) => atMs)).toEqual([0, 1, 2, 3]);
        expect(reader.damaged).toBe(false);
      }),
    );
  });
});

describe('history', () => {
  const snapshot = (atMs: number, state: LessonState): Entry => ({ atMs, kind: 'snapshot', state });

  it('gives the lesson at each time', () => {
    const history = new History();
    history.push([
      snapshot(0, stateOf('teacher:t')),
      lesson(1_000, { kind: 'joined', participant: 'b', name: 'Bo', role: 'student' }, 'b'),
      lesson(2_000, { kind: 'chat', text: 'hello', nonce: '1' }, 'b'),
      snapshot(3_000, stateOf('teacher:t')),
    ]);
    const at = (ms: number) => {
      const state = history.stateAt(ms);
      return [Object.keys(state?.participants ?? {}).length, state?.chat.length];
    };
    expect([0, 999, 1_000, 2_000, 2_999, 3_000].map(at)).toEqual([
      [1, 0],
      [1, 0],
      [2, 0],
      [2, 1],
      [2, 1],
      [1, 0],
    ]);
    expect(history.stateAt(1_500)).toBe(history.stateAt(1_600));
  });

  it('begins with an opened lesson too', () => {
    const history = new History();
    history.push([lesson(0, { kind: 'opened', lesson: '1', room: 'r', settings: SETTINGS })]);
    expect(history.stateAt(0)?.room).toBe('r');
  });

  it('knows who spoke, what was muted, and when there were no pictures', () => {
    const history = new History();
    history.push([
      { atMs: 10, kind: 'speaker', participant: 'a' },
      { atMs: 20, kind: 'speaker', participant: 'b' },
      { atMs: 30, kind: 'speaker' },
      { atMs: 15, kind: 'muted', participant: 'a', source: 'camera', muted: true },
      { atMs: 25, kind: 'muted', participant: 'a', source: 'camera', muted: false },
      { atMs: 40, kind: 'sound-only' },
      { atMs: 50, kind: 'pictures-again' },
    ]);
    expect([39, 40, 49, 50].map((at) => history.isSoundOnly(at))).toEqual([false, true, true, false]);
    expect(history.speakersAt(5)).toEqual({ active: undefined, recent: [] });
    expect(history.speakersAt(20)).toEqual({ active: 'b', recent: ['b', 'a'] });
    expect(history.speakersAt(99)).toEqual({ active: undefined, recent: ['b', 'a'] });
    expect([14, 15, 24, 25].map((at) => history.isMuted('a', 'camera', at))).toEqual([false, true, true, false]);
  });
});

describe('cast', () => {
  function history(...entries: Entry[]): History {
    const made = new History();
    made.push([{ atMs: 0, kind: 'snapshot', state: stateOf('teacher:p1', 'student:p2', 'student:p3') }, ...entries]);
    return made;
  }
  const ids = (cast: ReturnType<typeof castAt>) => cast.shown.map(({ id, source }) => `${id}/${source}`);

  it('shows screens first, then who leads, and only what is on air and not muted', () => {
    const tracks = [
      track(3),
      track(2, { offsetMs: 5_000 }),
      track(1),
      track(4, { participant: 'p3', source: 'screen' }),
      track(5, { participant: 'p5', offsetMs: 30_000 }),
    ];
    const told = history({ atMs: 8_000, kind: 'muted', participant: 'p3', source: 'camera', muted: true });
    expect(ids(castAt(tracks, told, 6_000))).toEqual(['p3/screen', 'p1/camera', 'p3/camera', 'p2/camera']);
    expect(castAt(tracks, told, 6_000).stage).toMatchObject({ id: 'p3', source: 'screen' });
    expect(ids(castAt(tracks, told, 9_000))).toEqual(['p3/screen', 'p1/camera', 'p2/camera']);
  });

  it('never shows more videos than a browser can play, and does not leave out who speaks', () => {
    const tracks = Array.from({ length: 20 }, (_, index) => track(index + 1));
    const cast = castAt(tracks, history({ atMs: 1, kind: 'speaker', participant: 'p19' }), 1_000);
    expect(cast.shown.filter((one) => one.track)).toHaveLength(MOST_VIDEOS);
    expect(cast.stage?.id).toBe('p19');
    expect(cast.shown[0]?.id).toBe('p1');
  });

  it('shows who is only heard by a face without a picture', () => {
    const cast = castAt(
      [track(1, { source: 'microphone' }), track(2, { source: 'microphone' }), track(3, { participant: 'p2' })],
      history(),
      9,
    );
    expect(cast.shown.map(({ id, track: of }) => [id, of !== undefined])).toEqual([
      ['p2', true],
      ['p1', false],
    ]);
  });
});

describe('chapters', () => {
  const entries: Entry[] = [
    { atMs: 0, kind: 'snapshot', state: stateOf('teacher:ana') },
    lesson(500, { kind: 'joined', participant: 'b', name: 'Bo Lindqvist', role: 'student' }, 'b'),
    { atMs: 1_000, kind: 'track-started', track: 1, participant: 'ana', source: 'screen' },
    { atMs: 1_500, kind: 'track-started', track: 2, participant: 'ana', source: 'camera' },
    lesson(2_000, { kind: 'hand-raised', participant: 'b' }, 'b'),
    lesson(3_000, { kind: 'floor-given', participant: 'b' }, 'ana'),
    { atMs: 4_000, kind: 'track-ended', track: 1 },
    { atMs: 5_000, kind: 'track-started', track: 3, participant: 'ana', source: 'screen' },
    lesson(6_000, { kind: 'chat', text: 'The vértex is at x', nonce: '1' }, 'b'),
    { atMs: 9_000, kind: 'track-ended', track: 3 },
    { atMs: 9_000, kind: 'resumed' },
  ];

  it('are screens, the floor, hands; one screen that was published anew is one', () => {
    expect(chaptersOf(entries).map(({ atMs, kind, name }) => [atMs, kind, name])).toEqual([
      [1_000, 'screen', 'ANA'],
      [2_000, 'hand', 'Bo Lindqvist'],
      [3_000, 'floor', 'Bo Lindqvist'],
      [9_000, 'screen-end', 'ANA'],
      [9_000, 'resumed', ''],
    ]);
  });

  it('say where one is', () => {
    const chapters = chaptersOf(entries);
    expect(chapterAt(chapters, 500)).toBeUndefined();
    expect(chapterAt(chapters, 2_500)?.kind).toBe('screen');
    expect(chapterAt(chapters, 3_500)?.kind).toBe('floor');
  });

  it('are found by what was written and by names, accents apart', () => {
    const found = (query: string) =>
      searchIn(entries, chaptersOf(entries), query).map(({ atMs, kind }) => [atMs, kind]);
    expect(found('VERTEX')).toEqual([[6_000, 'chat']]);
    expect(found('lindq')).toEqual([
      [500, 'joined'],
      [2_000, 'hand'],
      [3_000, 'floor'],
      [6_000, 'chat'],
    ]);
    expect(found(' ')).toEqual([]);
  });

  it('mark who begins to speak, not each word', () => {
    const marks = speakerMarks(
      [
        [0, 'a'],
        [2_000, 'b'],
        [12_000, 'b'],
        [20_000, 'b'],
        [40_000, 'a'],
      ].map(([atMs, participant]) => ({
        atMs: atMs as number,
        kind: 'speaker',
        participant: participant as string,
      })),
    );
    expect(marks.map(({ atMs, participant }) => [atMs, participant])).toEqual([
      [0, 'a'],
      [12_000, 'b'],
      [40_000, 'a'],
    ]);
  });

  it('have pauses, of which the last may be open', () => {
    expect(
      pausesOf(
        [
          [1, 2],
          [5, 5],
          [8, null],
        ],
        10,
      ),
    ).toEqual([
      [1, 2],
      [8, 10],
    ]);
  });
});

describe('keys', () => {
  const of = (key: string, over = {}) => replayKey({ key, ctrlKey: false, metaKey: false, altKey: false, ...over });

  it('play, move, change the speed; with a modifier they are the browser’s', () => {
    expect(of(' ')).toEqual({ do: 'toggle' });
    expect([of('ArrowLeft'), of('J'), of('l')]).toEqual([-5, -10, 10].map((seconds) => ({ do: 'move', seconds })));
    expect([of('<'), of('>'), of('F')].map((key) => key?.do)).toEqual(['slower', 'faster', 'fullscreen']);
    expect(of('f', { ctrlKey: true })).toBeUndefined();
    expect(of('x')).toBeUndefined();
  });
});

describe('API', () => {
  const api = (respond: (path: string, init: RequestInit) => Response | Error) => {
    const fetcher: Fetch = (path, init) => {
      const answer = respond(path, init);
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    };
    return new ReplayApi('r1', 'a.b', fetcher);
  };
  const problem = (response: Response | Error) =>
    api(() => response)
      .manifest()
      .then(
        () => 'none',
        (error: unknown) => (error instanceof ReplayError ? error.problem : error),
      );

  it('tells problems apart', async () => {
    const error = (code: string, status: number) => Response.json({ error: { code, message: '' } }, { status });
    expect(await problem(error('token-expired', 401))).toBe('expired');
    expect(await problem(error('unauthenticated', 401))).toBe('forbidden');
    expect(await problem(error('forbidden', 403))).toBe('forbidden');
    expect(await problem(error('not-found', 404))).toBe('not-found');
    expect(await problem(error('recording-locked', 423))).toBe('locked');
    expect(await problem(error('recording-damaged', 500))).toBe('damaged');
    expect(await problem(error('internal', 500))).toBe('server');
    expect(await problem(new TypeError('x'))).toBe('unreachable');
    expect(await problem(new Response('<html>'))).toBe('server');
    expect(await problem(Response.json({ tracks: [], durationMs: 1 }))).toBe('none');
  });

  it('knows damage from a broken network', async () => {
    const damaged = Response.json({ error: { code: 'recording-damaged', message: '' } }, { status: 500 });
    expect(await api(() => new Response('x', { status: 206 })).gives('v-1.webm')).toBe(true);
    expect(await api(() => damaged).gives('v-1.webm')).toBe(true);
    expect(await api(() => new TypeError('x')).gives('v-1.webm')).toBe(false);
    expect(await api(() => new Response('', { status: 503 })).gives('v-1.webm')).toBe(false);
    // A body that breaks off is no timeline.
    const body = new ReadableStream({ start: (controller) => controller.error(new TypeError('network')) });
    const broken = api(() => new Response(body)).timeline('timeline.ndjson', 0);
    await expect(broken).rejects.toMatchObject({ problem: 'unreachable' });
  });

  it('plays what has lost its timeline', async () => {
    const manifest = { tracks: [], durationMs: 1, state: 'final', timeline: 'timeline.ndjson', timelineBytes: 9 };
    const client = api((path) =>
      path.includes('/files/')
        ? Response.json({ error: { code: 'recording-damaged', message: '' } }, { status: 500 })
        : Response.json(manifest),
    );
    const scope = effectScope();
    const loaded = scope.run(() => loadRecording(client));
    await vi.waitFor(() => expect(loaded?.manifest.value).toBeDefined());
    expect([loaded?.lacksHistory.value, loaded?.problem.value, loaded?.entries.value]).toEqual([true, undefined, []]);
    scope.stop();
  });

  it('asks only for what it has not of a timeline', async () => {
    const asked: unknown[] = [];
    const client = api((path, init) => {
      asked.push([path, new Headers(init.headers).get('Range')]);
      return asked.length === 1 ? new Response('abc') : new Response('', { status: 416 });
    });
    expect(await client.timeline('timeline.ndjson', 0)).toHaveLength(3);
    expect(await client.timeline('timeline.ndjson', 3)).toHaveLength(0);
    expect(asked).toEqual([
      ['/api/recordings/r1/files/timeline.ndjson?token=a.b', null],
      ['/api/recordings/r1/files/timeline.ndjson?token=a.b', 'bytes=3-'],
    ]);
    const whole = api(() => new Response('abcdef'));
    expect(new TextDecoder().decode(await whole.timeline('timeline.ndjson', 3))).toBe('def');
  });
});

describe('page', () => {
  it('is built and served', () => {
    const root = new URL('../../../../', import.meta.url);
    expect(readFileSync(new URL('src/http/assets.rs', root), 'utf8')).toContain('replay.html');
    expect(readFileSync(new URL('web/app/vite.config.ts', root), 'utf8')).toContain("'replay'");
  });
});
