// What one has written and the server has not confirmed yet, and how much of the chat is unread.
import { newNonce, type ChatMessage, type ErrorCode } from '@lectern/client';
import { computed, inject, ref, shallowReactive, watch, type ComputedRef, type InjectionKey, type Ref } from 'vue';

import { codeOf, type Room } from '../room/room';

/** A message on its way. */
export interface Outgoing {
  id: number;
  text: string;
  at: Date;
  /** Set when it did not arrive. */
  failed: ErrorCode | undefined;
  /** The same for each try, so that the server knows what it has heard already. */
  nonce: string;
}

/** The chat of the room. */
export interface Chat {
  readonly messages: ComputedRef<readonly ChatMessage[]>;
  readonly outgoing: ComputedRef<readonly Outgoing[]>;
  /** Messages of others since the chat was last looked at. */
  readonly unread: ComputedRef<number>;
  /** Whether the chat is on the screen. */
  readonly open: Ref<boolean>;
  send(text: string): void;
  retry(id: number): void;
  drop(id: number): void;
}

const KEY: InjectionKey<Chat> = Symbol('chat');
export const CHAT_KEY = KEY;

/** The chat of this page. */
export function useChat(): Chat {
  const chat = inject(KEY);
  if (!chat) throw new Error('useChat outside of a classroom');
  return chat;
}

/** The longest message, in UTF-8 bytes (the server's limit). */
export const LONGEST_BYTES = 4_096;

/** Bytes that `text` takes on the wire. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Follows the chat of a room. */
export function createChat(room: Room): Chat {
  const pending = shallowReactive<Outgoing[]>([]);
  const open = ref(false);
  const lastSeq = () => room.state.value?.chat.at(-1)?.seq ?? 0;
  // What was said before one came is history and not news.
  const readUpTo = ref(lastSeq());
  let nextId = 1;

  const messages = computed(() => room.state.value?.chat ?? []);
  // The lesson may bring a message before its acknowledgement does: it must not stand there twice.
  const outgoing = computed(() => {
    const own = messages.value.filter((message) => message.by === room.session.identity);
    const arrived = new Set(own.map(({ nonce }) => nonce));
    return pending.filter(({ nonce }) => !arrived.has(nonce));
  });

  function update(id: number, change: Partial<Outgoing>): void {
    const at = pending.findIndex((item) => item.id === id);
    const item = pending[at];
    if (item) pending[at] = { ...item, ...change };
  }

  function drop(id: number): void {
    const at = pending.findIndex((item) => item.id === id);
    if (at >= 0) pending.splice(at, 1);
  }

  function deliver({ id, text, nonce }: Outgoing): void {
    room.session.chat(text, { nonce }).then(
      () => drop(id),
      (error: unknown) => update(id, { failed: codeOf(error) }),
    );
  }

  watch(
    [open, () => lastSeq()],
    ([isOpen, seq]) => {
      if (isOpen) readUpTo.value = seq;
    },
    { immediate: true },
  );

  return {
    messages,
    outgoing,
    open,
    unread: computed(
      () =>
        messages.value.filter((message) => message.seq > readUpTo.value && message.by !== room.session.identity).length,
    ),
    send(text) {
      const item = { id: nextId++, text, at: new Date(), failed: undefined, nonce: newNonce() };
      pending.push(item);
      deliver(item);
    },
    retry(id) {
      const item = pending.find((one) => one.id === id);
      if (!item?.failed) return;
      update(id, { failed: undefined });
      deliver(item);
    },
    drop,
  };
}
