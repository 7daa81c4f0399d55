// A list of the console: searched while somebody types, and read on in steps.
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue';

import { ApiError, type ApiProblem } from './api';

/** Nobody means each letter. */
const TYPING_MS = 300;

/** A step of a list. */
export interface Step<Item> {
  /** What is looked for, without space around it. */
  readonly text: string;
  /** One more than is shown, which tells whether there are more. */
  readonly limit: number;
  /** The last that is shown; undefined for the first step. */
  readonly last: Item | undefined;
}

/** The list. */
export interface List<Item> {
  readonly text: Ref<string>;
  /** Undefined until the first answer. */
  readonly items: ShallowRef<readonly Item[] | undefined>;
  readonly hasMore: Ref<boolean>;
  readonly busy: Ref<boolean>;
  readonly problem: Ref<ApiProblem | undefined>;
  /** Begins anew, at once. */
  readonly reload: () => Promise<void>;
  readonly more: () => Promise<void>;
}

/** Follows the search field until the scope ends; `key` tells items apart, of which each is shown once. */
export function listInSteps<Item>(
  size: number,
  key: (item: Item) => string | number,
  ask: (step: Step<Item>) => Promise<readonly Item[]>,
): List<Item> {
  const text = ref('');
  const items = shallowRef<readonly Item[]>();
  const hasMore = ref(false);
  const busy = ref(false);
  const problem = ref<ApiProblem>();
  let round = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function take(before: readonly Item[]): Promise<void> {
    clearTimeout(timer);
    const mine = ++round;
    busy.value = true;
    try {
      const found = await ask({ text: text.value.trim(), limit: size + 1, last: before.at(-1) });
      if (mine !== round) return;
      const known = new Set(before.map(key));
      items.value = [...before, ...found.slice(0, size).filter((item) => !known.has(key(item)))];
      hasMore.value = found.length > size;
      problem.value = undefined;
    } catch (error) {
      if (mine === round) problem.value = error instanceof ApiError ? error.problem : 'server';
    } finally {
      if (mine === round) busy.value = false;
    }
  }

  const reload = () => take([]);
  watch(text, () => {
    clearTimeout(timer);
    timer = setTimeout(() => void reload(), TYPING_MS);
  });
  void reload();
  onScopeDispose(() => {
    round++;
    clearTimeout(timer);
  });
  return { text, items, hasMore, busy, problem, reload, more: () => take(items.value ?? []) };
}
