// The own microphone, camera, screen and hand in the room: what the buttons do.
import { computed, inject, onScopeDispose, reactive, watch, type ComputedRef, type InjectionKey } from 'vue';

import { t, type MessageKey } from '../../i18n';
import { toast } from '../../ui/toasts';
import { canShareScreen, type CaptureKind, type Captures } from '../media/capture';
import { leads } from './people';
import { codeOf, type Room } from './room';
import { createShare, type Share } from './share';

/** What one button shows. */
export interface OwnButton {
  on: boolean;
  busy: boolean;
  /** Why it cannot be pressed. */
  reason: string | undefined;
}

/** The own tracks and hand. */
export interface Own {
  readonly microphone: ComputedRef<OwnButton>;
  readonly camera: ComputedRef<OwnButton>;
  readonly screen: ComputedRef<OwnButton>;
  readonly hand: ComputedRef<OwnButton & { place: number; floor: boolean }>;
  readonly captures: Captures;
  toggleMicrophone(): Promise<void>;
  toggleCamera(): Promise<void>;
  toggleScreen(): Promise<void>;
  readonly share: Share;
  /** The answer to what will be shared: the browser asks which screen. */
  shareScreen(): Promise<void>;
  toggleHand(): Promise<void>;
  /** Publishes what the person chose at the door, unless the join did. */
  begin(wanted: { microphone: boolean; camera: boolean }): Promise<void>;
  choose(kind: CaptureKind | 'speaker', deviceId: string): Promise<void>;
}

const KEY: InjectionKey<Own> = Symbol('own');
export const OWN_KEY = KEY;

/** The own tracks and hand of this page. */
export function useOwn(): Own {
  const own = inject(KEY);
  if (!own) throw new Error('useOwn outside of a classroom');
  return own;
}

/** Shows why a request failed. */
export function refused(error: unknown): void {
  toast({ text: t(`error.${codeOf(error)}`), tone: 'bad', icon: 'warning', key: 'refused' });
}

/** Joins devices and session. */
export function createOwn(room: Room, captures: Captures): Own {
  const { session } = room;
  const share = createShare(room);
  const busy = reactive({ microphone: false, camera: false, screen: false, hand: false });

  const local = (source: 'microphone' | 'camera' | 'screen') =>
    room.ownChanges.value >= 0 ? session.local(source) : undefined;

  function whyNot(kind: 'microphone' | 'camera' | 'screen'): string | undefined {
    if (room.can(`publish-${kind}`)) return undefined;
    const me = room.me.value;
    const key: MessageKey =
      me?.role === 'observer'
        ? `own.observer.${kind}`
        : room.state.value?.settings.preset === 'lecture' && me && !me.floor
          ? `own.needs-floor.${kind}`
          : `own.forbidden.${kind}`;
    return t(key);
  }

  async function guarded(kind: keyof typeof busy, work: () => Promise<void>): Promise<void> {
    if (busy[kind]) return;
    busy[kind] = true;
    try {
      await work();
    } catch (error) {
      refused(error);
    } finally {
      busy[kind] = false;
    }
  }

  async function capture(kind: CaptureKind): Promise<MediaStreamTrack | undefined> {
    const now = captures[kind];
    const track = now.status === 'on' && now.track.readyState === 'live' ? now.track : await captures.start(kind);
    const after = captures[kind];
    if (!track && after.status === 'problem') {
      toast({
        text: t(`device.${kind}.${after.problem}`),
        tone: 'bad',
        icon: kind === 'camera' ? 'cameraOff' : 'micOff',
        key: kind,
      });
    }
    return track;
  }

  const toggleMicrophone = () =>
    guarded('microphone', async () => {
      const reason = whyNot('microphone');
      const now = session.local('microphone');
      if (now && !now.muted) return session.mute('microphone');
      if (reason) {
        toast({ text: reason, icon: 'info', key: 'reason' });
        return;
      }
      if (now && now.track.readyState === 'live') return session.unmute('microphone');
      const track = await capture('microphone');
      if (!track) return;
      if (now) {
        await session.replace('microphone', track);
        return session.unmute('microphone');
      }
      return session.publish('microphone', track);
    });

  const toggleCamera = () =>
    guarded('camera', async () => {
      if (session.local('camera')) {
        captures.stop('camera'); // The light goes out first.
        return session.unpublish('camera');
      }
      const reason = whyNot('camera');
      if (reason) {
        toast({ text: reason, icon: 'info', key: 'reason' });
        return;
      }
      const track = await capture('camera');
      if (track) await session.publish('camera', track);
    });

  /** Stops sharing, or asks what will be shared. */
  const toggleScreen = () =>
    guarded('screen', async () => {
      if (session.local('screen')) return share.stop();
      const reason = whyNot('screen');
      if (reason) {
        toast({ text: reason, icon: 'info', key: 'reason' });
        return;
      }
      if (!canShareScreen()) {
        toast({ text: t('device.screen.unsupported'), tone: 'bad', icon: 'screenOff', key: 'screen' });
        return;
      }
      share.asking.value = true;
    });

  const shareScreen = () =>
    guarded('screen', async () => {
      share.asking.value = false;
      await share.start(() => void guarded('screen', () => share.stop()));
    });

  const toggleHand = () =>
    guarded('hand', async () => {
      const me = room.me.value;
      if (!me) return;
      if (me.floor) return session.floor(me.id, false);
      return session.hand(me.hand === 0);
    });

  async function begin(wanted: { microphone: boolean; camera: boolean }): Promise<void> {
    for (const kind of ['microphone', 'camera'] as const) {
      const now = captures[kind];
      if (now.status !== 'on' || session.local(kind)) continue;
      if (wanted[kind] && room.can(`publish-${kind}`)) await session.publish(kind, now.track).catch(refused);
      else captures.stop(kind);
    }
  }

  async function choose(kind: CaptureKind | 'speaker', deviceId: string): Promise<void> {
    const track = await captures.choose(kind, deviceId);
    if (track && kind !== 'speaker' && session.local(kind)) await session.replace(kind, track).catch(refused);
  }

  // What was taken away by the teacher or the server is no longer captured either: a light that stays on worries people.
  const stop = session.on('local', ({ source, track }) => {
    if (track || (source !== 'microphone' && source !== 'camera')) return;
    const now = captures[source];
    // A device that was pulled out has ended by itself, and the watcher below says so.
    if (now.status === 'on' && now.track.readyState === 'live') captures.stop(source);
  });
  watch(
    () => [captures.microphone, captures.camera] as const,
    ([microphone, camera]) => {
      // The session takes an ended track back by itself.
      if (microphone.status === 'problem' && microphone.problem === 'lost') {
        toast({ text: t('device.microphone.lost'), tone: 'bad', icon: 'micOff', key: 'microphone' });
      }
      if (camera.status === 'problem' && camera.problem === 'lost') {
        toast({ text: t('device.camera.lost'), tone: 'bad', icon: 'cameraOff', key: 'camera' });
      }
    },
  );
  onScopeDispose(() => {
    stop();
    session.local('screen')?.track.stop();
    session.local('screen-audio')?.track.stop();
  });

  return {
    captures,
    microphone: computed(() => ({
      on: local('microphone')?.muted === false,
      busy: busy.microphone,
      reason: local('microphone') ? undefined : whyNot('microphone'),
    })),
    camera: computed(() => ({
      on: local('camera') !== undefined,
      busy: busy.camera,
      reason: local('camera') ? undefined : whyNot('camera'),
    })),
    screen: computed(() => ({
      on: local('screen') !== undefined,
      busy: busy.screen,
      reason: local('screen') ? undefined : whyNot('screen'),
    })),
    hand: computed(() => {
      const me = room.me.value;
      const may = room.can('raise-hand') && !(me && leads(me.role));
      return {
        on: (me?.hand ?? 0) > 0,
        busy: busy.hand,
        reason: may ? undefined : t('own.forbidden.hand'),
        place: me?.hand ?? 0,
        floor: me?.floor ?? false,
      };
    }),
    toggleMicrophone,
    toggleCamera,
    toggleScreen,
    share,
    shareScreen,
    toggleHand,
    begin,
    choose,
  };
}
