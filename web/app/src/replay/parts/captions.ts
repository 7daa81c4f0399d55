// Chapters and found places in words.
import { t } from '../../i18n';
import type { IconName } from '../../ui/icons';
import type { Chapter, Found } from '../engine/chapters';

const ICONS: Record<Found['kind'], IconName> = {
  screen: 'screen',
  'screen-end': 'screenOff',
  floor: 'floor',
  hand: 'hand',
  resumed: 'record',
  joined: 'person',
  chat: 'chat',
};

/** What happens there. */
export function captionOf(place: Chapter | Found): string {
  if (place.kind === 'chat') return place.name;
  const { name } = place;
  return place.kind === 'joined' ? t('replay.found.joined', { name }) : t(`replay.chapter.${place.kind}`, { name });
}

/** Its mark. */
export function iconOf(place: Chapter | Found): IconName {
  return ICONS[place.kind];
}
