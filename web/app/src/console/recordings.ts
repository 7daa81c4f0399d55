// The recordings of the server: searched, read on in steps, watched, shared, deleted.
import { ref, type Ref } from 'vue';

import type { ConsoleApi, ConsoleRecording } from './api';
import { goesOn } from './exports';
import { listInSteps, type List } from './list';

/** At once; another step on request. */
const STEP = 20;

/** The list. */
export interface RecordingList extends List<ConsoleRecording> {
  /** How many there are besides that nobody can watch: the server does not have their key. */
  readonly locked: Ref<number>;
  /** Shows one as it is now. */
  readonly replace: (recording: ConsoleRecording) => void;
  /** Takes one out that is no longer there. */
  readonly drop: (id: string) => void;
}

/** Follows the search field until the scope ends. */
export function listRecordings(api: () => ConsoleApi): RecordingList {
  const locked = ref(0);
  const list = listInSteps<ConsoleRecording>(
    STEP,
    ({ id }) => id,
    async ({ text, limit, last }) => {
      const page = await api().recordings({ text, limit, ...(last === undefined ? {} : { before: last.began }) });
      // Nobody knows what is in them: a search, or a step further, says nothing of them.
      if (text === '' && last === undefined) locked.value = page.locked;
      return page.recordings;
    },
  );
  const { items } = list;
  return {
    ...list,
    locked,
    replace: (recording) => (items.value = items.value?.map((item) => (item.id === recording.id ? recording : item))),
    drop: (id) => (items.value = items.value?.filter((item) => item.id !== id)),
  };
}

/** Whether removing a recording ends an export of it: one that is being made, and nothing else that works on it. */
export async function cancelsExport(api: ConsoleApi, { id, inUse }: ConsoleRecording): Promise<boolean> {
  return inUse === true && (await api.exports(id)).some(goesOn);
}
