import { describe, expect, it } from 'vitest';

import { people } from '../test/people';
import { chooseStage, orderTiles, sharedScreens, spokeNow } from './choice';

const camera = (id: string) => ({ id, source: 'camera' });

describe('chooseStage', () => {
  const room = people('student:me+camera', 'teacher:t+camera', 'student:a+camera', 'student:b');

  it('shows what is pinned, as long as it is there', () => {
    const pinned = { id: 'a', source: 'camera' } as const;
    expect(chooseStage({ people: room, pinned, speakers: ['b'], teacherFirst: true })).toEqual(camera('a'));
    expect(
      chooseStage({ people: room, pinned: { id: 'a', source: 'screen' }, speakers: [], teacherFirst: true }),
    ).toEqual(camera('t'));
    expect(
      chooseStage({ people: room, pinned: { id: 'gone', source: 'camera' }, speakers: [], teacherFirst: true }),
    ).toEqual(camera('t'));
  });

  it('shows a shared screen before any face, but never the own one', () => {
    const sharing = people('student:me+screen', 'teacher:t+camera', 'student:a+screen');
    expect(chooseStage({ people: sharing, speakers: ['t'], teacherFirst: true })).toEqual({
      id: 'a',
      source: 'screen',
    });
    const own = people('student:me+screen', 'teacher:t+camera');
    expect(chooseStage({ people: own, speakers: [], teacherFirst: true })).toEqual(camera('t'));
  });

  it('keeps the teacher in a lecture and follows the voice elsewhere', () => {
    expect(chooseStage({ people: room, speakers: ['a'], teacherFirst: true })).toEqual(camera('t'));
    expect(chooseStage({ people: room, speakers: ['a'], teacherFirst: false })).toEqual(camera('a'));
    expect(chooseStage({ people: room, speakers: ['me', 'b', 'a'], teacherFirst: false })).toEqual(camera('b'));
    expect(chooseStage({ people: room, speakers: [], teacherFirst: false })).toEqual(camera('t'));
  });

  it('shows a lecturing teacher who has the floor, then who speaks', () => {
    const lecture = people('teacher:me+camera', 'student:a', 'student:b+camera');
    const withFloor = lecture.map((person) => (person.id === 'a' ? { ...person, floor: true } : person));
    expect(chooseStage({ people: withFloor, speakers: ['b'], teacherFirst: true })).toEqual(camera('a'));
    expect(chooseStage({ people: lecture, speakers: ['a'], teacherFirst: true })).toEqual(camera('a'));
    expect(chooseStage({ people: lecture, speakers: [], teacherFirst: true })).toEqual(camera('b'));
  });

  it('shows oneself when alone, and nothing in an empty room', () => {
    expect(chooseStage({ people: people('teacher:me'), speakers: ['me'], teacherFirst: false })).toEqual(camera('me'));
    expect(chooseStage({ people: [], speakers: [], teacherFirst: false })).toBeUndefined();
  });
});

describe('sharedScreens', () => {
  it('has the teacher’s first', () => {
    const room = people('student:a+screen', 'teacher:t+desktop', 'student:me', 'teacher:u+screen');
    expect(sharedScreens(room).map(({ id, source }) => `${id}/${source}`)).toEqual([
      'u/screen',
      't/desktop',
      'a/screen',
    ]);
  });
});

describe('orderTiles', () => {
  it('has screens, teachers, oneself, the floor, hands in order, cameras, the rest', () => {
    const room = people(
      'student:a',
      'student:b+camera',
      'student:c',
      'student:d',
      'student:e',
      'student:me',
      'teacher:t+screen',
    ).map((person) => ({
      ...person,
      floor: person.id === 'e',
      hand: person.id === 'c' ? 2 : person.id === 'd' ? 1 : 0,
    }));
    expect(orderTiles(room).map(({ id, source }) => (source === 'camera' ? id : `${id}/${source}`))).toEqual([
      't/screen',
      't',
      'me',
      'e',
      'd',
      'c',
      'b',
      'a',
    ]);
  });
});

describe('spokeNow', () => {
  it('has the latest first, each once, and forgets', () => {
    expect(spokeNow(['a', 'b'], 'b')).toEqual(['b', 'a']);
    expect(spokeNow(['a', 'b'], undefined)).toEqual(['a', 'b']);
    expect(spokeNow(['a', 'b', 'c'], 'd', 3)).toEqual(['d', 'a', 'b']);
  });
});
