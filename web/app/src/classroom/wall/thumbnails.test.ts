// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope } from 'vue';

import { ScriptedSession } from '../../preview/session';
import { createRoom } from '../room/room';
import { SETTINGS } from '../test/people';
import { encode, EVERY_MS, FIRST_MS, smallSize, ThumbnailSender, type ThumbnailPorts } from './thumbnails';
import { useWatched } from './watched';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A page whose camera and screen can be switched, and what it has sent. */
function page() {
  const track = {} as MediaStreamTrack;
  const on = new Set(['camera']);
  const said: string[] = [];
  let hold: Promise<void> | undefined;
  const ports: ThumbnailPorts = {
    track: (source) => (on.has(source) ? track : undefined),
    async draw(source) {
      await hold;
      return `${source}-picture`;
    },
    send(source, jpeg) {
      said.push(`${source}: ${jpeg ?? 'nothing'}`);
      return Promise.resolve();
    },
    rest: () => undefined,
  };
  const sender = new ThumbnailSender(ports, () => 0.5);
  const holdUntil = (until: Promise<void>) => void (hold = until);
  return { on, said, sender, holdUntil };
}

describe('small pictures', () => {
  it('are sent while they are wanted, each five seconds, and not before', async () => {
    const { said, sender } = page();
    await vi.advanceTimersByTimeAsync(60_000);
    sender.changed();
    await vi.advanceTimersByTimeAsync(0);
    expect(said).toEqual([]);
    sender.want(true);
    await vi.advanceTimersByTimeAsync(FIRST_MS / 2 - 1);
    expect(said).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(said).toEqual(['camera: camera-picture']);
    await vi.advanceTimersByTimeAsync(EVERY_MS * 2);
    expect(said).toHaveLength(3);
    sender.want(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(said).toHaveLength(3);
  });

  it('are taken back at once, once, when there is nothing to show any more', async () => {
    const { on, said, sender } = page();
    on.add('screen');
    sender.want(true);
    await vi.advanceTimersByTimeAsync(FIRST_MS);
    expect(said).toEqual(['camera: camera-picture', 'screen: screen-picture']);
    on.delete('camera');
    sender.changed();
    await vi.advanceTimersByTimeAsync(EVERY_MS * 2);
    expect(said.slice(2)).toEqual([
      'camera: nothing',
      'screen: screen-picture',
      'screen: screen-picture',
      'screen: screen-picture',
    ]);
  });

  it('that were drawn before a change are not sent after it', async () => {
    const { on, said, sender, holdUntil } = page();
    let release: () => void = () => undefined;
    holdUntil(
      new Promise<void>((resolve) => {
        release = resolve;
      }),
    );
    sender.want(true);
    await vi.advanceTimersByTimeAsync(FIRST_MS);
    on.delete('camera');
    sender.changed();
    release();
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(said).toEqual([]);
    on.add('camera');
    sender.changed();
    sender.want(false);
    await vi.advanceTimersByTimeAsync(EVERY_MS);
    expect(said).toEqual([]);
  });

  it('have the shape of what they show, and the size that the server takes', () => {
    expect(smallSize(1280, 720)).toEqual({ width: 256, height: 144 });
    expect(smallSize(720, 1280)).toEqual({ width: 144, height: 256 });
    expect(smallSize(160, 120)).toEqual({ width: 160, height: 120 });
    expect(smallSize(4000, 2)).toEqual({ width: 256, height: 1 });
  });

  it('are as good as their length lets them be', () => {
    const canvas = (bytes: (quality: number) => number, type = 'image/jpeg') => ({
      toDataURL: (_: string, quality: number) => `data:${type};base64,${'A'.repeat((bytes(quality) / 3) * 4)}`,
    });
    expect(encode(canvas(() => 3 * 4096))).toHaveLength(16_384);
    expect(encode(canvas((quality) => 30_000 * quality))).toHaveLength(16_000);
    expect(encode(canvas(() => 3 * 4097))).toBeUndefined();
    expect(encode(canvas(() => 300, 'image/png'))).toBeUndefined();
  });
});

describe('in the class', () => {
  it('whether the operator looks is known from the start, and follows the server until the page goes', () => {
    const session = new ScriptedSession('me', 'student');
    session.say({ kind: 'opened', lesson: '1', room: 'r', settings: SETTINGS });
    session.look(true);
    const scope = effectScope();
    const watched = scope.run(() => useWatched(createRoom(session)));
    expect(watched?.value).toBe(true);
    session.look(false);
    expect(watched?.value).toBe(false);
    session.look(true);
    scope.stop();
    session.look(false);
    expect(watched?.value).toBe(true);
  });
});
