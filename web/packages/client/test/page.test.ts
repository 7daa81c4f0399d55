// @vitest-environment happy-dom
import { afterEach, expect, it, vi } from 'vitest';

import { followPage } from '../src/page.js';

const network = Object.assign(new EventTarget(), { type: undefined as string | undefined });
afterEach(() => {
  Reflect.deleteProperty(navigator, 'connection');
});

function follow() {
  Object.defineProperty(navigator, 'connection', { value: network, configurable: true });
  const networkChanged = vi.fn();
  const unfollow = followPage({ networkChanged, closing: () => undefined });
  return { networkChanged, unfollow };
}

const change = () => network.dispatchEvent(new Event('change'));

it('tells of another network, but not of each new estimate of how fast this one is', () => {
  network.type = 'wifi';
  const { networkChanged, unfollow } = follow();
  change();
  change();
  expect(networkChanged).not.toHaveBeenCalled();
  network.type = 'cellular';
  change();
  change();
  expect(networkChanged).toHaveBeenCalledOnce();
  window.dispatchEvent(new Event('online'));
  expect(networkChanged).toHaveBeenCalledTimes(2);
  unfollow();
  network.type = 'wifi';
  change();
  expect(networkChanged).toHaveBeenCalledTimes(2);
});

it('hears nothing of estimates where the browser does not say which network it is', () => {
  network.type = undefined;
  const { networkChanged, unfollow } = follow();
  change();
  expect(networkChanged).not.toHaveBeenCalled();
  unfollow();
});
