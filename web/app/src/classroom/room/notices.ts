// Short notes about what happens in the lesson: only what concerns this person.
import type { LessonEvent, RecordingLimit } from '@lectern/client';
import { onScopeDispose, watch } from 'vue';

import { t } from '../../i18n';
import { dismissKey, toast } from '../../ui/toasts';
import { refused, type Own } from './own';
import { leads } from './people';
import type { Room } from './room';

/** In larger classes people come and go all the time: nobody wants to read each. */
const SMALL_CLASS = 12;

/** Tells of the lesson's events until the scope ends. */
export function useNotices(room: Room, own: Own): void {
  const me = () => room.session.identity;

  function tell(event: LessonEvent): void {
    const mine = 'participant' in event && event.participant === me();
    const byMe = event.by !== undefined && event.by === me();
    const by = event.by === undefined ? t('notice.somebody') : room.nameOf(event.by);
    switch (event.kind) {
      case 'joined':
        if (!mine && room.people.value.length <= SMALL_CLASS) {
          toast({ text: t('notice.joined', { name: event.name }), icon: 'person', key: `who-${event.participant}` });
        }
        return;
      case 'left':
        if (
          !mine &&
          room.people.value.length < SMALL_CLASS &&
          event.reason !== 'closed' &&
          event.reason !== 'shutdown'
        ) {
          toast({
            text: t('notice.left', { name: room.nameOf(event.participant) }),
            icon: 'leave',
            key: `who-${event.participant}`,
          });
        }
        return;
      case 'hand-raised': {
        if (mine || !room.me.value || !leads(room.me.value.role)) return;
        const { participant } = event;
        toast({
          text: t('notice.hand', { name: room.nameOf(participant) }),
          icon: 'hand',
          tone: 'warn',
          key: `hand-${participant}`,
          ...(room.can('give-floor')
            ? {
                action: {
                  label: t('people.give-floor'),
                  run: () => void room.session.floor(participant, true).catch(refused),
                },
              }
            : {}),
        });
        return;
      }
      case 'floor-given':
        dismissKey(`hand-${event.participant}`);
        if (!mine) return;
        toast({
          text: t('notice.floor'),
          icon: 'floor',
          tone: 'good',
          key: 'floor',
          ...(own.microphone.value.on
            ? {}
            : { action: { label: t('notice.unmute'), run: () => void own.toggleMicrophone() } }),
        });
        return;
      case 'floor-taken':
        if (mine && !byMe) toast({ text: t('notice.floor-taken'), icon: 'floor', key: 'floor' });
        return;
      case 'hand-lowered':
        dismissKey(`hand-${event.participant}`);
        // Getting the floor lowers the hand too; that has a note of its own and no `hand-lowered`.
        if (mine && !byMe) toast({ text: t('notice.hand-lowered', { name: by }), icon: 'handDown', key: 'hand' });
        return;
      case 'muted':
        if (!mine || byMe || !event.muted) return;
        if (event.source === 'microphone') {
          toast({ text: t('notice.muted', { name: by }), icon: 'micOff', tone: 'warn', key: 'muted' });
        } else if (event.source === 'camera') {
          toast({ text: t('notice.muted-camera', { name: by }), icon: 'cameraOff', tone: 'warn', key: 'muted-camera' });
        } else {
          toast({ text: t('notice.muted-screen', { name: by }), icon: 'screenOff', tone: 'warn', key: 'muted-screen' });
        }
        return;
      case 'published':
        if (!mine && event.source === 'screen') {
          toast({ text: t('notice.screen', { name: room.nameOf(event.participant) }), icon: 'screen', key: 'screen' });
        }
        return;
      case 'role-changed':
        if (mine)
          toast({ text: t('notice.role', { role: t(`role.${event.role}`) }), icon: 'star', tone: 'good', key: 'role' });
        return;
      case 'recording-started':
        toast({ text: t('notice.recording-started'), icon: 'record', tone: 'warn', key: 'recording' });
        return;
      case 'recording-paused':
        toast({ text: t('notice.recording-paused'), icon: 'pause', key: 'recording' });
        return;
      case 'recording-resumed':
        toast({ text: t('notice.recording-resumed'), icon: 'record', tone: 'warn', key: 'recording' });
        return;
      case 'recording-limited':
        tellLimited(event.limit);
        return;
      case 'recording-stopped':
        if (event.reason !== 'closed') tellStopped(event.reason);
        return;
      default:
        return;
    }
  }

  /** Those who lead can do something about it. */
  function tellLimited(limit: RecordingLimit | undefined): void {
    if (!room.me.value || !leads(room.me.value.role)) return;
    toast(
      limit === undefined
        ? { text: t('notice.recording-whole'), icon: 'record', key: 'recording' }
        : { text: t(`notice.recording-${limit}`), icon: 'warning', tone: 'bad', key: 'recording' },
    );
  }

  function tellStopped(reason: 'stopped' | 'failed' | 'disk-full' | 'interrupted'): void {
    const bad = reason !== 'stopped';
    toast({
      text: t(`notice.recording-${reason}`),
      icon: bad ? 'warning' : 'stop',
      key: 'recording',
      ...(bad ? { tone: 'bad' as const } : {}),
    });
  }

  // Who comes into a class that is being recorded has heard no event of it.
  const running = room.state.value?.recording;
  if (running?.paused) toast({ text: t('notice.recording-paused'), icon: 'pause', key: 'recording' });
  else if (running) toast({ text: t('notice.recording-started'), icon: 'record', tone: 'warn', key: 'recording' });
  if (running?.limit) tellLimited(running.limit);

  // The note asks to unmute: once that is done it is in the way.
  watch(
    () => own.microphone.value.on,
    (on) => {
      if (on) dismissKey('floor');
    },
  );

  let recorded = room.state.value?.recording !== undefined;
  let locked = room.state.value?.settings.locked;
  const stop = room.session.on('state', ({ state, events }) => {
    for (const event of events) tell(event);
    // A server that was away gives the whole state and no events.
    if (recorded && !state.recording && state.recordingInterrupted && events.length === 0) tellStopped('interrupted');
    recorded = state.recording !== undefined;
    if (locked !== undefined && locked !== state.settings.locked && room.me.value && leads(room.me.value.role)) {
      toast({
        text: state.settings.locked ? t('notice.locked') : t('notice.unlocked'),
        icon: state.settings.locked ? 'lock' : 'unlock',
        key: 'lock',
      });
    }
    locked = state.settings.locked;
  });
  onScopeDispose(stop);
}
