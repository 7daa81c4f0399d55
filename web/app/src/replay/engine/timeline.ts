// The timeline of a recording, one JSON object a line with a checksum. `recording/src/timeline.rs` is the twin.
import type { LessonEvent, LessonState, Source } from '@lectern/client';

/** What happened, and when in room time. Kinds that are not known are not here. */
export type Entry = { atMs: number } & (
  | { kind: 'began' }
  | { kind: 'snapshot'; state: LessonState }
  | { kind: 'lesson'; event: LessonEvent }
  | { kind: 'track-started'; track: number; participant: string; source: Source }
  | { kind: 'track-ended'; track: number }
  | { kind: 'muted'; participant: string; source: Source; muted: boolean }
  | { kind: 'speaker'; participant?: string | null }
  | { kind: 'sound-only' | 'pictures-again' | 'paused' | 'resumed' | 'stopped' }
);

const KNOWN: readonly string[] = [
  'began',
  'snapshot',
  'lesson',
  'track-started',
  'track-ended',
  'muted',
  'speaker',
  'sound-only',
  'pictures-again',
  'paused',
  'resumed',
  'stopped',
] satisfies Entry['kind'][];

const NEWLINE = 10;
/** Eight digits and a space. */
const HEAD = 9;

/** Reads a timeline that may still grow: the first line that is damaged ends it, one without an end is waited for. */
export class TimelineReader {
  readonly entries: Entry[] = [];
  #bytes = 0;
  #damaged = false;

  /** Bytes that were read and are whole: the next part has to begin here. */
  get bytes(): number {
    return this.#bytes;
  }

  get damaged(): boolean {
    return this.#damaged;
  }

  /** Takes what follows `bytes`. How many entries are new. */
  push(part: Uint8Array): number {
    const before = this.entries.length;
    let from = 0;
    while (!this.#damaged) {
      const end = part.indexOf(NEWLINE, from);
      if (end < 0) break;
      const read = readLine(part.subarray(from, end));
      if (read === undefined) {
        this.#damaged = true;
        break;
      }
      if (read) this.entries.push(read);
      this.#bytes += end + 1 - from;
      from = end + 1;
    }
    return this.entries.length - before;
  }
}

/** Undefined: damaged. Null: whole, and of a kind that is not known. */
function readLine(line: Uint8Array): Entry | null | undefined {
  if (line.length < HEAD || line[HEAD - 1] !== 32) return undefined;
  const decoder = new TextDecoder();
  const given = decoder.decode(line.subarray(0, HEAD - 1));
  const json = line.subarray(HEAD);
  if (!/^[0-9a-f]{8}$/iu.test(given) || parseInt(given, 16) !== crc32c(json)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(json));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { kind, atMs } = value as { kind?: unknown; atMs?: unknown };
  if (typeof kind !== 'string' || typeof atMs !== 'number' || !KNOWN.includes(kind)) return null;
  return value as Entry;
}

/** CRC-32C (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0x82f63b78 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});
