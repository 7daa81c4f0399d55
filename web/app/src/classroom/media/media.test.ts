import { describe, expect, it } from 'vitest';

import { en } from '../../i18n/en';
import { problemOf } from './capture';
import { browserFamily, permissionHelp } from './help';
import { loudness } from './level';

describe('problemOf', () => {
  it('names the cause', () => {
    const problem = (name: string) => problemOf(new DOMException('', name), true);
    expect(problem('NotAllowedError')).toBe('denied');
    expect(problem('NotFoundError')).toBe('missing');
    expect(problem('NotReadableError')).toBe('busy');
    expect(problem('OverconstrainedError')).toBe('missing');
    expect(problem('TypeError')).toBe('failed');
    expect(problemOf('nonsense', true)).toBe('failed');
    expect(problemOf(new DOMException('', 'NotAllowedError'), false)).toBe('insecure');
  });
});

describe('browserFamily', () => {
  it.each([
    ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36', 'chrome'],
    [
      'Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0',
      'edge',
    ],
    ['Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', 'firefox'],
    [
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15',
      'safari',
    ],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1',
      'ios',
    ],
    [
      'Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36',
      'android',
    ],
    ['something else', 'other'],
  ])('%s', (agent, family) => {
    expect(browserFamily(agent)).toBe(family);
    expect(en[permissionHelp(browserFamily(agent))]).toBeTruthy();
  });

  it('knows an iPad that says it is a Mac', () => {
    expect(browserFamily('Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1.15', 5)).toBe(
      'ios',
    );
  });
});

describe('loudness', () => {
  it('is nothing in silence, full when shouting, and grows between', () => {
    const sine = (amplitude: number) =>
      Float32Array.from({ length: 1_024 }, (_, index) => amplitude * Math.sin(index / 3));
    expect(loudness(sine(0))).toBe(0);
    expect(loudness(new Float32Array(0))).toBe(0);
    expect(loudness(sine(1))).toBe(1);
    expect(loudness(sine(0.05))).toBeGreaterThan(loudness(sine(0.01)));
    expect(loudness(sine(0.01))).toBeGreaterThan(0);
  });
});
