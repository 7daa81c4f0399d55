import { describe, expect, it } from 'vitest';

import { ApiError, ConsoleApi, keyFromHash, type Fetch } from './api';
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
