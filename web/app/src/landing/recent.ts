// Classes that this browser was in lately. The link, with its token, stays in this browser.
import type { Claims } from '../classroom/link';
import { readStored, writeStored } from '../ui/stored';

/** A class that one can go back to. */
export interface RecentRoom {
  room: string;
  title: string;
  name: string;
  role: Claims['role'];
  url: string;
  /** Milliseconds since 1970. */
  lastSeen: number;
  /** Milliseconds since 1970. */
  expiresAt: number;
}

const KEY = 'lectern.recent';
const MOST = 6;

/** What `text` holds, without what is expired or not ours. */
export function parseRecent(text: string | undefined, now: number): RecentRoom[] {
  let list: unknown;
  try {
    list = JSON.parse(text ?? '[]');
  } catch {
    return [];
  }
  return Array.isArray(list) ? list.filter(isRecentRoom).filter((room) => room.expiresAt > now) : [];
}

/** `list` with `room` first; the same person in the same room stands there once. */
export function withRecent(list: readonly RecentRoom[], room: RecentRoom): RecentRoom[] {
  const others = list.filter(
    (other) => other.room !== room.room || other.name !== room.name || other.role !== room.role,
  );
  return [room, ...others].slice(0, MOST);
}

/** The classes remembered, the latest first. */
export function recentRooms(now = Date.now()): RecentRoom[] {
  return parseRecent(readStored(KEY), now);
}

/** Remembers a class that was joined. */
export function rememberRoom({ room, title, name, role, expiresAt }: Claims, url: string, now = Date.now()): void {
  const entry: RecentRoom = { room, title: title ?? room, name, role, url, lastSeen: now, expiresAt };
  writeStored(KEY, JSON.stringify(withRecent(recentRooms(now), entry)));
}

/** Forgets a class. */
export function forgetRoom(url: string): RecentRoom[] {
  const list = recentRooms().filter((room) => room.url !== url);
  writeStored(KEY, JSON.stringify(list));
  return list;
}

function isRecentRoom(value: unknown): value is RecentRoom {
  if (typeof value !== 'object' || value === null) return false;
  const room = value as Record<string, unknown>;
  return (
    ['room', 'title', 'name', 'role', 'url'].every((field) => typeof room[field] === 'string') &&
    typeof room['lastSeen'] === 'number' &&
    typeof room['expiresAt'] === 'number'
  );
}
