// @vitest-environment happy-dom
import { beforeAll, describe, expect, it, vi } from 'vitest';

import { isWriting } from '../src/dom.js';
import { ScriptedServer } from '../../client/test/support/server.js';
import { textsFor, whyOf } from '../src/texts.js';
import { Tile, type TileLook } from '../src/tile.js';

beforeAll(async () => {
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe = vi.fn();
      disconnect = vi.fn();
    },
  );
  await import('../src/index.js');
});

/** What the element shows after its next repaint. */
async function shown(attributes: Record<string, string>): Promise<{ element: HTMLElement; card: string }> {
  const element = document.createElement('lectern-call');
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  document.body.append(element);
  await vi.waitFor(() => expect(element.shadowRoot?.querySelector('.card h2')?.textContent).toBeTruthy());
  return { element, card: element.shadowRoot?.querySelector('.card')?.textContent ?? '' };
}

describe('<lectern-call>', () => {
  it('says so when there is no invitation, in the language it is told', async () => {
    expect((await shown({ lang: 'en' })).card).toContain('This call has no invitation');
    expect((await shown({ lang: 'zh-CN' })).card).toContain('此通话没有邀请');
  });

  it('takes the theme it is told', async () => {
    const { element } = await shown({ theme: 'dark' });
    expect(element.dataset['theme']).toBe('dark');
    element.setAttribute('theme', 'light');
    expect(element.dataset['theme']).toBe('light');
  });

  it('asks for less when the page says so', () => {
    const element = document.createElement('lectern-call');
    for (const [name, value] of Object.entries({ url: 'http://127.0.0.1:1', token: 'jwt', receive: 'audio-only' })) {
      element.setAttribute(name, value);
    }
    document.body.append(element);
    element.join();
    expect(element.session?.receiving).toEqual({ mode: 'audio-only' });
    element.remove();
  });

  it('says why the server refuses, and tells the page', async () => {
    const server = await ScriptedServer.start();
    server.refuse = 'token-expired';
    const element = document.createElement('lectern-call');
    const told = new Promise<CustomEvent<{ code: string }>>((resolve) => {
      element.addEventListener('error', (event) => resolve(event as unknown as CustomEvent<{ code: string }>));
    });
    element.setAttribute('url', server.url);
    element.setAttribute('token', 'jwt');
    element.setAttribute('lang', 'en');
    document.body.append(element);
    expect((await told).detail.code).toBe('token-expired');
    const card = () => element.shadowRoot?.querySelector('.card');
    await vi.waitFor(() => expect(card()?.textContent).toContain('This invitation has expired'));
    // Trying again with the same invitation would not help.
    expect(card()?.querySelector('button')).toBeNull();
    await server.stop();
  });

  it('leaves the keys to whoever writes', () => {
    const input = document.createElement('input');
    document.body.append(input);
    const pressed: boolean[] = [];
    document.body.addEventListener('keydown', (event) => pressed.push(isWriting(event)), { once: true });
    input.dispatchEvent(new KeyboardEvent('keydown', { key: 'm', bubbles: true, composed: true }));
    document.body.addEventListener('keydown', (event) => pressed.push(isWriting(event)), { once: true });
    document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'm', bubbles: true, composed: true }));
    expect(pressed).toEqual([true, false]);
  });
});

describe('a tile', () => {
  const look: TileLook = {
    name: 'Ada',
    person: 'Ada',
    stream: undefined,
    muted: false,
    speaking: false,
    weak: false,
    why: undefined,
    paused: false,
    mirrored: false,
    whole: false,
  };
  const texts = textsFor('en');

  it('says why its picture is small or paused, and nothing when all is well', () => {
    const picture = { participant: 'ada', source: 'camera', shown: 'paused', reason: 'sender-cpu' } as const;
    const why = whyOf(picture, 'Ada', texts);
    const tile = new Tile('ada');
    tile.show({ ...look, why, paused: true }, texts);
    expect(tile.element.getAttribute('aria-label')).toBe('Ada, Ada’s computer is busy: picture paused');
    expect(tile.element.querySelector('.why')?.textContent).toBe('Ada’s computer is busy: picture paused');
    tile.show(look, texts);
    expect(tile.element.getAttribute('aria-label')).toBe('Ada');
    expect(tile.element.querySelector('.why')?.textContent).toBe('');
    expect(whyOf({ ...picture, shown: 'reduced', reason: 'layer-missing' }, 'Ada', texts)).toBeUndefined();
    expect(whyOf({ ...picture, shown: 'reduced', reason: 'bandwidth' }, 'Ada', textsFor('zh'))).toBe(
      '你的网络较慢，画面已缩小',
    );
  });
});
