/** What can be told of an invitation without the server. Only the server can say that it is good. */
export type Invitation =
  | { state: 'none' }
  | { state: 'unreadable' }
  | { state: 'expired' }
  | { state: 'usable'; token: string; room: string; name: string };

/** Reads `#token=<jwt>`. */
export function invitationFrom(fragment: string, nowMs: number): Invitation {
  const token = new URLSearchParams(fragment.replace(/^#/, '')).get('token')?.trim();
  if (!token) return { state: 'none' };
  const claims = claimsOf(token);
  if (!claims) return { state: 'unreadable' };
  if (claims.exp * 1000 <= nowMs) return { state: 'expired' };
  return { state: 'usable', token, room: claims.room, name: claims.name };
}

interface Claims {
  room: string;
  name: string;
  exp: number;
}

function claimsOf(token: string): Claims | undefined {
  const parts = token.split('.');
  if (parts.length !== 3) return undefined;
  try {
    const base64 = (parts[1] ?? '').replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Record<keyof Claims, unknown>>;
    const { room, name, exp } = claims;
    if (typeof room !== 'string' || typeof name !== 'string' || typeof exp !== 'number') return undefined;
    return { room, name, exp };
  } catch {
    return undefined;
  }
}
