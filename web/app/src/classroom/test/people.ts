// People for tests.
import type { LessonState, Role, RoomSettings, Source } from '@lectern/client';

import { peopleOf, type Person } from '../room/people';

/** Settings of a seminar. */
export const SETTINGS: RoomSettings = {
  preset: 'seminar',
  title: 'Algebra',
  locked: false,
  chat: true,
  studentMicrophones: true,
  studentCameras: true,
  studentScreens: true,
  studentsSeeStudents: true,
  maxParticipants: 100,
  recordAutomatically: false,
  recordStudentCameras: true,
};

/** `teacher:t+camera`, `student:bo+camera+screen`, `student:me`: role, identity, what is sent. */
export function stateOf(...texts: string[]): LessonState {
  const participants: LessonState['participants'] = {};
  texts.forEach((text, index) => {
    const [head = '', ...sources] = text.split('+');
    const [role = '', id = ''] = head.split(':');
    participants[id] = {
      name: id.toUpperCase(),
      role: role as Role,
      present: true,
      joinedAt: `2026-11-21T09:00:0${index}.000Z`,
      tracks: Object.fromEntries(sources.map((source) => [source as Source, { muted: false }])),
    };
  });
  return {
    lesson: '1',
    room: 'r',
    seq: 9,
    settings: SETTINGS,
    closed: false,
    participants,
    hands: [],
    floor: [],
    removed: [],
    chat: [],
    recordingInterrupted: false,
    recordings: [],
    consents: {},
  };
}

/** The same as people seen by `me`. */
export function people(...texts: string[]): Person[] {
  return peopleOf(stateOf(...texts), 'me');
}
