// The audit: who did what, filtered, and read on in steps.
import { ref, watch, type Ref } from 'vue';

import type { AuditEntry, ConsoleApi } from './api';
import { listInSteps, type List } from './list';

/** At once; another step on request. */
const STEP = 25;

/** What can be chosen; the server takes `recording` for all acts that begin so. */
export const AUDIT_KINDS = ['all', 'sign-in', 'token', 'link', 'room', 'participant', 'recording', 'export'] as const;
/** One of {@link AUDIT_KINDS}. */
export type AuditKind = (typeof AUDIT_KINDS)[number];

/** The list, of one kind or of all. */
export interface AuditList extends List<AuditEntry> {
  readonly kind: Ref<AuditKind>;
}

/** Follows the filter until the scope ends. */
export function listAudit(api: () => ConsoleApi): AuditList {
  const kind = ref<AuditKind>('all');
  const list = listInSteps<AuditEntry>(
    STEP,
    ({ seq }) => seq,
    ({ text, limit, last }) =>
      api().audit({
        text,
        limit,
        ...(kind.value === 'all' ? {} : { act: kind.value }),
        ...(last === undefined ? {} : { before: last.seq }),
      }),
  );
  watch(kind, () => void list.reload());
  return { ...list, kind };
}
