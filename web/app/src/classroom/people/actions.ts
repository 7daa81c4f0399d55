// What one person may do with another, as items of a menu: the same in the roster and on the tiles.
import { inject, type InjectionKey } from 'vue';

import { t } from '../../i18n';
import type { MenuItem } from '../../ui/menu';
import { refused } from '../room/own';
import type { Person } from '../room/people';
import type { Room } from '../room/room';

/** Menu items for a person, and what they do. */
export interface PersonActions {
  itemsFor(person: Person): MenuItem[];
  run(id: string, person: Person): void;
}

const KEY: InjectionKey<PersonActions> = Symbol('person actions');
export const PERSON_ACTIONS_KEY = KEY;

/** The actions of this classroom. */
export function usePersonActions(): PersonActions {
  const actions = inject(KEY);
  if (!actions) throw new Error('usePersonActions outside of a classroom');
  return actions;
}

/** `confirmRemove` asks before somebody is taken out for the rest of the lesson. */
export function createPersonActions(room: Room, confirmRemove: (person: Person) => void): PersonActions {
  const { session } = room;

  function itemsFor(person: Person): MenuItem[] {
    if (person.me) return [];
    const items: MenuItem[] = [];
    const student = person.role === 'student';
    if (room.can('give-floor') && student) {
      items.push(
        person.floor
          ? { id: 'take-floor', label: t('person.take-floor'), icon: 'floor' }
          : { id: 'give-floor', label: t('person.give-floor'), icon: 'floor' },
      );
      if (person.hand > 0) items.push({ id: 'lower-hand', label: t('person.lower-hand'), icon: 'handDown' });
    }
    if (room.can('mute-others')) {
      if (person.tracks.microphone?.muted === false) {
        items.push({ id: 'mute', label: t('person.mute'), icon: 'micOff' });
      }
      if (person.tracks.camera?.muted === false) {
        items.push({ id: 'mute-camera', label: t('person.mute-camera'), icon: 'cameraOff' });
      }
      if (person.tracks.screen) items.push({ id: 'mute-screen', label: t('person.mute-screen'), icon: 'screenOff' });
    }
    if (room.can('set-role')) {
      if (student) items.push({ id: 'make-assistant', label: t('person.make-assistant'), icon: 'star' });
      if (person.role === 'assistant') {
        items.push({ id: 'make-student', label: t('person.make-student'), icon: 'person' });
      }
    }
    if (room.can('remove') && person.role !== 'teacher') {
      items.push({
        id: 'remove',
        label: t('person.remove'),
        icon: 'userMinus',
        danger: true,
        separated: items.length > 0,
      });
    }
    return items;
  }

  function run(id: string, person: Person): void {
    const work: Record<string, () => Promise<void>> = {
      'give-floor': () => session.floor(person.id, true),
      'take-floor': () => session.floor(person.id, false),
      'lower-hand': () => session.hand(false, person.id),
      mute: () => session.muteParticipant(person.id, 'microphone'),
      'mute-camera': () => session.muteParticipant(person.id, 'camera'),
      'mute-screen': () => session.muteParticipant(person.id, 'screen'),
      'make-assistant': () => session.setRole(person.id, 'assistant'),
      'make-student': () => session.setRole(person.id, 'student'),
    };
    if (id === 'remove') confirmRemove(person);
    else void work[id]?.().catch(refused);
  }

  return { itemsFor, run };
}
