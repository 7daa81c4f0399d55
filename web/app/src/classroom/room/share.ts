// Sharing the own screen: what it shows is asked before the browser asks which one, can be changed while it is shared, and is
// remembered.
import type { ScreenContent } from '@lectern/client';
import { computed, ref, type ComputedRef, type Ref } from 'vue';

import { t } from '../../i18n';
import { readStored, writeStored } from '../../ui/stored';
import { toast } from '../../ui/toasts';
import type { Room } from './room';

/** Sharing. */
export interface Share {
  /** Whether the question is open. */
  readonly asking: Ref<boolean>;
  /** What the screen shows, or will show. */
  readonly content: ComputedRef<ScreenContent>;
  choose(content: ScreenContent): Promise<void>;
  /** Lets the browser ask which screen, and sends it. `ended` is called when the browser's own button stops it. */
  start(ended: () => void): Promise<void>;
  stop(): Promise<void>;
}

const STORED = 'lectern.screen-content';

/** Sharing in this room. */
export function createShare(room: Room): Share {
  const { session } = room;
  const asking = ref(false);
  // Most of what is shared in a class is to be read.
  const chosen = ref<ScreenContent>(readStored(STORED) === 'motion' ? 'motion' : 'text');

  async function choose(content: ScreenContent): Promise<void> {
    chosen.value = content;
    writeStored(STORED, content);
    if (session.local('screen')) await session.screenContent(content);
  }

  async function start(ended: () => void): Promise<void> {
    const stream = await navigator.mediaDevices
      .getDisplayMedia({ video: { frameRate: { ideal: 30, max: 30 } }, audio: room.can('publish-screen-audio') })
      .catch((error: unknown) => {
        // Closing the chooser is an answer and not an error.
        if (error instanceof DOMException && error.name === 'NotAllowedError') return undefined;
        toast({ text: t('device.screen.failed'), tone: 'bad', icon: 'screenOff', key: 'screen' });
        return undefined;
      });
    const picture = stream?.getVideoTracks()[0];
    if (!stream || !picture) return;
    picture.contentHint = chosen.value === 'motion' ? 'motion' : 'detail';
    picture.addEventListener('ended', ended);
    await session.publish('screen', picture);
    const sound = stream.getAudioTracks()[0];
    if (sound) await session.publish('screen-audio', sound);
  }

  async function stop(): Promise<void> {
    for (const source of ['screen', 'screen-audio'] as const) {
      const now = session.local(source);
      if (!now) continue;
      now.track.stop();
      await session.unpublish(source);
    }
  }

  return { asking, content: computed(() => chosen.value), choose, start, stop };
}
