import { describe, expect, it } from 'vitest';

import { people, SETTINGS, stateOf } from '../test/people';
import { defaultLayout, mayWatch, peopleOf, searchPeople } from './people';

describe('peopleOf', () => {
  it('lists those present by role and arrival, without recorders', () => {
    const state = stateOf('student:b', 'recorder:rec', 'teacher:t', 'observer:o', 'student:a', 'assistant:x');
    const b = state.participants['b'];
    expect(peopleOf(state, 'b').map(({ id }) => id)).toEqual(['t', 'x', 'b', 'a', 'o']);
    if (b) b.present = false;
    expect(peopleOf(state, 'b').map(({ id }) => id)).toEqual(['t', 'x', 'a', 'o']);
  });

  it('knows oneself, the place in the line of hands and the floor', () => {
    const state = { ...stateOf('student:a', 'student:b', 'student:me'), hands: ['b', 'me'], floor: ['a'] };
    const [a, b, me] = peopleOf(state, 'me');
    expect(a).toMatchObject({ id: 'a', hand: 0, floor: true, me: false });
    expect(b).toMatchObject({ id: 'b', hand: 1, floor: false });
    expect(me).toMatchObject({ id: 'me', hand: 2, me: true });
  });
});

describe('mayWatch', () => {
  const lecture = { ...SETTINGS, studentsSeeStudents: false };
  const [teacher, other, me, observer] = people('teacher:t', 'student:s', 'student:me', 'observer:o+camera');

  it('shows students in a lecture the teacher, themselves and who has the floor', () => {
    if (!teacher || !other || !me || !observer) throw new Error('people');
    expect(mayWatch(me, teacher, lecture)).toBe(true);
    expect(mayWatch(me, me, lecture)).toBe(true);
    expect(mayWatch(me, other, lecture)).toBe(false);
    expect(mayWatch(me, { ...other, floor: true }, lecture)).toBe(true);
    expect(mayWatch(me, other, SETTINGS)).toBe(true);
  });

  it('shows observers to teachers only, and only with a camera', () => {
    if (!teacher || !me || !observer) throw new Error('people');
    expect(mayWatch(me, observer, SETTINGS)).toBe(false);
    expect(mayWatch(teacher, observer, lecture)).toBe(true);
    expect(mayWatch(teacher, { ...observer, tracks: {} }, lecture)).toBe(false);
  });
});

describe('defaultLayout', () => {
  it('follows the kind of class, and a shared screen before it', () => {
    expect(defaultLayout('lecture', false, false)).toBe('stage');
    expect(defaultLayout('seminar', false, false)).toBe('grid');
    expect(defaultLayout('tutoring', false, false)).toBe('grid');
    expect(defaultLayout('tutoring', false, true)).toBe('stage');
    expect(defaultLayout('seminar', true, false)).toBe('stage');
  });
});

describe('searchPeople', () => {
  const list = people('student:lucía', 'student:me', 'student:王小明');

  it('ignores case and accents', () => {
    expect(searchPeople(list, 'luci').map(({ id }) => id)).toEqual(['lucía']);
    expect(searchPeople(list, ' LUCÍA ').map(({ id }) => id)).toEqual(['lucía']);
    expect(searchPeople(list, '小明').map(({ id }) => id)).toEqual(['王小明']);
    expect(searchPeople(list, '')).toHaveLength(3);
    expect(searchPeople(list, 'nobody')).toEqual([]);
  });
});
