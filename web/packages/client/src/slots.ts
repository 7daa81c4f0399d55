import type { Kind, Slot, Source } from './protocol.js';

/** Which track each receiving m-line carries. */
export class SlotMap {
  readonly #slots = new Map<string, Slot>();

  get all(): Slot[] {
    return [...this.#slots.values()];
  }

  get(mid: string): Slot | undefined {
    return this.#slots.get(mid);
  }

  /** The slot that carries a track now. */
  find(participant: string, source: Source): Slot | undefined {
    for (const slot of this.#slots.values()) {
      if (slot.participant === participant && slot.source === source) return slot;
    }
    return undefined;
  }

  /** Takes the list of all slots, and gives those that carry something else than before. */
  reset(slots: readonly Slot[]): Slot[] {
    const gone = this.all.filter(({ mid }) => !slots.some((slot) => slot.mid === mid));
    for (const { mid } of gone) this.#slots.delete(mid);
    const emptied = gone.filter(({ participant }) => participant !== undefined);
    return [...emptied.map(({ mid, kind }) => slotOf(mid, kind)), ...this.update(slots)];
  }

  /** Takes changed slots, and gives those that really changed. */
  update(slots: readonly Slot[]): Slot[] {
    const changed: Slot[] = [];
    for (const slot of slots) {
      const before = this.#slots.get(slot.mid);
      const after = slotOf(slot.mid, slot.kind ?? before?.kind, slot.participant, slot.source);
      this.#slots.set(slot.mid, after);
      if (before?.participant !== after.participant || before?.source !== after.source) changed.push(after);
    }
    return changed;
  }
}

function slotOf(mid: string, kind?: Kind, participant?: string, source?: Source): Slot {
  return {
    mid,
    ...(kind && { kind }),
    ...(participant !== undefined && { participant }),
    ...(source && { source }),
  };
}
