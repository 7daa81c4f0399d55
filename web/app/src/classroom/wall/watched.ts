// Whether the operator looks at small pictures of this room, and the own ones meanwhile.
import { onScopeDispose, ref, type Ref } from 'vue';

import type { Room } from '../room/room';
import { Drawer, ThumbnailSender } from './thumbnails';

/** Sends pictures while they are wanted, until the scope ends. The answer is for the sign, without which nothing is to be sent. */
export function useWatched(room: Room): Readonly<Ref<boolean>> {
  const { session } = room;
  const watched = ref(session.thumbnailsWanted);
  const drawer = new Drawer();
  const sender = new ThumbnailSender({
    track(source) {
      const local = session.local(source);
      return local && !local.muted && !document.hidden ? local.track : undefined;
    },
    draw: (source, track) => drawer.draw(source, track),
    send: (source, jpeg) => session.thumbnail(source, jpeg),
    rest: (source) => drawer.rest(source),
  });
  const changed = () => sender.changed();
  const stops = [
    session.on('thumbnails', ({ wanted }) => {
      watched.value = wanted;
      sender.want(wanted);
    }),
    session.on('local', changed),
  ];
  document.addEventListener('visibilitychange', changed);
  sender.want(watched.value);
  onScopeDispose(() => {
    for (const stop of stops) stop();
    document.removeEventListener('visibilitychange', changed);
    sender.want(false);
  });
  return watched;
}
