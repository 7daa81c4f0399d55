import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Adaptation } from '../src/adaptation.js';
import type { LessonEvent, ReceivedPicture, SendingLimit, Source } from '../src/index.js';
import { limitOf, SendingWatch } from '../src/sending.js';

describe('what holds a picture back', () => {
  it('is the worst of the layers that are sent', () => {
    const layer = (qualityLimitationReason: string, active = true) => ({
      type: 'outbound-rtp',
      active,
      qualityLimitationReason,
    });
    expect(limitOf([])).toBe('none');
    expect(limitOf([layer('none'), layer('other')])).toBe('none');
    expect(limitOf([layer('none'), layer('bandwidth')])).toBe('bandwidth');
    expect(limitOf([layer('bandwidth'), layer('cpu')])).toBe('cpu');
    expect(limitOf([layer('none'), layer('cpu', false)])).toBe('none');
    expect(limitOf([{ type: 'outbound-rtp' }, { type: 'candidate-pair' }])).toBe('none');
  });

  describe('as it is said', () => {
    beforeEach(() => void vi.useFakeTimers());
    afterEach(() => void vi.useRealTimers());

    const now: Partial<Record<Source, SendingLimit>> = {};
    const said: [Source, SendingLimit][] = [];
    let watch: SendingWatch;

    beforeEach(() => {
      said.length = 0;
      now.camera = 'none';
      now.screen = 'none';
      watch = new SendingWatch({
        read: (source) => Promise.resolve(now[source] ?? 'none'),
        changed: (source, limit) => said.push([source, limit]),
      });
      watch.start();
    });
    afterEach(() => watch.stop());

    it('has held for three seconds, and is over after three', async () => {
      now.camera = 'cpu';
      await vi.advanceTimersByTimeAsync(3_900);
      expect(said).toEqual([]);
      await vi.advanceTimersByTimeAsync(1_000);
      expect(said).toEqual([['camera', 'cpu']]);
      await vi.advanceTimersByTimeAsync(30_000);
      now.camera = 'none';
      await vi.advanceTimersByTimeAsync(2_900);
      expect(said).toHaveLength(1);
      await vi.advanceTimersByTimeAsync(2_000);
      expect(said).toEqual([
        ['camera', 'cpu'],
        ['camera', 'none'],
      ]);
    });

    it('is nothing when it comes and goes', async () => {
      for (let second = 0; second < 30; second += 1) {
        now.screen = second % 3 === 2 ? 'none' : 'bandwidth';
        await vi.advanceTimersByTimeAsync(1_000);
      }
      expect(said).toEqual([]);
    });

    it('is said again to a server that has forgotten it, and not after the end', async () => {
      now.screen = 'bandwidth';
      await vi.advanceTimersByTimeAsync(6_000);
      watch.forget();
      await vi.advanceTimersByTimeAsync(6_000);
      expect(said).toEqual([
        ['screen', 'bandwidth'],
        ['screen', 'bandwidth'],
      ]);
      now.screen = 'cpu';
      watch.stop();
      await vi.advanceTimersByTimeAsync(9_000);
      expect(said).toHaveLength(2);
      expect(vi.getTimerCount()).toBe(0);
    });
  });
});

describe('what the server has said', () => {
  const reduced: ReceivedPicture = { participant: 'a', source: 'camera', shown: 'reduced', reason: 'bandwidth' };
  const full = { participant: 'a', source: 'camera', shown: 'full' };
  const at = '2026-11-21T09:30:00.000Z';

  it('is well until told otherwise', () => {
    const adaptation = new Adaptation();
    expect(adaptation.picture('constructor', 'camera').shown).toBe('full');
    expect(adaptation.trouble('constructor')).toEqual([]);
    expect(adaptation.quality('constructor')).toBeUndefined();
  });

  it('of a picture is forgotten when it is no longer shown', () => {
    const adaptation = new Adaptation();
    const screen: ReceivedPicture = { participant: 'a', source: 'screen', shown: 'full', width: 1920, height: 1080 };
    adaptation.takePictures([reduced, screen]);
    expect(adaptation.picture('a', 'camera')).toEqual(reduced);
    const view = { participant: 'a', source: 'camera', width: 16, height: 16 } as const;
    expect(adaptation.keepPictures([view])).toEqual([]);
    expect(adaptation.keepPictures([])).toEqual([full]);
    expect(adaptation.picture('a', 'camera')).toEqual(full);
  });

  it('of a person is forgotten when it comes or goes', () => {
    const adaptation = new Adaptation();
    adaptation.takeQualities([
      { participant: 'a', quality: 'poor', trouble: ['receiving'] },
      { participant: 'b', quality: 'fair' },
    ]);
    const left: LessonEvent = { seq: 2, at, kind: 'left', participant: 'a', reason: 'left' };
    expect(adaptation.follow([left])).toEqual([{ participant: 'a', quality: 'good' }]);
    expect(adaptation.trouble('a')).toEqual([]);
    expect(adaptation.quality('b')).toBe('fair');
    adaptation.takePictures([reduced]);
    expect(adaptation.reset()).toEqual({ pictures: [full], qualities: [{ participant: 'b', quality: 'good' }] });
    expect(adaptation.reset()).toEqual({ pictures: [], qualities: [] });
  });

  it('of the trouble of others is for teachers', () => {
    const adaptation = new Adaptation();
    adaptation.takeQualities([
      { participant: 'a', quality: 'good', trouble: ['receiving', 'sending-cpu'] },
      { participant: 'me', quality: 'good', trouble: ['sending-bandwidth'] },
    ]);
    expect(adaptation.troubled).toHaveLength(2);
    expect(adaptation.keepOwnTrouble('me')).toEqual([{ participant: 'a', quality: 'good' }]);
    expect(adaptation.troubled.map(({ participant }) => participant)).toEqual(['me']);
  });
});
