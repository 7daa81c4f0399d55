// A link to a class: `https://host/room/<room>#token=<jwt>`. The page reads what the token says to greet by name; whether
// the token is true is the server's to say.
import type { Preset, Role } from '@lectern/client';

/** What a token says about its bearer. */
export interface Claims {
  room: string;
  identity: string;
  name: string;
  role: Role;
  /** Milliseconds since 1970. */
  expiresAt: number;
  title?: string;
  preset?: Preset;
}

/** What a link is. */
export type Link =
  | { kind: 'valid'; token: string; claims: Claims }
  | { kind: 'expired'; claims: Claims }
  | { kind: 'wrong'; why: 'no-token' | 'unreadable' | 'other-room' };

const ROLES: readonly string[] = ['teacher', 'assistant', 'student', 'observer', 'recorder'] satisfies Role[];
const PRESETS: readonly string[] = ['tutoring', 'lecture', 'seminar'] satisfies Preset[];
const ROOM = /^\/room\/([A-Za-z0-9_-]{1,64})\/?$/u;

/** Reads a link to a class. `now` is in milliseconds since 1970. */
export function readLink(url: URL, now: number): Link {
  const token = new URLSearchParams(url.hash.slice(1)).get('token');
  if (!token) return { kind: 'wrong', why: 'no-token' };
  const claims = readClaims(token);
  if (!claims) return { kind: 'wrong', why: 'unreadable' };
  if (ROOM.exec(url.pathname)?.[1] !== claims.room) return { kind: 'wrong', why: 'other-room' };
  return claims.expiresAt <= now ? { kind: 'expired', claims } : { kind: 'valid', token, claims };
}

/** From the page of the test before class (`/check#token=…`): the link back into the class, when there is a token. */
export function readCheckLink(url: URL): string | undefined {
  const token = new URLSearchParams(url.hash.slice(1)).get('token');
  const claims = token ? readClaims(token) : undefined;
  return claims && token && ROOM.test(`/room/${claims.room}`) ? `/room/${claims.room}#token=${token}` : undefined;
}

/** Reads a link that somebody pasted: a whole address, or one without a host. Undefined when it is no link to a class. */
export function parsePasted(text: string, origin: string): URL | undefined {
  const trimmed = text.trim();
  const whole = /^https?:\/\//iu.test(trimmed) || trimmed.startsWith('/') ? trimmed : `https://${trimmed}`;
  if (trimmed === '' || !URL.canParse(whole, origin)) return undefined;
  const url = new URL(whole, origin);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return undefined;
  if (!ROOM.test(url.pathname) || !new URLSearchParams(url.hash.slice(1)).get('token')) return undefined;
  return url;
}

function readClaims(token: string): Claims | undefined {
  const parts = token.split('.');
  if (parts.length !== 3 || parts[1] === undefined) return undefined;
  let claims: unknown;
  try {
    const base64 = parts[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    claims = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof claims !== 'object' || claims === null) return undefined;
  const { room, identity, name, role, exp, title, preset } = claims as Record<string, unknown>;
  if (typeof room !== 'string' || typeof identity !== 'string' || typeof name !== 'string') return undefined;
  if (typeof role !== 'string' || !ROLES.includes(role) || typeof exp !== 'number') return undefined;
  return {
    room,
    identity,
    name,
    role: role as Role,
    expiresAt: exp * 1_000,
    ...(typeof title === 'string' && title !== '' ? { title } : {}),
    ...(typeof preset === 'string' && PRESETS.includes(preset) ? { preset: preset as Preset } : {}),
  };
}
