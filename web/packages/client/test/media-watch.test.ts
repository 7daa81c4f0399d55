import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { MediaWatch } from '../src/media-watch.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A watch over a connection that came up, and what it ordered. */
function watched(restart: () => Promise<boolean> = () => Promise.resolve(true), rejoins = 0) {
  const orders: string[] = [];
  const watch = new MediaWatch(
    {
      restart: () => {
        orders.push('restart');
        return restart();
      },
      rejoin: (attempt) => void orders.push(`rejoin ${attempt}`),
    },
    rejoins,
  );
  watch.status('connecting');
  watch.negotiated();
  return { watch, orders };
}

function connected(restart?: () => Promise<boolean>) {
  const made = watched(restart);
  made.watch.status('connected');
  return made;
}

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds);

describe('MediaWatch', () => {
  it('leaves a short cut to ICE', async () => {
    const { watch, orders } = connected();
    watch.status('disconnected');
    await pass(1900);
    watch.status('connected');
    await pass(60_000);
    expect(orders).toEqual([]);
  });

  it('restarts ICE after two seconds, and is content when that helps', async () => {
    const { watch, orders } = connected();
    watch.status('disconnected');
    await pass(2000);
    expect(orders).toEqual(['restart']);
    watch.status('connecting');
    watch.status('connected');
    await pass(60_000);
    expect(orders).toEqual(['restart']);
  });

  it('restarts at once when ICE gave up, and makes everything anew when that did not help', async () => {
    const { watch, orders } = connected();
    watch.status('failed');
    await pass(0);
    expect(orders).toEqual(['restart']);
    watch.status('connecting');
    await pass(11_000);
    watch.status('failed');
    expect(orders).toEqual(['restart', 'rejoin 0']);
  });

  it('makes everything anew when the server refuses a restart, or nothing comes of it', async () => {
    const refused = connected(() => Promise.reject(new Error('not found')));
    refused.watch.status('failed');
    await pass(0);
    expect(refused.orders).toEqual(['restart', 'rejoin 0']);

    const silent = connected();
    silent.watch.status('disconnected');
    await pass(2000 + 12_000);
    expect(silent.orders).toEqual(['restart', 'rejoin 0']);
  });

  it('waits for signalling, which a restart needs', async () => {
    let signalling = false;
    const { watch, orders } = connected(() => Promise.resolve(signalling));
    watch.status('failed');
    await pass(30_000);
    expect(orders).toEqual(['restart']);
    signalling = true;
    watch.signallingBack();
    await pass(0);
    expect(orders).toEqual(['restart', 'restart']);
  });

  it('makes everything anew when media never comes up, and counts how often in a row', async () => {
    const { orders } = watched(undefined, 2);
    await pass(12_000);
    expect(orders).toEqual(['rejoin 2']);
  });

  it('restarts when the network changed, or when the server hears nothing', async () => {
    const { watch, orders } = connected();
    watch.networkChanged();
    await pass(20_000);
    watch.serverSays('disconnected');
    await pass(1000);
    watch.serverSays('connected');
    await pass(20_000);
    expect(orders).toEqual(['restart']);
    watch.serverSays('disconnected');
    await pass(2000);
    expect(orders).toEqual(['restart', 'restart']);
  });

  it('does nothing any more once it is stopped, or before there was an answer', async () => {
    const { watch, orders } = connected();
    watch.stop();
    watch.status('failed');
    await pass(60_000);
    const early = new MediaWatch({ restart: () => Promise.resolve(true), rejoin: () => void orders.push('rejoin') });
    early.networkChanged();
    await pass(60_000);
    expect(orders).toEqual([]);
  });
});
