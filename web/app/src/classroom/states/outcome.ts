// How it can end, or not begin: what the page then says and offers.
import type { Connection, ErrorCode } from '@lectern/client';

import type { MessageKey } from '../../i18n';
import type { IconName } from '../../ui/icons';

/** Why there is no classroom on the screen. */
export type OutcomeKind =
  | 'left'
  | 'ended'
  | 'removed'
  | 'replaced'
  | 'expired'
  | 'wrong-link'
  | 'room-full'
  | 'room-locked'
  | 'unreachable'
  | 'unsupported'
  | 'media-failed'
  | 'busy'
  | 'failed';

/** What can be done about it. */
export type OutcomeAction = 'rejoin' | 'retry' | 'use-here' | 'home';

/** How an outcome looks. */
export interface OutcomeView {
  icon: IconName;
  tone: 'plain' | 'warn' | 'bad';
  title: MessageKey;
  text: MessageKey;
  actions: readonly OutcomeAction[];
}

const ICONS: Record<OutcomeKind, [IconName, OutcomeView['tone'], readonly OutcomeAction[]]> = {
  left: ['door', 'plain', ['rejoin', 'home']],
  ended: ['check', 'plain', ['home']],
  removed: ['userMinus', 'warn', ['home']],
  replaced: ['copy', 'plain', ['use-here', 'home']],
  expired: ['clock', 'warn', ['home']],
  'wrong-link': ['link', 'warn', ['home']],
  'room-full': ['people', 'warn', ['retry', 'home']],
  'room-locked': ['lock', 'warn', ['retry', 'home']],
  unreachable: ['wifiOff', 'bad', ['retry', 'home']],
  unsupported: ['warning', 'bad', ['home']],
  'media-failed': ['wifiOff', 'bad', ['retry', 'home']],
  busy: ['server', 'warn', ['retry', 'home']],
  failed: ['warning', 'bad', ['retry', 'home']],
};

/** Icon, words and buttons of an outcome. */
export function outcomeView(kind: OutcomeKind): OutcomeView {
  const [icon, tone, actions] = ICONS[kind];
  return { icon, tone, actions, title: `outcome.${kind}.title`, text: `outcome.${kind}.text` };
}

/** The outcome of a failed join. */
export function outcomeOfError(code: ErrorCode): OutcomeKind {
  switch (code) {
    case 'token-expired':
      return 'expired';
    case 'unauthenticated':
    case 'bad-request':
      return 'wrong-link';
    case 'room-full':
    case 'room-locked':
    case 'removed':
    case 'unreachable':
    case 'media-failed':
      return code;
    case 'timeout':
      return 'unreachable';
    case 'media-unsupported':
    case 'offer-refused':
    case 'unsupported-version':
      return 'unsupported';
    case 'unavailable':
    case 'rate-limited':
      return 'busy';
    default:
      return 'failed';
  }
}

/** The outcome behind a connection that is over; undefined while it is not. */
export function outcomeOfConnection(connection: Connection): OutcomeKind | undefined {
  if (connection.status === 'failed') return outcomeOfError(connection.error.code);
  if (connection.status !== 'ended') return undefined;
  switch (connection.reason) {
    case 'left':
    case 'removed':
    case 'replaced':
      return connection.reason;
    case 'closed':
      return 'ended';
    case 'token-expired':
      return 'expired';
    case 'shutdown':
    case 'timeout':
      return 'unreachable';
  }
}
