import { describe, expect, it } from 'vitest';

import { hostAddress, isBehind } from '../src/fresh.js';

describe('the machine’s own addresses', () => {
  it('are those of host candidates over UDP', () => {
    const candidate = (protocol: string, address: string, type: string) =>
      `candidate:1 1 ${protocol} 2122260223 ${address} 50000 typ ${type} generation 0`;
    expect(hostAddress(candidate('udp', '192.0.2.7', 'host'))).toBe('192.0.2.7');
    expect(hostAddress(candidate('UDP', '2001:db8::7', 'host'))).toBe('2001:db8::7');
    expect(hostAddress(candidate('tcp', '192.0.2.7', 'host'))).toBeUndefined();
    expect(hostAddress(candidate('udp', '198.51.100.1', 'srflx'))).toBeUndefined();
    expect(hostAddress(candidate('udp', '5d1c2f6e-1b2a.local', 'host'))).toBeUndefined();
    expect(hostAddress('')).toBeUndefined();
  });

  it('call for a new document when one has gone and another is not known', () => {
    const all = (...addresses: string[]) => new Set(addresses);
    const [wifi, mobile, cable] = ['192.0.2.7', '198.51.100.9', '203.0.113.5'];
    expect(isBehind(all(wifi), all(), all(mobile))).toBe(true);
    expect(isBehind(all(wifi), all(wifi), all(mobile))).toBe(true);
    // The document knows already: an ICE restart finds it.
    expect(isBehind(all(wifi), all(mobile), all(mobile))).toBe(false);
    // Another network beside the one that media takes.
    expect(isBehind(all(wifi), all(wifi), all(wifi, cable))).toBe(false);
    // No network at all, as behind a door that is closed.
    expect(isBehind(all(wifi), all(), all())).toBe(false);
    // The browser hides addresses.
    expect(isBehind(all(), all(), all(mobile))).toBe(false);
  });
});
