// @vitest-environment happy-dom
import { beforeAll, describe, expect, it, vi } from 'vitest';

import { ScriptedServer } from '../../client/test/support/server.js';

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
});
