import { describe, expect, it, vi } from 'vitest';
import { effectScope } from 'vue';

import { ApiError, ConsoleApi, keyFromHash, type ConsoleRecording, type Fetch } from './api';
import { listAudit } from './audit';
import { listExports, type ExportList } from './exports';
import { choiceOf, dayOf, keepUntilOf } from './keep';
import { cancelsExport, listRecordings, type RecordingList } from './recordings';
import { sinceStart } from './uptime';

interface Call {
  path: string;
  init: RequestInit;
}

function api(respond: (call: Call) => Response | Error): { api: ConsoleApi; calls: Call[] } {
  const calls: Call[] = [];
  const fetcher: Fetch = (path, init) => {
    calls.push({ path, init });
    const answer = respond({ path, init });
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { api: new ConsoleApi('secret', fetcher), calls };
}

const problemOf = async (work: Promise<unknown>) => {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof ApiError ? [error.problem, error.detail] : error;
};

describe('console API', () => {
  it('shows the key, and sorts rooms and people', async () => {
    const person = (name: string, role: string, present = true) => ({ identity: name, name, role, present });
    const rooms = [
      { room: 'b', title: 'Zoo', participants: [] },
      { room: 'a', title: '', participants: [person('Ana', 'student', false)] },
      {
        room: 'c',
        title: 'Yoga',
        participants: [person('Bo', 'student'), person('Zed', 'teacher'), person('Al', 'student')],
      },
    ];
    const { api: client, calls } = api(() => Response.json({ rooms }));
    const sorted = await client.rooms();
    expect(sorted.map(({ room }) => room)).toEqual(['c', 'a', 'b']);
    expect(sorted[0]?.participants.map(({ name }) => name)).toEqual(['Zed', 'Al', 'Bo']);
    expect(new Headers(calls[0]?.init.headers).get('Authorization')).toBe('Bearer secret');
  });

  it('makes links with absolute addresses', async () => {
    const request = { room: 'algebra', identity: 'bo', name: 'Bo', role: 'student', preset: 'lecture' } as const;
    const { api: client, calls } = api(() =>
      Response.json({ token: 'a.b.c', expiresAt: '2026-11-22T09:00:00.000Z' }, { status: 201 }),
    );
    const made = await client.makeLink(request, 'https://class.example');
    expect(made.url).toBe('https://class.example/room/algebra#token=a.b.c');
    expect(calls[0]).toMatchObject({ path: '/api/tokens', init: { method: 'POST' } });
    expect(JSON.parse(calls[0]?.init.body as string)).toEqual(request);
    const whole = api(() =>
      Response.json({ token: 't', url: 'https://other.example/room/algebra#token=t', expiresAt: '' }),
    );
    expect((await whole.api.makeLink(request, 'https://class.example')).url).toBe(
      'https://other.example/room/algebra#token=t',
    );
  });

  it('tells a wrong key, a refusal, a broken and an absent server apart', async () => {
    expect(await problemOf(api(() => new Response('', { status: 401 })).api.node())).toEqual(['key', undefined]);
    expect(await problemOf(api(() => new TypeError('failed to fetch')).api.node())).toEqual(['unreachable', undefined]);
    expect(await problemOf(api(() => new Response('<html>')).api.node())).toEqual(['server', undefined]);
    expect(await problemOf(api(() => new Response('', { status: 503 })).api.node())).toEqual(['server', undefined]);
    const refusal = () => Response.json({ error: { code: 'bad-request', message: 'no such role' } }, { status: 400 });
    expect(await problemOf(api(refusal).api.node())).toEqual(['refused', 'no such role']);
  });
});

describe('audit', () => {
  it('is asked for by kind and text, from the last one on, and says that the console asks', async () => {
    const { api: client, calls } = api(() => Response.json({ entries: [{ seq: 7 }] }));
    await client.signIn().catch(() => undefined);
    await client.audit({ text: '', limit: 26 });
    expect(await client.audit({ text: '192.0.2', act: 'recording', before: 7, limit: 26 })).toEqual([{ seq: 7 }]);
    expect(calls.map(({ path }) => path)).toEqual([
      '/api/sign-in',
      '/api/audit?limit=26',
      '/api/audit?limit=26&q=192.0.2&act=recording&before=7',
    ]);
    expect(new Headers(calls[0]?.init.headers).get('Lectern-Client')).toBe('console');
  });

  it('pages on, follows the kind, and keeps what is there when the server fails', async () => {
    const all = Array.from({ length: 40 }, (_, index) => ({
      seq: 40 - index,
      act: index % 2 ? 'sign-in' : 'room.end',
    }));
    let fails = false;
    const { api: client } = api(({ path }) => {
      const query = new URL(path, 'http://x').searchParams;
      const before = Number(query.get('before') ?? Infinity);
      const act = query.get('act');
      const entries = all.filter((entry) => entry.seq < before && (!act || entry.act.startsWith(act)));
      return fails
        ? new Response('', { status: 503 })
        : Response.json({ entries: entries.slice(0, Number(query.get('limit'))) });
    });
    const scope = effectScope();
    const list = scope.run(() => listAudit(() => client));
    if (!list) throw new Error('no list');
    await vi.waitFor(() => expect(list.items.value?.length).toBe(25));
    expect(list.hasMore.value).toBe(true);
    await list.more();
    expect(list.items.value?.map(({ seq }) => seq)).toEqual(all.map(({ seq }) => seq));
    expect(list.hasMore.value).toBe(false);
    list.kind.value = 'room';
    await vi.waitFor(() => expect(list.items.value?.length).toBe(20));
    fails = true;
    await list.reload();
    expect([list.problem.value, list.items.value?.length]).toEqual(['server', 20]);
    scope.stop();
  });
});

describe('recordings', () => {
  it('are asked for with what is looked for, from the last one on', async () => {
    const { api: client, calls } = api(() => Response.json({ recordings: [{ id: 'r1' }] }));
    await client.recordings({ text: '', limit: 21 });
    const page = await client.recordings({ text: 'bo & co', before: '2026-11-21T09:00:00.000Z', limit: 21 });
    expect([page.recordings.length, page.locked]).toEqual([1, 0]);
    expect(calls.map(({ path }) => path)).toEqual([
      '/api/recordings?limit=21',
      '/api/recordings?limit=21&q=bo+%26+co&before=2026-11-21T09%3A00%3A00.000Z',
    ]);
  });

  it('are linked to and deleted', async () => {
    const { api: client, calls } = api(({ init }) =>
      init.method === 'DELETE'
        ? new Response(null, { status: 204 })
        : Response.json({ token: 'a.b', expiresAt: '' }, { status: 201 }),
    );
    expect((await client.recordingLink('r1', 60, 'https://class.example')).url).toBe(
      'https://class.example/replay/r1#token=a.b',
    );
    await client.deleteRecording('r1');
    expect(calls.map(({ path, init }) => [init.method, path])).toEqual([
      ['POST', '/api/recordings/r1/links'],
      ['DELETE', '/api/recordings/r1'],
    ]);
    expect(calls[0]?.init.body).toBe('{"ttlSeconds":60}');
    expect(await problemOf(api(() => new Response('', { status: 404 })).api.deleteRecording('r1'))).toEqual([
      'missing',
      undefined,
    ]);
  });

  it('are kept by the rule, for ever, or to the end of a day', async () => {
    const { api: client, calls } = api(() => Response.json({ id: 'r1', keepUntil: 'forever' }));
    expect(await client.keepRecording('r1', 'forever')).toMatchObject({ keepUntil: 'forever' });
    expect([calls[0]?.init.method, calls[0]?.path, calls[0]?.init.body]).toEqual([
      'PATCH',
      '/api/recordings/r1',
      '{"keepUntil":"forever"}',
    ]);
    const now = new Date(2026, 10, 26, 18, 0);
    expect(keepUntilOf('rule', '', now)).toBeNull();
    expect(keepUntilOf('forever', '', now)).toBe('forever');
    const end = new Date(2026, 10, 26, 23, 59, 59, 999).toISOString();
    expect(keepUntilOf('day', '2026-11-26', now)).toBe(end);
    expect(dayOf(end)).toBe('2026-11-26');
    for (const none of ['2026-11-25', '', '2026-13-01', 'soon'])
      expect(keepUntilOf('day', none, now), none).toBeUndefined();
    const kept = (keepUntil?: string | null) => choiceOf({ keepUntil } as ConsoleRecording);
    expect([kept(), kept(null), kept('forever'), kept(end)]).toEqual(['rule', 'rule', 'forever', 'day']);
  });

  it('tell whether removing them ends an export', async () => {
    let exports = [{ kind: 'sound', state: 'done', progress: 1 }];
    const { api: client, calls } = api(() => Response.json({ exports }));
    const cancels = (inUse: boolean) => cancelsExport(client, { id: 'r1', inUse } as ConsoleRecording);
    expect([await cancels(false), calls.length]).toEqual([false, 0]);
    expect(await cancels(true)).toBe(false);
    exports = [...exports, { kind: 'composed', state: 'queued', progress: 0 }];
    expect(await cancels(true)).toBe(true);
  });

  describe('in the list', () => {
    const recording = (at: number) => ({ id: `r${at}`, began: `2026-11-${String(60 - at)}T09:00:00.000Z` });

    it('come in steps, without gaps and twins', async () => {
      const all = Array.from({ length: 45 }, (_, index) => recording(index));
      const { api: client } = api(({ path }) => {
        const query = new URL(path, 'https://x').searchParams;
        const before = query.get('before') ?? '9';
        return Response.json({
          recordings: all.filter(({ began }) => began < before).slice(0, Number(query.get('limit'))),
        });
      });
      const scope = effectScope();
      const list = scope.run(() => listRecordings(() => client)) as RecordingList;
      await list.reload();
      expect([list.items.value?.length, list.hasMore.value]).toEqual([20, true]);
      await list.more();
      await list.more();
      expect([list.items.value?.map(({ id }) => id), list.hasMore.value]).toEqual([all.map(({ id }) => id), false]);
      list.replace({ ...recording(4), keepUntil: 'forever' } as ConsoleRecording);
      expect(list.items.value?.[4]).toMatchObject({ id: 'r4', keepUntil: 'forever' });
      list.drop('r3');
      expect(list.items.value).toHaveLength(44);
      scope.stop();
    });

    it('say how many nobody can watch, whatever is looked for since', async () => {
      const { api: client } = api(({ path }) => {
        const isAll = !path.includes('q=') && !path.includes('before=');
        return Response.json({ recordings: [recording(1)], ...(isAll && { locked: [{ id: 'a' }, { id: 'b' }] }) });
      });
      const scope = effectScope();
      const list = scope.run(() => listRecordings(() => client)) as RecordingList;
      await list.reload();
      expect(list.locked.value).toBe(2);
      list.text.value = 'knots';
      await list.reload();
      expect(list.locked.value).toBe(2);
      scope.stop();
    });

    it('keep what they show when the server is away', async () => {
      let away = false;
      const { api: client } = api(() => (away ? new TypeError('x') : Response.json({ recordings: [recording(1)] })));
      const scope = effectScope();
      const list = scope.run(() => listRecordings(() => client)) as RecordingList;
      await list.reload();
      away = true;
      await list.reload();
      expect([list.problem.value, list.items.value?.length]).toEqual(['unreachable', 1]);
      scope.stop();
    });
  });
});

describe('exports', () => {
  it('are followed while they are made, and fetched by their address alone', async () => {
    vi.useFakeTimers();
    let progress = 0;
    const job = () => ({ kind: 'composed', state: progress < 1 ? 'running' : 'done', progress });
    const { api: client, calls } = api(({ path, init }) => {
      if (path.endsWith('/links')) return Response.json({ token: 'a.b+c' }, { status: 201 });
      if (init.method === 'POST') return Response.json(job(), { status: 202 });
      return Response.json({ exports: calls.some((call) => call.init.method === 'POST') ? [job()] : [] });
    });
    const fetched: string[] = [];
    const scope = effectScope();
    const list = scope.run(() =>
      listExports(
        () => client,
        'r1',
        (address) => fetched.push(address),
      ),
    ) as ExportList;
    await vi.advanceTimersByTimeAsync(5_000);
    // Nothing is under way: nobody asks again.
    expect(calls).toHaveLength(1);
    await list.make('composed');
    for (progress of [0.4, 1]) {
      await vi.advanceTimersByTimeAsync(1_000);
      expect(list.jobs.value.get('composed')?.progress).toBe(progress);
    }
    const asked = calls.length;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(calls).toHaveLength(asked);
    await list.download('composed');
    expect(fetched).toEqual(['/api/recordings/r1/exports/composed/file?token=a.b%2Bc']);
    scope.stop();
    vi.useRealTimers();
  });

  it('say why they cannot be made', async () => {
    const error = { code: 'ffmpeg-missing', message: 'install it' };
    const { api: client } = api(({ init }) =>
      init.method === 'POST' ? Response.json({ error }, { status: 503 }) : Response.json({ exports: [] }),
    );
    const scope = effectScope();
    const list = scope.run(() =>
      listExports(
        () => client,
        'r1',
        () => undefined,
      ),
    ) as ExportList;
    await list.make('sound');
    expect(list.problems.value.get('sound')).toMatchObject({ problem: 'server', code: 'ffmpeg-missing' });
    expect(list.busy.value).toBeUndefined();
    scope.stop();
  });
});

describe('console', () => {
  it('takes a key from the address', () => {
    expect(keyFromHash('#key=abc%2F1')).toBe('abc/1');
    expect(keyFromHash('#other=1')).toBeUndefined();
    expect(keyFromHash('')).toBeUndefined();
  });

  it('says how long the server runs', () => {
    expect(sinceStart(0, 'en')).toBe('0s');
    expect(sinceStart(59.9, 'en')).toBe('59s');
    expect(sinceStart(3_723, 'en')).toBe('1h 2m');
    expect(sinceStart(93_845, 'en')).toBe('1d 2h');
  });
});
