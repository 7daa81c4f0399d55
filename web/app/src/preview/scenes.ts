// The scenes of the preview: who is there and what happens, chosen by the query of the address.
import type { Permission, Preset, Reason, ReceiveMode, Role } from '@lectern/client';

import type { Claims } from '../classroom/link';
import { ScriptedSession, type Actor } from './session';

const NAMES = [
  'Bo Lindqvist',
  'Chen Xiaoming',
  'Dalia Farouk',
  '王小明',
  'Emeka Obi',
  'Freya Olsen',
  '李思雨',
  'George Papadopoulos',
  'Hana Suzuki',
  'Ivan Petrov',
  'Julia Kowalska',
  'Kofi Mensah',
  '张伟',
  'Lucía Fernández',
  'Maximilian von Hohenberg-Württemberg',
  'Nour Haddad',
];

/** Claims of the door's preview. */
export function claims(role: string): Claims {
  return {
    room: 'algebra-7b',
    identity: 'me',
    name: role === 'teacher' ? 'Ana Souza' : 'Bo Lindqvist',
    role: role as Role,
    expiresAt: Date.now() + 3_600_000,
    title: 'Algebra, class 7b',
    preset: 'lecture',
  };
}

function actor(index: number): Actor {
  return {
    id: `s${index}`,
    name: index < NAMES.length ? (NAMES[index] ?? '') : `Student ${index}`,
    role: 'student',
    camera: index % 4 !== 2,
    microphone: index % 3 === 0 ? 'on' : 'muted',
  };
}

/** The scene for a query such as `?role=teacher&preset=seminar&students=8&hands=3&chat&screen`. */
export function sceneOf(query: URLSearchParams): ScriptedSession {
  const role = (query.get('role') ?? 'teacher') as Role;
  const preset = (query.get('preset') ?? 'seminar') as Preset;
  const count = Number(query.get('students') ?? 6);
  const denied: Permission[] = query.has('silent') ? ['chat', 'publish-microphone'] : [];
  const session = new ScriptedSession('me', role, denied);
  session.say({
    kind: 'opened',
    lesson: '0',
    room: 'algebra-7b',
    settings: {
      preset,
      title: query.get('title') ?? 'Algebra, class 7b',
      locked: query.has('locked'),
      chat: !query.has('silent'),
      studentMicrophones: preset !== 'lecture',
      studentCameras: preset !== 'lecture',
      studentScreens: preset === 'tutoring',
      studentsSeeStudents: preset !== 'lecture',
      maxParticipants: 100,
      recordAutomatically: false,
      recordStudentCameras: true,
    },
  });
  if (role !== 'teacher')
    session.enter({ id: 't', name: 'Ana Souza', role: 'teacher', camera: true, microphone: 'on' });
  session.enter({ id: 'me', name: role === 'teacher' ? 'Ana Souza' : 'Maya Iyer', role });
  for (let index = 0; index < count; index++) session.enter(actor(index));
  if (query.has('observer')) session.enter({ id: 'o', name: 'Mrs. Lindqvist', role: 'observer' });
  for (let index = 0; index < Number(query.get('hands') ?? 0); index++) {
    session.say({ kind: 'hand-raised', participant: `s${index * 2 + 1}` }, `s${index * 2 + 1}`);
  }
  if (query.has('floor')) session.say({ kind: 'floor-given', participant: query.get('floor') || 's0' }, 't');
  if (query.has('screen')) {
    session.say({ kind: 'published', participant: role === 'teacher' ? 's0' : 't', source: 'screen', muted: false });
  }
  if (query.has('rec')) {
    if (query.has('agreed')) session.say({ kind: 'recording-consent', participant: 's0', agreed: true }, 's0');
    session.say({ kind: 'recording-started', recording: '0-1' }, 't');
    if (query.get('rec') === 'paused') session.say({ kind: 'recording-paused' }, 't');
    if (query.get('rec') === 'failed') {
      setTimeout(() => session.say({ kind: 'recording-stopped', reason: 'failed' }), 700);
    }
  }
  if (query.has('messages')) messages(session, role);
  session.grade('s1', 'poor');
  session.grade('s4', 'fair');
  session.grade('s3', 'lost');
  const speakers = query.has('quiet') ? [] : [role === 'teacher' ? 's0' : 't'];
  setInterval(() => session.speak(...speakers), 300);
  if (query.has('reconnecting')) session.become({ status: 'reconnecting', cause: 'signalling' });
  if (query.has('slow')) slow(session, role === 'teacher' ? 's5' : 't');
  if (query.has('usage')) use(session, query.get('usage') ?? '');
  if (query.has('events')) later(session);
  if (query.has('watched')) session.look(true);
  if (query.has('failing')) session.failing = true;
  return session;
}

function messages(session: ScriptedSession, role: Role): void {
  const teacher = role === 'teacher' ? 'me' : 't';
  const say = (by: string, text: string, minutes: number) =>
    session.say({ kind: 'chat', text, nonce: `${by}${minutes}` }, by, minutes);
  say(teacher, 'Good morning everybody! The worksheet is here: https://example.com/worksheets/7b/quadratics.pdf', 11);
  say(teacher, 'Please open it before we start.', 10.8);
  say('s0', 'Got it, thanks', 9);
  say('s3', '老师好！第三题可以用配方法吗？', 7);
  say('s1', 'I hear a little echo.\nIs it only me?', 6);
  say('s4', '<img src=x onerror=alert(1)> <b>not bold</b>', 4);
  say(teacher, 'Yes, completing the square works, and you will see in a minute why it is the nicer way.', 2);
}

/** A bad day: each reason on somebody's picture, and trouble for a teacher to see. */
function slow(session: ScriptedSession, star: string): void {
  const reduce = (participant: string, shown: 'reduced' | 'paused', reason: Reason) =>
    session.reduce({ participant, source: 'camera', shown, reason });
  reduce('s0', 'paused', 'bandwidth');
  reduce('s1', 'reduced', 'sender-cpu');
  reduce('s3', 'paused', 'sender-bandwidth');
  reduce('s4', 'reduced', 'bandwidth');
  reduce('s7', 'paused', 'hidden');
  session.reduce({
    participant: star,
    source: 'screen',
    shown: 'reduced',
    reason: 'bandwidth',
    width: 960,
    height: 540,
  });
  session.suffer('s1', 'sending-cpu');
  session.suffer('s3', 'sending-bandwidth', 'receiving');
  session.suffer('s4', 'receiving');
  session.suffer('me', 'sending-cpu');
}

/** A budget that is in use: `ok`, `save`, `over`. */
function use(session: ScriptedSession, how: string): void {
  const [used, mode] = { save: [248, 'data-saver'], over: [301, 'audio-only'] }[how] ?? [41, 'normal'];
  session.receiving = { mode: 'normal', budgetMegabytes: 300 };
  setTimeout(() => {
    session.use({
      sentBytes: Number(used) * 900_000,
      receivedBytes: Number(used) * 100_000,
      estimateBitsPerSecond: 1_450_000,
      mode: mode as ReceiveMode,
      budgetMegabytes: 300,
      ...(how === 'save' || how === 'over' ? { reason: 'budget' as const } : {}),
    });
    if (how !== 'over') return;
    for (const [participant, { tracks }] of Object.entries(session.state?.participants ?? {})) {
      if (tracks.camera) session.reduce({ participant, source: 'camera', shown: 'paused', reason: 'policy' });
    }
  }, 300);
}

function later(session: ScriptedSession): void {
  setTimeout(() => session.say({ kind: 'hand-raised', participant: 's1' }, 's1'), 800);
  setTimeout(() => session.say({ kind: 'floor-given', participant: 'me' }, 't'), 1_000);
  setTimeout(() => session.say({ kind: 'muted', participant: 'me', source: 'microphone', muted: true }, 't'), 1_200);
}
