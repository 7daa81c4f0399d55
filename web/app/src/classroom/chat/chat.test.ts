import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { groupMessages } from './grouping';
import { findLinks } from './links';

const links = (text: string) => findLinks(text).flatMap((piece) => (piece.kind === 'link' ? [piece.href] : []));

describe('findLinks', () => {
  it('finds addresses and leaves the sentence around them', () => {
    expect(findLinks('See https://example.com/a?b=1#c, then go.')).toEqual([
      { kind: 'text', text: 'See ' },
      { kind: 'link', text: 'https://example.com/a?b=1#c', href: 'https://example.com/a?b=1#c' },
      { kind: 'text', text: ', then go.' },
    ]);
    expect(links('看这里https://example.com/页，好吗？')).toEqual(['https://example.com/%E9%A1%B5']);
    expect(links('(https://en.example.org/wiki/Vertex_(curve))')).toEqual([
      'https://en.example.org/wiki/Vertex_(curve)',
    ]);
    expect(links('http://a.example and https://b.example!')).toEqual(['http://a.example/', 'https://b.example/']);
  });

  it.each([
    'javascript:alert(1)',
    'data:text/html,<b>',
    'ftp://example.com',
    'https://',
    'https://user:pass@evil.example',
    'https://bank.example@evil.example/',
    'mailto:a@b.c',
    'file:///etc/passwd',
  ])('leaves %j as text', (text) => expect(links(text)).toEqual([]));

  it('loses no character, and links only to the web, whatever is written', () => {
    const pieces = fc.array(
      fc.oneof(
        fc.string(),
        fc.constantFrom('https://a.example/(', 'http://', ' ', '<b>', 'javascript:', '@', ')', '。'),
      ),
    );
    fc.assert(
      fc.property(pieces, (parts) => {
        const text = parts.join('');
        const found = findLinks(text);
        expect(found.map((piece) => piece.text).join('')).toBe(text);
        for (const piece of found) if (piece.kind === 'link') expect(piece.href).toMatch(/^https?:\/\//u);
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});

describe('groupMessages', () => {
  const message = (seq: number, by: string, at: string) => ({
    seq,
    by,
    name: by,
    at: `2026-11-21T09:${at}.000Z`,
    text: 'x',
    nonce: '',
  });

  it('says a name once for messages that follow each other closely', () => {
    const groups = groupMessages([
      message(1, 'a', '00:00'),
      message(2, 'a', '01:00'),
      message(3, 'b', '01:10'),
      message(4, 'a', '01:20'),
      message(5, 'a', '09:00'),
    ]);
    expect(groups.map(({ by, messages }) => [by, messages.length])).toEqual([
      ['a', 2],
      ['b', 1],
      ['a', 1],
      ['a', 1],
    ]);
  });
});
