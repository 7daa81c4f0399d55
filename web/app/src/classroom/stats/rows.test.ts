import type { StreamStats } from '@lectern/client';
import { describe, expect, it } from 'vitest';

import { milliseconds, networkRows, receivedRows, sentRows } from './rows';

const stream = (change: Partial<StreamStats>): StreamStats => ({
  mid: '7',
  kind: 'video',
  participant: 'ada',
  source: 'camera',
  bitrateBps: 1_234_000,
  ...change,
});

describe('the figures', () => {
  it('of what arrives name the person, what is known, and why it is not more', () => {
    const streams = [
      stream({ width: 640, height: 360, framesPerSecond: 24.7, codec: 'VP8' }),
      stream({ mid: '8', source: 'screen', bitrateBps: 0 }),
      stream({ mid: '9', kind: 'audio', source: 'microphone' }),
      { mid: '10', kind: 'video', bitrateBps: 5 } as StreamStats,
    ];
    const rows = receivedRows(
      streams,
      (id, source) => `${id}/${source}`,
      (_, source) => (source === 'screen' ? 'slow' : undefined),
    );
    expect(rows).toEqual([
      { key: '7', title: 'ada/camera', facts: '640 × 360 · 25 fps · VP8 · 1.2 Mbit/s', why: undefined },
      { key: '8', title: 'ada/screen', facts: '0 kbit/s', why: 'slow' },
    ]);
  });

  it('of what is sent have a row for each layer that is', () => {
    const layers = [
      stream({ rid: 'q', bitrateBps: 120_000, limitation: 'none' }),
      stream({ rid: 'h', bitrateBps: 480_000, limitation: 'cpu' }),
      stream({ rid: 'f', bitrateBps: 0 }),
    ];
    const rows = sentRows(layers, (limitation) => (limitation === 'none' ? undefined : limitation));
    expect(rows.map(({ key, why }) => [key, why])).toEqual([
      ['7 q', undefined],
      ['7 h', 'cpu'],
    ]);
  });

  it('of the network have a dash where nothing is known', () => {
    const nothing = networkRows({ bitrateInBps: 0, bitrateOutBps: 0, received: [], sent: [] }, undefined);
    expect(nothing.map(({ down, up }) => [down, up])).toEqual([
      ['0 kbit/s', '0 kbit/s'],
      ['–', '–'],
      ['–', '–'],
    ]);
    const all = {
      bitrateInBps: 1,
      bitrateOutBps: 1,
      lossIn: 0.031,
      lossOut: 0,
      availableOutBps: 2e6,
      received: [],
      sent: [],
    };
    expect(networkRows(all, 999_600).slice(1)).toEqual([
      { key: 'carries', down: '1 Mbit/s', up: '2 Mbit/s' },
      { key: 'loss', down: '3%', up: '0%' },
    ]);
    expect([milliseconds(undefined), milliseconds(42)]).toEqual(['–', '42 ms']);
  });
});
