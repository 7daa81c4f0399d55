// The exports of one recording: asked for, followed while they are made, cancelled, fetched.
import { onScopeDispose, ref, shallowRef, type Ref, type ShallowRef } from 'vue';

import { ApiError, type ConsoleApi, type ExportJob, type ExportKind } from './api';

const EVERY_MS = 1_000;
/** Made while they are fetched. */
const AT_ONCE: ReadonlySet<ExportKind> = new Set<ExportKind>(['chat', 'attendance', 'zip']);

/** The exports of a recording. */
export interface ExportList {
  readonly jobs: ShallowRef<ReadonlyMap<ExportKind, ExportJob>>;
  /** Why something could not be done, for each kind; under `''` for all of them. */
  readonly problems: ShallowRef<ReadonlyMap<ExportKind | '', ApiError>>;
  /** What a button has begun and the server has not answered. */
  readonly busy: Ref<ExportKind | undefined>;
  readonly make: (kind: ExportKind) => Promise<void>;
  readonly remove: (kind: ExportKind) => Promise<void>;
  readonly download: (kind: ExportKind) => Promise<void>;
}

/** Whether it can be fetched without being made before. */
export const isAtOnce = (kind: ExportKind) => AT_ONCE.has(kind);

/** Whether it is still to be made. */
export const goesOn = ({ state }: ExportJob) => state === 'queued' || state === 'running';

/** Follows the exports until the scope ends. `fetchFile` lets the browser fetch an address. */
export function listExports(api: () => ConsoleApi, id: string, fetchFile: (address: string) => void): ExportList {
  const jobs = shallowRef<ReadonlyMap<ExportKind, ExportJob>>(new Map());
  const problems = shallowRef<ReadonlyMap<ExportKind | '', ApiError>>(new Map());
  const busy = ref<ExportKind>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let round = 0;

  function note(kind: ExportKind | '', problem: unknown): void {
    const next = new Map(problems.value);
    if (problem === undefined) next.delete(kind);
    else next.set(kind, problem instanceof ApiError ? problem : new ApiError('server'));
    problems.value = next;
  }

  async function look(): Promise<void> {
    clearTimeout(timer);
    const mine = ++round;
    try {
      const found = await api().exports(id);
      if (mine !== round) return;
      jobs.value = new Map(found.map((job) => [job.kind, job]));
      note('', undefined);
    } catch (error) {
      if (mine !== round) return;
      note('', error);
    }
    const again = problems.value.has('') || [...jobs.value.values()].some(goesOn);
    if (again) timer = setTimeout(() => void look(), EVERY_MS);
  }

  async function guarded(kind: ExportKind, work: () => Promise<void>): Promise<void> {
    busy.value = kind;
    note(kind, undefined);
    try {
      await work();
    } catch (error) {
      note(kind, error);
    } finally {
      busy.value = undefined;
    }
  }

  void look();
  onScopeDispose(() => {
    round++;
    clearTimeout(timer);
  });
  return {
    jobs,
    problems,
    busy,
    make: (kind) =>
      guarded(kind, async () => {
        const job = await api().requestExport(id, kind);
        jobs.value = new Map(jobs.value).set(kind, job);
        await look();
      }),
    remove: (kind) =>
      guarded(kind, async () => {
        try {
          await api().removeExport(id, kind);
        } catch (error) {
          // Somebody else was faster: gone is gone.
          if (!(error instanceof ApiError) || error.problem !== 'missing') throw error;
        }
        await look();
      }),
    download: (kind) => guarded(kind, async () => fetchFile(await api().exportFile(id, kind))),
  };
}
