import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  fold,
  LecternSession,
  type Connection,
  type LessonEvent,
  type Notices,
  type SessionEvents,
  type SessionOptions,
} from '../src/index.js';
import { fixtures, message, type MessageFixture } from './support/fixtures.js';
import { AT, joined, LESSON, ScriptedServer, SETTINGS, SILENCE } from './support/server.js';

const state = fold(undefined, LESSON);
if (!state) throw new Error('the lesson opens');

let server: ScriptedServer;
const sessions: LecternSession[] = [];

beforeEach(async () => {
  server = await ScriptedServer.start();
  server.answer('join', () => joined({ state }));
});
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.leave();
  await server.stop();
});

function session(options: Partial<SessionOptions> = {}): LecternSession {
  const made = new LecternSession({ url: server.url, token: 'jwt', media: false, ...options });
  sessions.push(made);
  return made;
}

async function joinedSession(): Promise<LecternSession> {
  const made = session();
  await made.join();
  return made;
}

/** The next event that `accept` likes. */
function next<Name extends keyof SessionEvents>(
  from: LecternSession,
  name: Name,
  accept: (payload: SessionEvents[Name]) => boolean = () => true,
): Promise<SessionEvents[Name]> {
  return new Promise((resolve) => {
    const off = from.on(name, (payload) => {
      if (!accept(payload)) return;
      off();
      resolve(payload);
    });
  });
}

const status = (wanted: Connection['status']) => (connection: Connection) => connection.status === wanted;

/** A track without a browser: what the session uses of it. */
function track(): MediaStreamTrack {
  return Object.assign(new EventTarget(), { enabled: true }) as unknown as MediaStreamTrack;
}

const chat = (seq: number): LessonEvent => ({ seq, at: AT, by: 'you', kind: 'chat', text: `${seq}`, nonce: `${seq}` });

describe('join', () => {
  it('takes the lesson, the role and the permissions', async () => {
    const call = await joinedSession();
    expect(call.connection.status).toBe('connected');
    expect(call.identity).toBe('me');
    expect(call.self).toMatchObject({ identity: 'me', name: 'Me', present: true });
    expect(call.state).toEqual(state);
    expect(call.permissions.has('end')).toBe(true);
    expect(server.requests('join')).toEqual([message('request-join-without-media').payload]);
  });

  it('fails with the code of a refused token, and can be tried again', async () => {
    server.refuse = 'token-expired';
    const call = session();
    await expect(call.join()).rejects.toMatchObject({ name: 'LecternError', code: 'token-expired' });
    expect(call.connection.status).toBe('failed');
    server.refuse = undefined;
    await call.join();
    expect(call.connection.status).toBe('connected');
  });

  it.each(['room-full', 'room-locked', 'removed', 'unsupported-version'])(
    'fails when the answer is %s',
    async (code) => {
      server.answer('join', () => ({ error: { code, message: 'no' } }));
      await expect(session().join()).rejects.toMatchObject({ code });
      expect(server.requests('join')).toHaveLength(1);
    },
  );

  it('tries again when the server is busy', async () => {
    let busy = 2;
    server.answer('join', () => (busy-- > 0 ? { error: { code: 'unavailable', message: 'busy' } } : joined({ state })));
    await session().join();
    expect(server.requests('join')).toHaveLength(3);
  });

  it('gives up in time when nobody is there, and when it is told to', async () => {
    await server.stop();
    await expect(session({ joinTimeout: 200 }).join()).rejects.toMatchObject({ code: 'unreachable' });
    const stop = new AbortController();
    const joining = session().join({ signal: stop.signal });
    stop.abort();
    await expect(joining).rejects.toMatchObject({ code: 'aborted' });
    await server.listen();
  });
});

describe('after a cut', () => {
  it('resumes the session and takes what it missed', async () => {
    const call = await joinedSession();
    server.events(chat(4));
    await next(call, 'state');
    server.answer('join', () => joined({ resumed: true, events: [chat(5), chat(6)], seq: 6 }));
    const back = next(call, 'connection', status('connected'));
    server.cut();
    await back;
    expect(server.requests('join').at(-1)).toEqual({ version: 1, resume: { session: 'secret', after: 4 } });
    expect(call.state?.chat.map(({ seq }) => seq)).toEqual([4, 5, 6]);
  });

  it('joins anew, with its tracks, when the server has forgotten the session', async () => {
    const call = await joinedSession();
    await call.publish('microphone', track(), { muted: true });
    server.answer('join', (payload: { resume?: object }) =>
      payload.resume ? { error: { code: 'session-unknown', message: 'gone' } } : joined({ session: 'other', state }),
    );
    const back = next(call, 'connection', status('connected'));
    server.cut();
    await back;
    await expect.poll(() => server.requests('publish')).toHaveLength(2);
    expect(server.requests('publish').at(-1)).toEqual({ source: 'microphone', muted: true });
  });

  it('joins anew by itself after a restart of the server', async () => {
    const call = await joinedSession();
    const causes: Connection[] = [];
    call.on('connection', (connection) => causes.push(connection));
    const back = next(call, 'connection', status('connected'));
    server.notify('ended', { reason: 'shutdown' });
    await back;
    expect(causes[0]).toEqual({ status: 'reconnecting', cause: 'server-restart' });
    expect(server.requests('join').at(-1)).toEqual({ version: 1 });
  });

  it('says a chat message again with the same nonce when its answer was lost', async () => {
    const call = await joinedSession();
    let heard = 0;
    server.answer('chat', () => {
      heard += 1;
      if (heard > 1) return { data: { seq: 9 } };
      server.cut();
      return SILENCE;
    });
    const said = await call.chat('hello');
    expect(said.seq).toBe(9);
    const [first, second] = server.requests('chat');
    expect(second).toEqual(first);
    expect(second).toEqual({ text: 'hello', nonce: said.nonce });
  });

  it('forgets a bad connection of somebody whom the server does not name any more', async () => {
    const call = await joinedSession();
    server.notify('quality', { participants: [{ participant: 'you', quality: 'poor' }] });
    await next(call, 'quality');
    server.answer('join', () => joined({ resumed: true, events: [] }));
    const told = next(call, 'quality');
    server.cut();
    expect(await told).toEqual({ changed: [{ participant: 'you', quality: 'good' }] });
    expect(call.qualityOf('you')).toBeUndefined();
  });

  it('tries again when there is no fresh token to be had for a moment', async () => {
    let failures = 1;
    const call = session({
      token: () => (call.connection.status === 'reconnecting' && failures-- > 0 ? Promise.reject(new Error()) : 'jwt'),
    });
    await call.join();
    const over = next(call, 'connection', ({ status }) => status === 'connected' || status === 'failed');
    const lost = next(call, 'connection', status('reconnecting'));
    server.refuse = 'unauthenticated';
    server.cut();
    await lost;
    await expect.poll(() => failures).toBe(0);
    server.refuse = undefined;
    expect(await over).toEqual({ status: 'connected' });
  });

  it('takes a mute that a teacher made meanwhile, and does not undo it', async () => {
    const call = await joinedSession();
    const microphone = track();
    await call.publish('microphone', microphone);
    server.answer('join', () =>
      joined({
        resumed: true,
        events: [
          { seq: 4, at: AT, by: 'me', kind: 'published', participant: 'me', source: 'microphone', muted: false },
          { seq: 5, at: AT, by: 'you', kind: 'muted', participant: 'me', source: 'microphone', muted: true },
        ],
      }),
    );
    const back = next(call, 'connection', status('connected'));
    server.cut();
    await back;
    expect(call.local('microphone')?.muted).toBe(true);
    expect(microphone.enabled).toBe(false);
    expect(server.requests('mute')).toEqual([]);
  });
});

describe('less for oneself', () => {
  const asked = () => server.requests('receive');

  it('is asked for again in a new session, and not in one that goes on', async () => {
    const call = session();
    await call.receive({ mode: 'data-saver', budgetMegabytes: 50 });
    expect(asked()).toEqual([]);
    await call.join();
    await expect.poll(asked).toEqual([{ mode: 'data-saver', budgetMegabytes: 50 }]);
    server.answer('join', () => joined({ resumed: true, events: [] }));
    let back = next(call, 'connection', status('connected'));
    server.cut();
    await back;
    server.answer('join', () => joined({ session: 'other', state }));
    back = next(call, 'connection', status('connected'));
    server.notify('ended', { reason: 'shutdown' });
    await back;
    await expect.poll(asked).toHaveLength(2);
    expect(call.receiving).toEqual({ mode: 'data-saver', budgetMegabytes: 50 });
  });

  it('stays as it was when it is refused', async () => {
    const call = await joinedSession();
    server.answer('receive', () => ({ error: { code: 'bad-request', message: 'no' } }));
    await expect(call.receive({ mode: 'normal', budgetMegabytes: 0 })).rejects.toMatchObject({ code: 'bad-request' });
    expect(call.receiving).toEqual({ mode: 'normal' });
  });

  it('is known, with what was used, until a new session begins', async () => {
    const call = await joinedSession();
    expect(call.usage).toBeUndefined();
    const usage = message('notice-usage-budget').payload as unknown as Notices['usage'];
    server.notify('usage', usage);
    await next(call, 'usage');
    expect(call.usage).toEqual(usage);
    server.answer('join', () => joined({ session: 'other', state }));
    const anew = next(call, 'usage');
    server.notify('ended', { reason: 'shutdown' });
    expect(await anew).toEqual({ sentBytes: 0, receivedBytes: 0, mode: 'normal' });
  });
});

describe('small pictures for the operator', () => {
  it('are wanted from when the server says so to when it stops, and not after a cut until it says so again', async () => {
    const call = await joinedSession();
    const told: boolean[] = [];
    call.on('thumbnails', ({ wanted }) => told.push(wanted));
    expect(call.thumbnailsWanted).toBe(false);
    server.notify('thumbnails', { wanted: true });
    await next(call, 'thumbnails');
    await call.thumbnail('screen');
    server.answer('join', () => joined({ resumed: true, events: [] }));
    const back = next(call, 'thumbnails');
    server.cut();
    await back;
    expect([call.thumbnailsWanted, told]).toEqual([false, [true, false]]);
    server.notify('thumbnails', { wanted: true });
    await next(call, 'thumbnails');
    await call.leave();
    expect(told).toEqual([true, false, true, false]);
    await expect(call.thumbnail('camera', 'AAAA')).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('fail with what the server says against them', async () => {
    const call = await joinedSession();
    server.answer('thumbnail', () => ({ error: { code: 'too-large', message: 'no' } }));
    await expect(call.thumbnail('camera', 'AAAA')).rejects.toMatchObject({ code: 'too-large' });
  });
});

describe('what others suffer from', () => {
  it('is known to a teacher until the role changes, and is told anew after a cut', async () => {
    const call = await joinedSession();
    server.notify('quality', { participants: [{ participant: 'you', quality: 'fair', trouble: ['receiving'] }] });
    await next(call, 'quality');
    expect(call.troubleOf('you')).toEqual(['receiving']);
    expect(call.qualityOf('you')).toBe('fair');
    const forgotten = next(call, 'quality');
    server.notify('permissions', { permissions: [], role: 'student' });
    expect(await forgotten).toEqual({ changed: [{ participant: 'you', quality: 'fair' }] });
    server.answer('join', () => joined({ resumed: true, events: [] }));
    const anew = next(call, 'quality');
    server.cut();
    expect(await anew).toEqual({ changed: [{ participant: 'you', quality: 'good' }] });
    expect(call.troubleOf('you')).toEqual([]);
  });
});

it('says a chat message that failed again with the nonce that it had', async () => {
  const call = await joinedSession();
  server.answer('chat', () => ({ error: { code: 'unavailable', message: 'busy' } }));
  await expect(call.chat('hello', { nonce: 'mine' })).rejects.toMatchObject({ code: 'unavailable' });
  server.answer('chat', () => ({ data: { seq: 9 } }));
  expect(await call.chat('hello', { nonce: 'mine' })).toEqual({ seq: 9, nonce: 'mine' });
  expect(server.requests('chat')).toEqual(Array(2).fill({ text: 'hello', nonce: 'mine' }));
});

describe('the lesson', () => {
  it('asks for what is missing', async () => {
    const call = await joinedSession();
    server.answer('sync', (payload: { after: number }) => ({ data: { events: [chat(payload.after + 1)], seq: 5 } }));
    const told = next(call, 'state');
    server.events(chat(5));
    expect((await told).events.map(({ seq }) => seq)).toEqual([4, 5]);
    expect(server.requests('sync')).toEqual([{ after: 3 }]);
  });

  it.each(['left', 'removed', 'replaced', 'closed', 'token-expired', 'timeout'] as const)(
    'ends when %s',
    async (reason) => {
      const call = await joinedSession();
      const ended = next(call, 'connection', status('ended'));
      server.notify('ended', { reason });
      expect(await ended).toEqual({ status: 'ended', reason });
      await expect(call.chat('too late')).rejects.toMatchObject({ code: 'ended' });
    },
  );
});

describe('own tracks', () => {
  it('are enabled only while they are not muted', async () => {
    const call = await joinedSession();
    const microphone = track();
    await call.publish('microphone', microphone, { muted: true });
    expect(microphone.enabled).toBe(false);
    await call.unmute('microphone');
    expect(microphone.enabled).toBe(true);
    await call.mute('microphone');
    expect(microphone.enabled).toBe(false);
  });

  it('stay muted when the server does not allow them to speak', async () => {
    const call = await joinedSession();
    const microphone = track();
    await call.publish('microphone', microphone, { muted: true });
    server.answer('mute', () => ({ error: { code: 'forbidden', message: 'not now' } }));
    await expect(call.unmute('microphone')).rejects.toMatchObject({ code: 'forbidden' });
    expect(microphone.enabled).toBe(false);
  });

  it('are not kept when the server refuses them, and not offered without permission', async () => {
    const call = await joinedSession();
    server.answer('publish', () => ({ error: { code: 'forbidden', message: 'no' } }));
    await expect(call.publish('camera', track())).rejects.toMatchObject({ code: 'forbidden' });
    expect(call.local('camera')).toBeUndefined();
    await expect(call.publish('screen', track())).rejects.toMatchObject({ code: 'forbidden' });
    expect(server.requests('publish')).toHaveLength(1);
  });

  it('stop when the device does, or when a teacher stops them', async () => {
    const call = await joinedSession();
    const camera = track();
    await call.publish('camera', camera);
    camera.dispatchEvent(new Event('ended'));
    await expect.poll(() => server.requests('unpublish')).toEqual([{ source: 'camera' }]);
    await call.publish('microphone', track());
    const stopped = next(call, 'local', ({ track }) => !track);
    server.events({ seq: 4, at: AT, by: 'you', kind: 'unpublished', participant: 'me', source: 'microphone' });
    expect(await stopped).toEqual({ source: 'microphone', track: undefined, by: 'you' });
    expect(server.requests('unpublish')).toHaveLength(1);
  });

  it('that were published before the join are said with it', async () => {
    const call = session();
    await call.publish('microphone', track());
    await call.join();
    await expect.poll(() => server.requests('publish')).toEqual([{ source: 'microphone', muted: false }]);
  });
});

describe('the wire', () => {
  const all = { ...SETTINGS };
  const says: Record<string, (call: LecternSession) => Promise<unknown>> = {
    'request-thumbnail': (call) => call.thumbnail('camera', '/9j/4AAQ'),
    'request-thumbnail-taken-back': (call) => call.thumbnail('screen'),
    'request-chat': (call) => call.chat('Why is 1 not prime? <b>素数</b> 😀'),
    'request-end': (call) => call.end(),
    'request-floor': (call) => call.floor('s-1', true),
    'request-hand': (call) => call.hand(true),
    'request-hand-other': (call) => call.hand(false, 's-1'),
    'request-leave': (call) => call.leave(),
    'request-mute': async (call) => {
      await call.publish('microphone', track());
      await call.mute('microphone');
    },
    'request-mute-all': (call) => call.muteAll(),
    'request-mute-other': (call) => call.muteParticipant('s-1', 'microphone'),
    'request-publish-muted': (call) => call.publish('microphone', track(), { muted: true }),
    'request-receive': (call) => call.receive({ mode: 'data-saver', budgetMegabytes: 300 }),
    'request-receive-audio-only': (call) => call.receive({ mode: 'audio-only' }),
    'request-record': (call) => call.record('start'),
    'request-record-pause': (call) => call.record('pause'),
    'request-record-resume': (call) => call.record('resume'),
    'request-record-stop': (call) => call.record('stop'),
    'request-consent': (call) => call.consent(true),
    'request-remove': (call) => call.remove('s-1'),
    'request-role': (call) => call.setRole('s-1', 'assistant'),
    'request-settings': (call) => call.settings({ locked: true, studentMicrophones: false }),
    'request-settings-all': (call) =>
      call.settings({
        title: 'Algebra 二',
        locked: true,
        chat: all.chat,
        studentMicrophones: all.studentMicrophones,
        studentCameras: all.studentCameras,
        studentScreens: all.studentScreens,
        studentsSeeStudents: all.studentsSeeStudents,
        maxParticipants: all.maxParticipants,
        recordAutomatically: all.recordAutomatically,
        recordStudentCameras: all.recordStudentCameras,
      }),
  };

  it.each(Object.keys(says))('%s is what the server reads', async (name) => {
    const { event, payload } = message(name);
    const call = await joinedSession();
    await says[name]?.(call);
    const heard = server.heard.filter((said) => said.name === event).at(-1)?.payload;
    // The nonce is the client's own.
    const nonce = (heard as { nonce?: string }).nonce;
    expect(heard).toEqual({ ...payload, ...(nonce !== undefined && { nonce }) });
    if (nonce !== undefined) expect(nonce).toMatch(/^[0-9a-f]{32}$/);
  });

  it.each(fixtures<MessageFixture>('messages').filter(({ content }) => content.direction === 'notice'))(
    '$file is understood',
    async ({ content: { event, payload } }) => {
      const before = { ...state, seq: ((payload as Partial<Notices['lesson']>).events?.[0]?.seq ?? 1) - 1 };
      server.answer('join', () => joined({ state: before }));
      const call = await joinedSession();
      const told: [string, unknown][] = [];
      for (const name of [
        'state',
        'slots',
        'speakers',
        'quality',
        'pictures',
        'usage',
        'thumbnails',
        'permissions',
        'connection',
      ] as const) {
        call.on(name, (heard) => told.push([name, heard]));
      }
      server.notify(event as keyof Notices, payload as never);
      // A marker behind it, as messages come in order.
      const marker = next(call, 'speakers', ({ active }) => active === 'marker');
      server.notify('speakers', { levels: [], active: 'marker' });
      await Promise.race([
        marker,
        next(call, 'connection', status('ended')),
        next(call, 'connection', status('reconnecting')),
      ]);
      expect(told[0]).toEqual(EXPECTED[event]?.(payload as never) ?? ['speakers', { levels: [], active: 'marker' }]);
    },
  );

  /** What a session tells of a notice. `media` is for the repair alone, `encodings` for the browser. */
  const EXPECTED: Record<string, (payload: never) => [string, unknown] | undefined> = {
    // The second slot of the example was empty and is.
    slots: ({ slots }: Notices['slots']) => ['slots', { changed: slots.slice(0, 1) }],
    speakers: (payload: Notices['speakers']) => ['speakers', payload],
    quality: ({ participants }: Notices['quality']) => ['quality', { changed: participants }],
    pictures: ({ pictures }: Notices['pictures']) => ['pictures', { changed: pictures }],
    usage: (usage: Notices['usage']) => ['usage', usage],
    // Nobody looks, unless the server has said otherwise.
    thumbnails: ({ wanted }: Notices['thumbnails']) => (wanted ? ['thumbnails', { wanted }] : undefined),
    permissions: ({ permissions, role }: Notices['permissions']) => [
      'permissions',
      { permissions: new Set(permissions), role },
    ],
    ended: ({ reason }: Notices['ended']) => [
      'connection',
      reason === 'shutdown' ? { status: 'reconnecting', cause: 'server-restart' } : { status: 'ended', reason },
    ],
    lesson: ({ events }: Notices['lesson']) => {
      const before = { ...state, seq: (events[0]?.seq ?? 1) - 1 };
      return ['state', { state: fold(before, events), events }];
    },
  };
});
