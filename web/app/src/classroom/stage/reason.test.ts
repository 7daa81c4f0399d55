import { describe, expect, it } from 'vitest';

import { ownMark, pictureMark, pictureWords } from './reason';

const picture = (shown: 'full' | 'reduced' | 'paused', reason?: Parameters<typeof pictureMark>[0]['reason']) => ({
  participant: 'ada',
  source: 'camera' as const,
  shown,
  ...(reason && { reason }),
});

describe('the mark of a picture', () => {
  it('says why it is small, in plain words, and whose fault it is', () => {
    expect(pictureMark(picture('reduced', 'bandwidth'), 'Ada')).toEqual({
      icon: 'shrink',
      text: 'Your network is slow: smaller picture',
      paused: false,
    });
    expect(pictureMark(picture('paused', 'sender-cpu'), 'Ada')?.text).toBe('Ada’s computer is busy: picture paused');
    expect(pictureMark(picture('paused', 'policy'), 'Ada')?.paused).toBe(true);
    expect(pictureMark(picture('paused', 'bandwidth'), 'Ada')?.icon).toBe('pause');
  });

  it('is absent when all is well, and when the sender has no better one', () => {
    expect(pictureMark(picture('full'), 'Ada')).toBeUndefined();
    expect(pictureMark(picture('reduced', 'layer-missing'), 'Ada')).toBeUndefined();
    expect(pictureWords(picture('reduced', 'layer-missing'), 'Ada')).toBe('Ada sends no larger picture');
    expect(pictureWords(picture('full'), 'Ada')).toBeUndefined();
  });

  it('of the own camera says what others see', () => {
    expect(ownMark([])).toBeUndefined();
    expect(ownMark(['receiving'])).toBeUndefined();
    expect(ownMark(['sending-bandwidth', 'sending-cpu'])?.icon).toBe('busy');
    expect(ownMark(['sending-bandwidth'])?.icon).toBe('shrink');
  });
});
