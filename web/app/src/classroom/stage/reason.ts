// Why a picture is not what it could be, in plain words: a quiet mark on its tile.
import type { Reason, ReceivedPicture, Trouble } from '@lectern/client';

import { t } from '../../i18n';
import type { IconName } from '../../ui/icons';

/** A mark on a tile. */
export interface Mark {
  icon: IconName;
  text: string;
  /** Nothing arrives: the face of the person stands in. */
  paused: boolean;
}

const ICONS: Record<Reason, IconName> = {
  bandwidth: 'shrink',
  'sender-cpu': 'busy',
  'sender-bandwidth': 'shrink',
  'layer-missing': 'info',
  policy: 'saver',
  hidden: 'pause',
};

/** The mark of somebody's picture. A small camera that sends all it has is nothing to complain about: its reason stands in the details only. */
export function pictureMark({ shown, reason }: ReceivedPicture, name: string): Mark | undefined {
  if (shown === 'full' || !reason || (shown === 'reduced' && reason === 'layer-missing')) return undefined;
  // Whose fault it is stands in the words; a picture that is not there has one sign.
  const icon = shown === 'paused' && ICONS[reason] === 'shrink' ? 'pause' : ICONS[reason];
  return { icon, text: wordsOf(reason, shown, name), paused: shown === 'paused' };
}

/** The same in words, for the details; with every reason. */
export function pictureWords({ shown, reason }: ReceivedPicture, name: string): string | undefined {
  return shown === 'full' || !reason ? undefined : wordsOf(reason, shown, name);
}

/** The mark of the own camera: what others see less of, and why. */
export function ownMark(trouble: readonly Trouble[]): Mark | undefined {
  if (trouble.includes('sending-cpu')) return { icon: 'busy', text: t('why.own.sending-cpu'), paused: false };
  if (trouble.includes('sending-bandwidth')) {
    return { icon: 'shrink', text: t('why.own.sending-bandwidth'), paused: false };
  }
  return undefined;
}

function wordsOf(reason: Reason, shown: 'reduced' | 'paused', name: string): string {
  return t(`why.${reason}.${shown}`, { name });
}
