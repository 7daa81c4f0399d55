import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { EDGES, fitted, moved, placed, resized, SMALLEST } from '../../src/desktop/geometry';
import { languageOf } from '../../src/desktop/texts';
import { invitationFrom } from '../../src/desktop/token';
import { Windows } from '../../src/desktop/windows';

const NOW = Date.parse('2026-11-21T09:30:00.000Z');
const jwt = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;

describe('invitationFrom', () => {
  const claims = { room: 'algebra-1', name: '小明', exp: NOW / 1000 + 60 };

  it('reads the invitation out of the fragment', () => {
    const token = jwt(claims);
    expect(invitationFrom(`#token=${token}`, NOW)).toEqual({ state: 'usable', token, room: 'algebra-1', name: '小明' });
  });

  it('tells what is wrong with one', () => {
    expect(invitationFrom('', NOW).state).toBe('none');
    expect(invitationFrom('#token=', NOW).state).toBe('none');
    expect(invitationFrom('#token=abc', NOW).state).toBe('unreadable');
    expect(invitationFrom('#token=a.%%%.c', NOW).state).toBe('unreadable');
    expect(invitationFrom(`#token=${jwt({ ...claims, exp: 'soon' })}`, NOW).state).toBe('unreadable');
    expect(invitationFrom(`#token=${jwt(claims)}`, NOW + 60_000).state).toBe('expired');
  });
});

describe('geometry', () => {
  const space = { width: 1280, height: 720 };
  const box = { x: 100, y: 80, width: 600, height: 400 };
  const way = fc.integer({ min: -3000, max: 3000 });

  it('never lets a window out of reach or under its smallest size', () => {
    fc.assert(
      fc.property(fc.constantFrom(undefined, ...EDGES), way, way, (edge, dx, dy) => {
        const after = edge ? resized(box, edge, dx, dy, space) : moved(box, dx, dy, space);
        expect(after.width).toBeGreaterThanOrEqual(SMALLEST.width);
        expect(after.height).toBeGreaterThanOrEqual(SMALLEST.height);
        expect(after.y).toBeGreaterThanOrEqual(0);
        expect(after.y).toBeLessThanOrEqual(space.height - 40);
        expect(after.x + after.width).toBeGreaterThanOrEqual(80);
        expect(after.x).toBeLessThanOrEqual(space.width - 80);
      }),
      { seed: 5, numRuns: 1000 },
    );
  });

  it('keeps the opposite side where it is', () => {
    expect(resized(box, 'nw', 50, 1000, space)).toEqual({ x: 150, y: 240, width: 550, height: 240 });
    expect(resized(box, 'se', -1000, 20, space)).toEqual({ x: 100, y: 80, width: 300, height: 420 });
  });

  it('fits into a space that is smaller than a window may be', () => {
    expect(fitted(box, { width: 200, height: 150 })).toMatchObject({ width: 200, height: 150 });
    expect(placed({ width: 1000, height: 800 }, { width: 400, height: 300 }, 0)).toMatchObject({ x: 300, width: 400 });
  });
});

describe('Windows', () => {
  it('opens, raises, puts away and closes', () => {
    const windows = new Windows();
    windows.fit({ width: 1280, height: 720 });
    windows.open('call');
    windows.open('about');
    expect(windows.focused.value).toBe('about');
    windows.toggle('call');
    expect(windows.focused.value).toBe('call');
    windows.toggle('call');
    expect(windows.find('call')?.minimised).toBe(true);
    expect(windows.focused.value).toBe('about');
    windows.toggle('call');
    expect(windows.stack.value.map(({ app }) => app)).toEqual(['about', 'call']);
    windows.close('call');
    windows.close('about');
    expect(windows.focused.value).toBeUndefined();
  });

  it('drags from where it began, and not while maximised', () => {
    const windows = new Windows();
    windows.fit({ width: 1280, height: 720 });
    windows.open('call');
    const start = { ...(windows.find('call')?.box ?? { x: 0, y: 0, width: 0, height: 0 }) };
    windows.drag('call', start, undefined, 10, 5);
    windows.drag('call', start, undefined, 20, 10);
    expect(windows.find('call')?.box).toMatchObject({ x: start.x + 20, y: start.y + 10 });
    windows.maximise('call');
    windows.drag('call', start, undefined, 90, 90);
    windows.move('call', 5, 5);
    expect(windows.find('call')?.box).toMatchObject({ x: start.x + 20 });
  });
});

it('knows the language of a tag', () => {
  expect(languageOf('zh-Hant-TW')).toBe('zh');
  expect(languageOf('en-GB')).toBe('en');
});
