// A recording as the page has it: loaded, and loaded further while its class still goes on.
import { onScopeDispose, ref, shallowRef, triggerRef, type Ref, type ShallowRef } from 'vue';

import { ReplayError, type ReplayApi, type ReplayProblem } from './api';
import { History } from './engine/history';
import type { Manifest } from './engine/manifest';
import { TimelineReader, type Entry } from './engine/timeline';

/** How often a class that still goes on is looked after. */
const LIVE_EVERY_MS = 4_000;

/** The recording. */
export interface Loaded {
  readonly manifest: ShallowRef<Manifest | undefined>;
  /** Triggered when it has grown. */
  readonly entries: ShallowRef<readonly Entry[]>;
  readonly history: ShallowRef<History>;
  readonly problem: Ref<ReplayProblem | undefined>;
  /** Whether what happened beside sound and pictures cannot be read. */
  readonly lacksHistory: Ref<boolean>;
  retry(): void;
}

/** Loads a recording, and follows it until the scope ends. */
export function loadRecording(api: ReplayApi): Loaded {
  const manifest = shallowRef<Manifest>();
  const entries = shallowRef<readonly Entry[]>([]);
  const history = shallowRef(new History());
  const problem = ref<ReplayProblem>();
  const lacksHistory = ref(false);
  const reader = new TimelineReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;

  async function load(): Promise<void> {
    clearTimeout(timer);
    try {
      const next = await api.manifest();
      if (!reader.damaged && reader.bytes < Math.max(1, next.timelineBytes)) {
        const more = await api.timeline(next.timeline, reader.bytes).catch((error: unknown) => {
          // Sound and pictures are there all the same.
          if (!(error instanceof ReplayError) || error.problem !== 'damaged') throw error;
          lacksHistory.value = true;
          return new Uint8Array();
        });
        const fresh = reader.push(more);
        lacksHistory.value ||= reader.damaged;
        if (over) return;
        if (fresh > 0) {
          history.value.push(reader.entries.slice(-fresh));
          entries.value = [...reader.entries];
          triggerRef(history);
        }
      }
      manifest.value = next;
      problem.value = undefined;
      if (next.state === 'live') later();
    } catch (error) {
      const found = error instanceof ReplayError ? error.problem : 'server';
      // What is there can be watched to its end; the next look may succeed.
      if (manifest.value && (found === 'unreachable' || found === 'server')) later();
      else problem.value = found;
    }
  }

  function later(): void {
    if (!over) timer = setTimeout(() => void load(), LIVE_EVERY_MS);
  }

  void load();
  onScopeDispose(() => {
    over = true;
    clearTimeout(timer);
  });
  return {
    manifest,
    entries,
    history,
    problem,
    lacksHistory,
    retry() {
      problem.value = undefined;
      void load();
    },
  };
}
