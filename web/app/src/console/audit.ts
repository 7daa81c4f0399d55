// The audit: who did what, filtered, and read on in steps.
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue';

import { ApiError, type ApiProblem, type AuditEntry, type ConsoleApi } from './api';

/** At once; another step on request. */
const STEP = 25;
/** Nobody means each letter. */
const TYPING_MS = 300;

/** What can be chosen; the server takes `recording` for all acts that begin so. */
export const AUDIT_KINDS = ['all', 'sign-in', 'token', 'link', 'room', 'participant', 'recording', 'export'] as const;
/** One of {@link AUDIT_KINDS}. */
export type AuditKind = (typeof AUDIT_KINDS)[number];

/** The list. */
export interface AuditList {
  readonly kind: Ref<AuditKind>;
  readonly text: Ref<string>;
  /** Undefined until the first answer. */
  readonly items: ShallowRef<readonly AuditEntry[] | undefined>;
  readonly hasMore: Ref<boolean>;
  readonly busy: Ref<boolean>;
  readonly problem: Ref<ApiProblem | undefined>;
  readonly reload: () => Promise<void>;
  readonly more: () => Promise<void>;
}

/** Follows the filter until the scope ends. */
export function listAudit(api: () => ConsoleApi): AuditList {
  const kind = ref<AuditKind>('all');
  const text = ref('');
  const items = shallowRef<readonly AuditEntry[]>();
  const hasMore = ref(false);
  const busy = ref(false);
  const problem = ref<ApiProblem>();
  let round = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function ask(known: readonly AuditEntry[]): Promise<void> {
    const mine = ++round;
    busy.value = true;
    const last = known.at(-1)?.seq;
    try {
      // One more than is shown tells whether there are more.
      const found = await api().audit({
        text: text.value.trim(),
        limit: STEP + 1,
        ...(kind.value === 'all' ? {} : { act: kind.value }),
        ...(last === undefined ? {} : { before: last }),
      });
      if (mine !== round) return;
      items.value = [...known, ...found.slice(0, STEP)];
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
  watch(kind, () => {
    clearTimeout(timer);
    void reload();
  });
  void reload();
  onScopeDispose(() => {
    round++;
    clearTimeout(timer);
  });
  return { kind, text, items, hasMore, busy, problem, reload, more: () => ask(items.value ?? []) };
}
