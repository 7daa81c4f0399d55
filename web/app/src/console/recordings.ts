// The recordings of the server: searched, read on in steps, watched, shared, deleted.
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue';

import { ApiError, type ApiProblem, type ConsoleApi, type ConsoleRecording } from './api';

/** At once; another step on request. */
const STEP = 20;
/** Nobody means each letter. */
const TYPING_MS = 300;

/** The list. */
export interface RecordingList {
  readonly text: Ref<string>;
  /** Undefined until the first answer. */
  readonly items: ShallowRef<readonly ConsoleRecording[] | undefined>;
  readonly hasMore: Ref<boolean>;
  readonly busy: Ref<boolean>;
  readonly problem: Ref<ApiProblem | undefined>;
  readonly reload: () => Promise<void>;
  readonly more: () => Promise<void>;
  /** Shows one as it is now. */
  readonly replace: (recording: ConsoleRecording) => void;
  /** Takes one out that is no longer there. */
  readonly drop: (id: string) => void;
}

/** Follows the search field until the scope ends. */
export function listRecordings(api: () => ConsoleApi): RecordingList {
  const text = ref('');
  const items = shallowRef<readonly ConsoleRecording[]>();
  const hasMore = ref(false);
  const busy = ref(false);
  const problem = ref<ApiProblem>();
  let round = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function ask(before: readonly ConsoleRecording[]): Promise<void> {
    const mine = ++round;
    busy.value = true;
    const last = before.at(-1)?.began;
    try {
      // One more than is shown tells whether there are more.
      const found = await api().recordings({
        text: text.value.trim(),
        limit: STEP + 1,
        ...(last === undefined ? {} : { before: last }),
      });
      if (mine !== round) return;
      const known = new Set(before.map(({ id }) => id));
      items.value = [...before, ...found.slice(0, STEP).filter(({ id }) => !known.has(id))];
      hasMore.value = found.length > STEP;
      problem.value = undefined;
    } catch (error) {
      if (mine === round) problem.value = error instanceof ApiError ? error.problem : 'server';
    } finally {
      if (mine === round) busy.value = false;
    }
  }

  const reload = () => ask([]);
  watch(text, () => {
    clearTimeout(timer);
    timer = setTimeout(() => void reload(), TYPING_MS);
  });
  void reload();
  onScopeDispose(() => {
    round++;
    clearTimeout(timer);
  });
  return {
    text,
    items,
    hasMore,
    busy,
    problem,
    reload,
    more: () => ask(items.value ?? []),
    replace: (recording) => (items.value = items.value?.map((item) => (item.id === recording.id ? recording : item))),
    drop: (id) => (items.value = items.value?.filter((item) => item.id !== id)),
  };
}
