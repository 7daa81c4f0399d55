// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope } from 'vue';

import { ConsoleApi, type ConsoleRoom } from './api';
import { tilesOf, useWall, type WallPicture } from './wall';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

interface Listed {
  id: string;
  participant: string;
  source: string;
}

/** A server whose pictures a test changes, and the wall of one of its rooms. */
function wall() {
  const server = { listed: [] as Listed[], gone: new Set<string>(), status: 200 };
  const asked: string[] = [];
  const held = new Set<string>();
  const api = new ConsoleApi('secret', (path) => {
    asked.push(path);
    if (server.status !== 200) return Promise.resolve(new Response('', { status: server.status }));
    const id = path.split('/thumbnails/')[1];
    if (id === undefined) return Promise.resolve(Response.json({ thumbnails: server.listed }));
    return Promise.resolve(server.gone.has(id) ? new Response('', { status: 404 }) : new Response(id));
  });
  const scope = effectScope();
  const made = scope.run(() =>
    useWall(() => api, 'algebra 1', {
      async make(picture) {
        const url = `blob:${await picture.text()}`;
        held.add(url);
        return url;
      },
      free: (url) => void held.delete(url),
    }),
  );
  if (!made) throw new Error('no wall');
  const urls = () => Object.fromEntries([...made.pictures.value].map(([key, { url }]) => [key, url]));
  return { server, asked, held, scope, urls, ...made };
}

const ana = (id: string) => ({ id, participant: 'ana', source: 'camera' });
const screen = (id: string) => ({ id, participant: 'ana', source: 'screen' });

describe('the wall', () => {
  it('fetches what is new, keeps what is not, and frees what is gone', async () => {
    const { server, asked, held, urls, scope } = wall();
    server.listed = [ana('1'), screen('2')];
    await vi.advanceTimersByTimeAsync(1_000);
    expect(urls()).toEqual({ 'ana/camera': 'blob:1', 'ana/screen': 'blob:2' });
    server.listed = [ana('1'), screen('3')];
    await vi.advanceTimersByTimeAsync(1_000);
    expect(urls()).toEqual({ 'ana/camera': 'blob:1', 'ana/screen': 'blob:3' });
    expect(asked.filter((path) => path.endsWith('/1'))).toEqual(['/api/rooms/algebra%201/thumbnails/1']);
    server.listed = [ana('1')];
    await vi.advanceTimersByTimeAsync(1_000);
    expect([...held]).toEqual(['blob:1']);
    scope.stop();
    expect([...held]).toEqual([]);
    const before = asked.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(before);
  });

  it('keeps the picture before when the new one was replaced on the way', async () => {
    const { server, urls, scope } = wall();
    server.listed = [ana('1')];
    await vi.advanceTimersByTimeAsync(1_000);
    server.listed = [ana('2')];
    server.gone.add('2');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(urls()).toEqual({ 'ana/camera': 'blob:1' });
    scope.stop();
  });

  it('keeps what is there while the server is away, and says why', async () => {
    const { server, urls, problem, isLoading, scope } = wall();
    expect(isLoading.value).toBe(true);
    server.listed = [ana('1')];
    await vi.advanceTimersByTimeAsync(1_000);
    expect(isLoading.value).toBe(false);
    server.status = 503;
    await vi.advanceTimersByTimeAsync(6_000);
    expect([problem.value, urls()]).toEqual(['server', { 'ana/camera': 'blob:1' }]);
    server.status = 200;
    await vi.advanceTimersByTimeAsync(6_000);
    expect(problem.value).toBeUndefined();
    scope.stop();
  });

  it('asks nothing while nobody sees the page', async () => {
    const { asked, scope } = wall();
    const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    document.dispatchEvent(new Event('visibilitychange'));
    await vi.advanceTimersByTimeAsync(0);
    const before = asked.length;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(before);
    hidden.mockReturnValue(false);
    document.dispatchEvent(new Event('visibilitychange'));
    await vi.advanceTimersByTimeAsync(0);
    expect(asked).toHaveLength(before + 1);
    scope.stop();
  });
});

describe('its tiles', () => {
  const person = (identity: string, tracks: string[], muted: string[] = [], present = true) => ({
    identity,
    name: identity,
    role: 'student',
    present,
    media: 'connected',
    tracks,
    muted,
  });
  const picture = (url: string) => ({ url }) as WallPicture;

  it('are of everybody present, with shared screens first, and show nothing that is off', () => {
    const room = {
      participants: [
        person('ana', ['microphone', 'camera', 'screen']),
        person('bo', ['microphone', 'camera'], ['microphone', 'camera']),
        person('cy', []),
        person('gone', ['camera'], [], false),
      ],
    } as unknown as ConsoleRoom;
    const pictures = new Map([
      ['ana/camera', picture('a')],
      ['ana/screen', picture('s')],
      ['bo/camera', picture('b')],
      ['gone/camera', picture('g')],
    ]);
    const brief = tilesOf(room, pictures).map(({ key, picture, isMuted, isSent }) => [
      key,
      picture?.url,
      isMuted,
      isSent,
    ]);
    expect(brief).toEqual([
      ['ana/screen', 's', false, true],
      ['ana/camera', 'a', false, true],
      ['bo/camera', undefined, true, false],
      ['cy/camera', undefined, undefined, false],
    ]);
  });
});
