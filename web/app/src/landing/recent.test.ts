import { describe, expect, it } from 'vitest';

import { parseRecent, withRecent, type RecentRoom } from './recent';

const room = (change: Partial<RecentRoom>): RecentRoom => ({
  room: 'algebra',
  title: 'Algebra',
  name: 'Bo',
  role: 'student',
  url: '/room/algebra#token=a',
  lastSeen: 1,
  expiresAt: 100,
  ...change,
});

describe('recent rooms', () => {
  it('survive what a browser may hand back', () => {
    expect(parseRecent(undefined, 0)).toEqual([]);
    expect(parseRecent('{', 0)).toEqual([]);
    expect(parseRecent('{"a":1}', 0)).toEqual([]);
    expect(parseRecent(JSON.stringify([null, 1, { room: 'x' }, room({})]), 0)).toEqual([room({})]);
  });

  it('forget links that no longer open', () => {
    expect(parseRecent(JSON.stringify([room({}), room({ room: 'old', expiresAt: 5 })]), 50)).toHaveLength(1);
  });

  it('have the latest first, the same person in the same room once, and an end', () => {
    const list = withRecent(
      [room({ lastSeen: 1 }), room({ room: 'piano' })],
      room({ lastSeen: 2, url: '/room/algebra#token=b' }),
    );
    expect(list.map(({ room: name, lastSeen }) => [name, lastSeen])).toEqual([
      ['algebra', 2],
      ['piano', 1],
    ]);
    let many: RecentRoom[] = [];
    for (let index = 0; index < 20; index++) many = withRecent(many, room({ room: `r${index}` }));
    expect(many).toHaveLength(6);
    expect(many[0]?.room).toBe('r19');
  });
});
