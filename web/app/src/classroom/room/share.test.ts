// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope, type EffectScope } from 'vue';

import { ScriptedSession } from '../../preview/session';
import { SETTINGS } from '../test/people';
import type { Captures } from '../media/capture';
import { createOwn } from './own';
import { createRoom } from './room';

let scope: EffectScope;
/** What the browser gives when it is asked for a screen. */
let given: MediaStreamTrack[];

class Track extends EventTarget {
  contentHint = '';
  stopped = false;
  constructor(readonly kind: 'audio' | 'video') {
    super();
  }
  stop(): void {
    this.stopped = true;
  }
}

beforeEach(() => {
  scope = effectScope();
  given = [new Track('video'), new Track('audio')] as unknown as MediaStreamTrack[];
  vi.stubGlobal('navigator', {
    mediaDevices: {
      getDisplayMedia: () =>
        Promise.resolve({
          getVideoTracks: () => given.filter(({ kind }) => kind === 'video'),
          getAudioTracks: () => given.filter(({ kind }) => kind === 'audio'),
        }),
    },
  });
});
afterEach(() => {
  scope.stop();
  window.localStorage.clear();
  vi.unstubAllGlobals();
});

function classroom() {
  const session = new ScriptedSession('me', 'teacher');
  session.say({ kind: 'opened', lesson: '1', room: 'r', settings: SETTINGS });
  session.enter({ id: 'me', name: 'Me', role: 'teacher' });
  const off = { status: 'off' } as const;
  const captures = { microphone: off, camera: off } as unknown as Captures;
  const own = scope.run(() => createOwn(createRoom(session), captures)) as ReturnType<typeof createOwn>;
  return { session, own };
}

const hint = ({ session }: ReturnType<typeof classroom>) => session.local('screen')?.track.contentHint;

describe('sharing a screen', () => {
  it('asks what will be shown, takes text unless told otherwise, and stops', async () => {
    const page = classroom();
    await page.own.toggleScreen();
    expect(page.own.share.asking.value).toBe(true);
    expect(page.session.local('screen')).toBeUndefined();
    await page.own.shareScreen();
    expect(page.own.share.asking.value).toBe(false);
    expect(hint(page)).toBe('detail');
    expect(page.session.local('screen-audio')).toBeDefined();
    await page.own.toggleScreen();
    expect(page.session.local('screen')).toBeUndefined();
    expect((given[0] as unknown as Track).stopped).toBe(true);
  });

  it('can change while it is shared, and the next time begins as this one ended', async () => {
    const page = classroom();
    await page.own.shareScreen();
    await page.own.share.choose('motion');
    expect(hint(page)).toBe('motion');
    scope.stop();
    scope = effectScope();
    const next = classroom();
    expect(next.own.share.content.value).toBe('motion');
    await next.own.shareScreen();
    expect(hint(next)).toBe('motion');
    await next.own.share.choose('text');
    expect(hint(next)).toBe('detail');
  });

  it('ends when the browser’s own button ends it', async () => {
    const page = classroom();
    await page.own.shareScreen();
    given[0]?.dispatchEvent(new Event('ended'));
    await vi.waitFor(() => expect(page.session.local('screen')).toBeUndefined());
  });
});
