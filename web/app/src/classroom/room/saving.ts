// How much to receive, and what that costs: the choice is remembered in this browser, the server meters and enforces.
import type { Receiving, ReceiveMode } from '@lectern/client';
import { inject, onScopeDispose, shallowRef, type InjectionKey, type ShallowRef } from 'vue';

import { t } from '../../i18n';
import { readStored, writeStored } from '../../ui/stored';
import { toast } from '../../ui/toasts';
import { refused } from './own';
import type { Room } from './room';

const STORED = 'lectern.receive';
/** The largest budget that the server takes, in MB. */
export const BUDGET_MOST = 100_000;
const MODES: readonly ReceiveMode[] = ['normal', 'data-saver', 'audio-only'];

/** The choice, and how it is changed. */
export interface Saving {
  readonly chosen: ShallowRef<Receiving>;
  choose(receiving: Receiving): void;
}

const KEY: InjectionKey<Saving> = Symbol('saving');
export const SAVING_KEY = KEY;

/** The choice of this page. */
export function useSaving(): Saving {
  const saving = inject(KEY);
  if (!saving) throw new Error('useSaving outside of a classroom');
  return saving;
}

/** What was stored, made safe: storage is the user's, and may hold anything. */
export function parseReceiving(text: string | undefined): Receiving {
  try {
    const { mode, budgetMegabytes } = JSON.parse(text ?? '{}') as Partial<Receiving>;
    const budget = parseBudget(String(budgetMegabytes ?? ''));
    return {
      mode: mode !== undefined && MODES.includes(mode) ? mode : 'normal',
      ...(budget !== undefined && { budgetMegabytes: budget }),
    };
  } catch {
    return { mode: 'normal' };
  }
}

/** A budget that somebody typed, in MB; undefined for none, and for what is no number. */
export function parseBudget(text: string): number | undefined {
  const value = Math.round(Number(text.trim()));
  return text.trim() !== '' && value >= 1 ? Math.min(value, BUDGET_MOST) : undefined;
}

/** Asks for what was chosen here before, and tells when a budget changes what is shown. `open` opens the settings. */
export function createSaving(room: Room, open: () => void): Saving {
  const { session } = room;
  const chosen = shallowRef(parseReceiving(readStored(STORED)));
  const ask = () => session.receive(chosen.value).catch(refused);
  if (chosen.value.mode !== 'normal' || chosen.value.budgetMegabytes !== undefined) void ask();

  let before: ReceiveMode | undefined;
  const stop = session.on('usage', ({ mode, reason }) => {
    const now = reason === 'budget' ? mode : undefined;
    if (now !== undefined && now !== 'normal' && now !== before) {
      toast({
        text: t(`data.now.${now}`),
        icon: 'saver',
        tone: 'warn',
        key: 'budget',
        action: { label: t('data.change'), run: open },
      });
    }
    before = now;
  });
  onScopeDispose(stop);

  return {
    chosen,
    choose(receiving) {
      chosen.value = receiving;
      const isDefault = receiving.mode === 'normal' && receiving.budgetMegabytes === undefined;
      writeStored(STORED, isDefault ? undefined : JSON.stringify(receiving));
      void ask();
    },
  };
}
