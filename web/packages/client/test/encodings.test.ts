import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Encodings, savingOf } from '../src/encodings.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface Layer {
  rid: string;
  active?: boolean;
  maxBitrate: number;
  scaleResolutionDownBy?: number;
}

/** A sender that behaves as the specification says: parameters are refused when they are not the last ones that it gave. */
class Sender {
  encodings: Layer[];
  readonly set: boolean[][] = [];
  refusals = 0;
  track?: { getSettings: () => { width?: number; height?: number } };
  #transaction = 0;
  #busy = false;

  constructor(layers = 3) {
    this.encodings = ['q', 'h', 'f'].slice(0, layers).map((rid) => ({ rid, active: true, maxBitrate: 1 }));
  }

  getParameters(): { transactionId: string; encodings: Layer[] } {
    this.#transaction += 1;
    return { transactionId: `${this.#transaction}`, encodings: this.encodings.map((encoding) => ({ ...encoding })) };
  }

  async setParameters(parameters: { transactionId: string; encodings: Layer[] }): Promise<void> {
    if (this.#busy || parameters.transactionId !== `${this.#transaction}`) throw new Error('InvalidStateError');
    if (parameters.encodings.length !== this.encodings.length) throw new Error('InvalidModificationError');
    this.#busy = true;
    await new Promise((resolve) => setTimeout(resolve, 10));
    this.#busy = false;
    if (this.refusals > 0) {
      this.refusals -= 1;
      throw new Error('InvalidStateError');
    }
    this.encodings = parameters.encodings;
    this.set.push(this.active);
  }

  get active(): boolean[] {
    return this.encodings.map(({ active }) => active ?? true);
  }
}

function encodingsOf(sender: Sender | undefined): Encodings {
  return new Encodings(() => sender as unknown as RTCRtpSender | undefined);
}

describe('layers', () => {
  it('that nobody needs stop after a while, the others are left alone', async () => {
    const sender = new Sender();
    encodingsOf(sender).need('camera', [true, false, false]);
    await vi.advanceTimersByTimeAsync(1_900);
    expect(sender.active).toEqual([true, true, true]);
    await vi.advanceTimersByTimeAsync(200);
    expect(sender.active).toEqual([true, false, false]);
    expect(sender.encodings.map(({ rid, maxBitrate }) => `${rid}${maxBitrate}`)).toEqual(['q1', 'h1', 'f1']);
  });

  it('that are needed again start at once, and the lower goes on until the higher had time to come', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    encodings.need('camera', [true, false, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    encodings.need('camera', [false, false, true]);
    await vi.advanceTimersByTimeAsync(20);
    expect(sender.active).toEqual([true, false, true]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(sender.active).toEqual([false, false, true]);
    // Each was one change, and no more.
    expect(sender.set).toHaveLength(3);
  });

  it('change one after another, however fast the server changes its mind', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    for (let count = 0; count < 20; count += 1) encodings.need('camera', [true, count % 2 === 0, false]);
    encodings.need('camera', [true, true, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(sender.active).toEqual([true, true, false]);
    expect(sender.set.length).toBeLessThan(3);
  });

  it('are set again when another track has taken their place', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    encodings.need('camera', [true, false, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    sender.encodings = sender.encodings.map((encoding) => ({ ...encoding, active: true }));
    const applied = encodings.apply('camera');
    await vi.advanceTimersByTimeAsync(20);
    await applied;
    expect(sender.active).toEqual([true, false, false]);
  });

  it('are all needed again when the source is sent for the second time', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    encodings.need('camera', [false, false, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(sender.active).toEqual([false, false, false]);
    encodings.forget('camera');
    await vi.advanceTimersByTimeAsync(20);
    expect(sender.active).toEqual([true, true, true]);
  });

  it('never throw at anybody: no sender, no encodings, refusals', async () => {
    encodingsOf(undefined).need('screen', [false]);
    const empty = new Sender(0);
    encodingsOf(empty).need('camera', [true, false, false]);
    const stubborn = new Sender();
    stubborn.refusals = 1;
    encodingsOf(stubborn).need('camera', [true, false, false]);
    const hopeless = new Sender();
    hopeless.refusals = 99;
    encodingsOf(hopeless).need('camera', [true, false, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(empty.set).toEqual([]);
    expect(stubborn.active).toEqual([true, false, false]);
    expect(hopeless.active).toEqual([true, true, true]);
  });

  it('that a browser did not take count as one', async () => {
    const sender = new Sender(1);
    const encodings = encodingsOf(sender);
    encodings.need('camera', [false, true, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(sender.active).toEqual([true]);
    encodings.need('camera', [false, false, false]);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(sender.active).toEqual([false]);
  });

  it('are the smallest alone with data saver, and none when the budget is used up', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    encodings.need('camera', [true, true, true]);
    const saved: boolean[][] = [];
    for (const saving of ['small', 'off', 'none'] as const) {
      encodings.save(saving);
      await vi.advanceTimersByTimeAsync(20);
      saved.push(sender.active);
    }
    expect(saved).toEqual([
      [true, false, false],
      [false, false, false],
      [true, true, true],
    ]);
    expect([savingOf('normal', false), savingOf('data-saver', false), savingOf('audio-only', false)]).toEqual([
      'none',
      'small',
      'none',
    ]);
    expect(savingOf('audio-only', true)).toBe('off');
  });

  it('become a small one with data saver where there is one alone', async () => {
    const sender = new Sender(1);
    const encodings = encodingsOf(sender);
    const sizes: (number | undefined)[][] = [];
    // Once refused: the next change makes it small.
    sender.refusals = 2;
    for (const saving of ['small', 'off', 'small', 'none', 'small'] as const) {
      encodings.save(saving);
      await vi.advanceTimersByTimeAsync(30);
      sizes.push(sender.encodings.map(({ scaleResolutionDownBy }) => scaleResolutionDownBy));
    }
    expect(sizes).toEqual([[undefined], [undefined], [4], [1], [4]]);
    expect(sender.encodings[0]?.maxBitrate).toBe(150_000);
    encodings.save('none');
    await vi.advanceTimersByTimeAsync(30);
    expect(sender.encodings).toEqual([{ rid: 'q', active: true, maxBitrate: 1, scaleResolutionDownBy: 1 }]);
  });

  it('are as many as a browser sends of a small camera, the highest as large as the camera', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    const send = async (width?: number, height?: number) => {
      sender.track = { getSettings: () => ({ ...(width && { width }), ...(height && { height }) }) };
      await Promise.all([encodings.apply('camera'), vi.advanceTimersByTimeAsync(30)]);
      return sender.encodings.map(({ active, scaleResolutionDownBy }) => active && scaleResolutionDownBy);
    };
    expect(await send(1280, 720)).toEqual([true, true, true].map((active) => active && undefined));
    expect(await send()).toEqual([undefined, undefined, undefined]);
    expect(await send(640, 480)).toEqual([2, 1, false]);
    expect(sender.encodings.map(({ maxBitrate }) => maxBitrate)).toEqual([150_000, 700_000, 1]);
    expect(await send(240, 320)).toEqual([1, false, false]);
    expect(await send(1280, 720)).toEqual([4, 2, 1]);
    // The server counts with three: whoever is to get the third gets the highest there is.
    await send(480, 640);
    const settle = () => vi.advanceTimersByTimeAsync(3_000);
    for (const [needed, active] of [
      [
        [false, false, true],
        [false, true, false],
      ],
      [
        [true, false, false],
        [true, false, false],
      ],
      [
        [false, false, false],
        [false, false, false],
      ],
      [
        [true, true, true],
        [true, true, false],
      ],
    ] as const) {
      encodings.need('camera', needed);
      await settle();
      expect(sender.active).toEqual(active);
    }
    const count = sender.set.length;
    await send(480, 640);
    expect(sender.set).toHaveLength(count);
  });

  it('stay as they are once the connection is closed', async () => {
    const sender = new Sender();
    const encodings = encodingsOf(sender);
    encodings.need('camera', [true, false, false]);
    encodings.stop();
    encodings.need('camera', [false, false, false]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(sender.set).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
