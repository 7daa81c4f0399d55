// Tokens signed by hand, for those that the server would never make: expired, of another room, with another algorithm.
import { createHmac } from 'node:crypto';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function signToken(secret, claims, header = { alg: 'HS256', typ: 'JWT' }) {
  const body = `${part(header)}.${part(claims)}`;
  const signature = header.alg === 'none' ? '' : createHmac('sha256', secret).update(body).digest('base64url');
  return `${body}.${signature}`;
}
