// Who in the class has trouble, for a teacher: a calm sentence, and names.
import type { Trouble } from '@lectern/client';

import type { Person } from '../room/people';

/** Somebody with trouble. */
export interface Troubled {
  person: Person;
  trouble: readonly Trouble[];
}

/** Others who have trouble: those who cannot see well first, then those who cannot be seen well, then in the order of the class. */
export function troubledPeople(people: readonly Person[], troubleOf: (id: string) => readonly Trouble[]): Troubled[] {
  const rank = ({ trouble }: Troubled) =>
    trouble.includes('receiving') ? 0 : trouble.includes('sending-bandwidth') ? 1 : 2;
  return people
    .filter(({ me }) => !me)
    .map((person) => ({ person, trouble: troubleOf(person.id) }))
    .filter(({ trouble }) => trouble.length > 0)
    .sort((a, b) => rank(a) - rank(b));
}

/** How many have a slow connection, in either direction, and how many others a busy computer. */
export function countTroubled(troubled: readonly Troubled[]): { slow: number; busy: number } {
  const slow = troubled.filter(({ trouble }) => trouble.some((each) => each !== 'sending-cpu')).length;
  return { slow, busy: troubled.length - slow };
}
