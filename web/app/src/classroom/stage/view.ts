// Asks the server for the pictures that are on the screen, as large as they are there; none while nobody looks.
import type { ViewPicture } from '@lectern/client';
import { onScopeDispose, ref, watch, type Ref } from 'vue';

import type { Room } from '../room/room';
import { WIDE } from './grid';
import type { Arrangement, Placed } from './layout';

/** A window that is being dragged changes size at each frame; the server needs the last one. */
const SETTLE_MS = 120;
/** More pixels than this are never worth sending (8K). */
const MOST_PIXELS = 7_680;

const IMPORTANCE: Record<Placed['place'], number> = { stage: 0, grid: 1, strip: 2, corner: 3 };

/** The request for an arrangement: the stage first, own pictures left out. */
export function picturesOf(
  arrangement: Arrangement,
  own: string | undefined,
  published: (id: string, source: ViewPicture['source']) => boolean,
  pixelRatio: number,
): ViewPicture[] {
  const pixels = (css: number) => Math.min(MOST_PIXELS, Math.max(1, Math.round(css * pixelRatio)));
  return arrangement.tiles
    .filter(({ picture }) => picture.id !== own && published(picture.id, picture.source))
    .sort((a, b) => IMPORTANCE[a.place] - IMPORTANCE[b.place])
    .map(({ picture, rect }) => {
      // A camera fills its tile and is cut: an upright tile needs a picture that is wider than it.
      const fills = picture.source === 'camera';
      return {
        participant: picture.id,
        source: picture.source,
        width: pixels(fills ? Math.max(rect.width, rect.height * WIDE) : rect.width),
        height: pixels(fills ? Math.max(rect.height, rect.width / WIDE) : rect.height),
      };
    });
}

/** Keeps the server's view in step with what is shown. */
export function useView(room: Room, arrangement: Ref<Arrangement>): void {
  const hidden = ref(document.hidden);
  const pixelRatio = ref(window.devicePixelRatio);
  let sent = '';
  let sentAt = -Infinity;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function send(): void {
    timer = undefined;
    const pictures = hidden.value
      ? []
      : picturesOf(
          arrangement.value,
          room.me.value?.id,
          (id, source) => room.person(id)?.tracks[source]?.muted === false,
          pixelRatio.value,
        );
    const text = JSON.stringify(pictures);
    if (text === sent) return;
    sent = text;
    sentAt = performance.now();
    room.session.view(pictures);
  }

  function later(): void {
    clearTimeout(timer);
    // After a quiet time at once, so that a newcomer sees without delay; then in steps.
    const wait = performance.now() - sentAt > SETTLE_MS && arrangement.value.tiles.length > 0 ? 0 : SETTLE_MS;
    timer = setTimeout(send, wait);
  }

  const visibility = () => (hidden.value = document.hidden);
  const resized = () => (pixelRatio.value = window.devicePixelRatio);
  document.addEventListener('visibilitychange', visibility);
  window.addEventListener('resize', resized);

  // People who turn a camera on or off change what is asked for without changing the arrangement.
  watch([arrangement, () => room.people.value, pixelRatio], later, { immediate: true });
  watch(hidden, send);
  onScopeDispose(() => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', visibility);
    window.removeEventListener('resize', resized);
    room.session.view([]);
  });
}
