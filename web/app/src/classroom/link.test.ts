import { describe, expect, it } from 'vitest';

import { parsePasted, readLink } from './link';

const NOW = Date.parse('2026-11-21T09:00:00Z');
const base64url = (text: string) => Buffer.from(text).toString('base64url');
const token = (claims: object) => `${base64url('{"alg":"HS256"}')}.${base64url(JSON.stringify(claims))}.c2ln`;
const CLAIMS = {
  room: 'algebra',
  identity: 'bo',
  name: '王小明 “Bo”',
  role: 'student',
  exp: NOW / 1_000 + 60,
  aud: 'lectern',
};
const link = (claims: object, path = '/room/algebra') => new URL(`https://class.example${path}#token=${token(claims)}`);

describe('readLink', () => {
  it('reads who comes in', () => {
    const read = readLink(link({ ...CLAIMS, preset: 'lecture', title: 'Algebra' }), NOW);
    expect(read).toMatchObject({
      kind: 'valid',
      claims: {
        room: 'algebra',
        identity: 'bo',
        name: '王小明 “Bo”',
        role: 'student',
        preset: 'lecture',
        title: 'Algebra',
      },
    });
  });

  it('knows an expired link', () => {
    expect(readLink(link({ ...CLAIMS, exp: NOW / 1_000 - 1 }), NOW).kind).toBe('expired');
  });

  it.each([
    ['no token', new URL('https://class.example/room/algebra')],
    ['an empty token', new URL('https://class.example/room/algebra#token=')],
    ['not a JWT', new URL('https://class.example/room/algebra#token=abc')],
    ['half a JWT', new URL(`https://class.example/room/algebra#token=${token(CLAIMS).slice(0, 60)}`)],
    ['broken JSON', new URL(`https://class.example/room/algebra#token=a.${base64url('{"room":')}.c`)],
    ['null', new URL(`https://class.example/room/algebra#token=a.${base64url('null')}.c`)],
    ['not UTF-8', new URL('https://class.example/room/algebra#token=a._w.c')],
    ['another room', link(CLAIMS, '/room/piano')],
    ['an unknown role', link({ ...CLAIMS, role: 'king' })],
    ['an expiry that is no number', link({ ...CLAIMS, exp: '9999999999' })],
  ])('refuses %s', (_, url) => {
    expect(readLink(url, NOW).kind).toBe('wrong');
  });

  it('drops a preset that it does not know', () => {
    expect(readLink(link({ ...CLAIMS, preset: 'circus' }), NOW)).toMatchObject({
      kind: 'valid',
      claims: { room: 'algebra' },
    });
  });
});

describe('parsePasted', () => {
  const good = 'https://class.example/room/algebra#token=a.b.c';

  it('takes whole links, links without a scheme, and surrounding space', () => {
    expect(parsePasted(` ${good}\n`, 'https://x.example')?.href).toBe(good);
    expect(parsePasted('class.example/room/algebra#token=a.b.c', 'https://x.example')?.href).toBe(good);
    expect(parsePasted('/room/algebra#token=a.b.c', 'https://class.example')?.href).toBe(good);
  });

  it.each([
    '',
    'hello',
    'https://class.example/',
    'https://class.example/room/algebra',
    'javascript:alert(1)//room/a#token=b',
    'ftp://class.example/room/a#token=b',
    'https://class.example/room/a b#token=c',
  ])('refuses %j', (text) => expect(parsePasted(text, 'https://x.example')).toBeUndefined());
});
