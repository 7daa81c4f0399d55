import type { Trouble } from '@lectern/client';
import { describe, expect, it } from 'vitest';

import { people } from '../test/people';
import { countTroubled, troubledPeople } from './trouble';

const TROUBLE: Record<string, Trouble[]> = {
  bo: ['sending-cpu'],
  di: ['sending-bandwidth', 'sending-cpu'],
  ed: ['receiving'],
  me: ['receiving'],
};
const all = people('teacher:me', 'student:bo', 'student:cy', 'student:di', 'student:ed');
const troubled = troubledPeople(all, (id) => TROUBLE[id] ?? []);

describe('who has trouble', () => {
  it('is named, those who cannot see well first, without oneself', () => {
    expect(troubled.map(({ person }) => person.id)).toEqual(['ed', 'di', 'bo']);
  });

  it('is counted once each', () => {
    expect(countTroubled(troubled)).toEqual({ slow: 2, busy: 1 });
    expect(countTroubled([])).toEqual({ slow: 0, busy: 0 });
  });
});
