// The console's live state: asks every two seconds, keeps the last good answer while the server is away.
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue';

import { readStored, writeStored } from '../ui/stored';
import { ApiError, ConsoleApi, type ApiProblem, type ConsoleNode, type ConsoleRoom } from './api';
import { remember, sampleOf, type Sample } from './history';

const EVERY_MS = 2_000;
const KEY = 'lectern.key';

/** The console's state. */
export interface Console {
  readonly key: Ref<string | undefined>;
  readonly rooms: ShallowRef<ConsoleRoom[] | undefined>;
  readonly node: ShallowRef<ConsoleNode | undefined>;
  /** The last minutes, as far as the page has seen them. */
  readonly history: ShallowRef<readonly Sample[]>;
  /** Why the last question had no answer. */
  readonly problem: Ref<ApiProblem | undefined>;
  readonly busy: Ref<boolean>;
  signIn(key: string): void;
  signOut(): void;
  api(): ConsoleApi | undefined;
}

/** Asks the server until the scope ends. */
export function useConsole(initialKey: string | undefined): Console {
  const key = ref(initialKey ?? readStored(KEY, 'session'));
  const rooms = shallowRef<ConsoleRoom[]>();
  const node = shallowRef<ConsoleNode>();
  const history = shallowRef<readonly Sample[]>([]);
  const problem = ref<ApiProblem>();
  const busy = ref(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let round = 0;
  // One that was kept over a reload has signed in before.
  let isSignedIn = initialKey === undefined && key.value !== undefined;

  const api = () => (key.value === undefined ? undefined : new ConsoleApi(key.value));

  async function ask(): Promise<void> {
    clearTimeout(timer);
    const client = api();
    const mine = ++round;
    if (!client) return;
    busy.value = true;
    try {
      if (!isSignedIn) {
        await client.signIn();
        if (mine !== round) return;
        isSignedIn = true;
      }
      const [nextRooms, nextNode] = await Promise.all([client.rooms(), client.node()]);
      if (mine !== round) return;
      rooms.value = nextRooms;
      node.value = nextNode;
      history.value = remember(history.value, sampleOf(performance.now(), nextNode, nextRooms));
      problem.value = undefined;
      writeStored(KEY, key.value, 'session');
    } catch (error) {
      if (mine !== round) return;
      problem.value = error instanceof ApiError ? error.problem : 'server';
      if (problem.value === 'key') {
        writeStored(KEY, undefined, 'session');
        key.value = undefined;
        rooms.value = undefined;
        node.value = undefined;
        history.value = [];
        isSignedIn = false;
      }
    } finally {
      if (mine === round) {
        busy.value = false;
        if (key.value !== undefined) timer = setTimeout(() => void ask(), EVERY_MS);
      }
    }
  }

  // Nobody looks: nobody asks.
  const seen = () => {
    if (document.hidden) clearTimeout(timer);
    else void ask();
  };
  document.addEventListener('visibilitychange', seen);
  watch(key, () => void ask(), { immediate: true });
  onScopeDispose(() => {
    round++;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', seen);
  });

  return {
    key,
    rooms,
    node,
    history,
    problem,
    busy,
    api,
    signIn(next) {
      problem.value = undefined;
      isSignedIn = false;
      if (key.value === next) void ask();
      key.value = next;
    },
    signOut() {
      round++;
      clearTimeout(timer);
      isSignedIn = false;
      writeStored(KEY, undefined, 'session');
      key.value = undefined;
      rooms.value = undefined;
      node.value = undefined;
      history.value = [];
      problem.value = undefined;
    },
  };
}
