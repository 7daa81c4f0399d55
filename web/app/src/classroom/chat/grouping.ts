// Puts messages of one author that follow each other under one name.
import type { ChatMessage } from '@lectern/client';

/** Messages under one name and time. */
export interface MessageGroup {
  by: string;
  name: string;
  at: Date;
  messages: ChatMessage[];
}

/** After this long the name and time are said again. */
const SAME_GROUP_MS = 3 * 60_000;

/** `messages` in groups. */
export function groupMessages(messages: readonly ChatMessage[]): MessageGroup[] {
  const groups: MessageGroup[] = [];
  for (const message of messages) {
    const at = new Date(message.at);
    const last = groups.at(-1);
    if (last?.by === message.by && at.getTime() - last.at.getTime() < SAME_GROUP_MS) last.messages.push(message);
    else groups.push({ by: message.by, name: message.name, at, messages: [message] });
  }
  return groups;
}
