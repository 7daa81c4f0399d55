// Acts of the audit in words.
import { t, type MessageKey } from '../i18n';
import { count, duration } from '../i18n/format';
import type { AuditEntry } from './api';

/** Acts that this page has words for; a newer server may name others. */
const ACTS = new Set<MessageKey>([
  'console.act.sign-in',
  'console.act.token.create',
  'console.act.link.create',
  'console.act.recording.start',
  'console.act.recording.pause',
  'console.act.recording.resume',
  'console.act.recording.stop',
  'console.act.recording.change',
  'console.act.recording.delete',
  'console.act.export.create',
  'console.act.room.look',
  'console.act.room.settings',
  'console.act.room.end',
  'console.act.room.mute',
  'console.act.participant.mute',
  'console.act.participant.remove',
  'console.act.participant.role',
  'console.act.other',
]);

/** Codes of refusals that it has words for. */
const REFUSALS = new Set<MessageKey>([
  'console.refused.unauthenticated',
  'console.refused.token-expired',
  'console.refused.forbidden',
  'console.refused.not-found',
  'console.refused.bad-request',
  'console.refused.too-large',
  'console.refused.rate-limited',
  'console.refused.conflict',
  'console.refused.unavailable',
  'console.refused.recording-live',
]);

/** Settings of a room that are on or off. */
const SWITCHES: Readonly<Record<string, MessageKey>> = {
  locked: 'room.locked',
  chat: 'people.may-chat',
  studentMicrophones: 'people.may-speak',
  studentCameras: 'people.may-show',
  studentScreens: 'people.may-share',
  studentsSeeStudents: 'people.may-see',
  recordAutomatically: 'recording.automatically',
  recordStudentCameras: 'recording.student-cameras',
};
const ROLES = new Set<MessageKey>(['role.teacher', 'role.assistant', 'role.student', 'role.observer', 'role.recorder']);
const SOURCES = new Set<MessageKey>([
  'source.microphone',
  'source.camera',
  'source.screen',
  'source.screen-audio',
  'source.desktop',
]);

const known = (words: ReadonlySet<MessageKey>, key: string, otherwise: string): string =>
  words.has(key as MessageKey) ? t(key as MessageKey) : otherwise;

/** What was done. */
export const actOf = ({ act }: AuditEntry): string => known(ACTS, `console.act.${act}`, act);

/** Who did it. */
export function actorOf({ actor, identity }: AuditEntry): string {
  if (identity !== undefined) return identity;
  return actor === 'participant' ? '' : t(`console.actor.${actor}`);
}

/** Why it was refused; nothing if it was not. */
export function refusalOf({ outcome }: AuditEntry): string | undefined {
  if (outcome === 'ok') return undefined;
  return t('console.audit-refused', { code: known(REFUSALS, `console.refused.${outcome}`, outcome) });
}

/** To what, and what else there is to say. */
export function aboutOf({ room, object, detail }: AuditEntry): string {
  const more = Object.entries(detail ?? {}).map(([name, value]) => inWords(name, value));
  return [room, object, ...more].filter((part) => part !== undefined && part !== '').join(' · ');
}

function inWords(name: string, value: unknown): string {
  const text = String(value);
  const setting = SWITCHES[name];
  if (setting && typeof value === 'boolean') return `${t(setting)}: ${t(value ? 'console.on' : 'console.off')}`;
  switch (name) {
    case 'identity':
    case 'request':
      return text;
    case 'role':
      return known(ROLES, `role.${text}`, text);
    case 'source':
      return known(SOURCES, `source.${text}`, text);
    case 'muted':
      return t(value === true ? 'console.muted' : 'console.unmuted');
    case 'title':
      return t('console.new-title', { title: text });
    case 'maxParticipants':
      return t('console.at-most', { people: count(Number(value)) });
    case 'ttlSeconds':
      return t('console.valid-for', { time: duration(Number(value)) });
    default:
      return `${name}: ${text}`;
  }
}
