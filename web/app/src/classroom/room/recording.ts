// The recording as the page shows it: who is in it, whether somebody has to be asked, and what its buttons do.
import type { LessonState, RecordAction, Role } from '@lectern/client';
import { computed, onScopeDispose, ref, type ComputedRef } from 'vue';

import { t } from '../../i18n';
import { elapsed } from '../../i18n/format';
import { toast } from '../../ui/toasts';
import { refused } from './own';
import { leads } from './people';
import { codeOf, type Room } from './room';

/** Whether somebody is in the recording. `unanswered` is out until they say yes. */
export type Inclusion = 'in' | 'out' | 'unanswered' | 'never';

/** The rules of `docs/protocol.md`, "Recording", "Who is in it". */
export function inclusionOf(consents: LessonState['consents'], id: string, role: Role): Inclusion {
  if (role === 'observer' || role === 'recorder') return 'never';
  const answer = Object.hasOwn(consents, id) ? consents[id] : undefined;
  if (answer !== undefined) return answer ? 'in' : 'out';
  return leads(role) ? 'in' : 'unanswered';
}

/** How the recording stands. */
export type RecordingStatus = 'off' | 'recording' | 'paused';

/** The recording of a room. */
export interface Recording {
  readonly status: ComputedRef<RecordingStatus>;
  /** Since it began, `12:34`; empty while none is made. */
  readonly time: ComputedRef<string>;
  /** Whether this participant is in it. */
  readonly mine: ComputedRef<Inclusion>;
  /** Whether this participant has to be asked now. */
  readonly asks: ComputedRef<boolean>;
  /** How many of those present are in it. */
  readonly included: ComputedRef<number>;
  readonly inclusion: (person: { id: string; role: Role }) => Inclusion;
  readonly run: (action: RecordAction) => void;
  readonly answer: (agreed: boolean) => void;
}

/** Follows the recording of `room` until the scope ends. */
export function useRecording(room: Room): Recording {
  const now = ref(Date.now());
  const timer = setInterval(() => (now.value = Date.now()), 1_000);
  onScopeDispose(() => clearInterval(timer));

  const current = computed(() => room.state.value?.recording);
  const status = computed<RecordingStatus>(() => {
    if (!current.value) return 'off';
    return current.value.paused ? 'paused' : 'recording';
  });
  const inclusion = ({ id, role }: { id: string; role: Role }) =>
    inclusionOf(room.state.value?.consents ?? {}, id, role);
  const mine = computed<Inclusion>(() => (room.me.value ? inclusion(room.me.value) : 'never'));

  return {
    status,
    mine,
    inclusion,
    time: computed(() =>
      current.value ? elapsed(now.value + room.session.clockOffsetMs - Date.parse(current.value.startedAt)) : '',
    ),
    asks: computed(() => current.value !== undefined && mine.value === 'unanswered'),
    included: computed(() => room.people.value.filter((person) => inclusion(person) === 'in').length),
    run(action) {
      room.session.record(action).catch((error: unknown) => {
        if (action === 'start' && codeOf(error) === 'unavailable') {
          toast({ text: t('recording.unavailable'), tone: 'bad', icon: 'warning', key: 'refused' });
        } else refused(error);
      });
    },
    answer(agreed) {
      room.session.consent(agreed).catch(refused);
    },
  };
}
