// What a client without a decoder can say of received RTP: payload type, gaps in the sequence, whole VP8 frames and where they begin.

/** Counts one stream's packets (RFC 3550; VP8 by RFC 7741). `kind`: `video` for VP8. */
export class Packets {
  packets = 0;
  bytes = 0;
  frames = 0;
  keyframes = 0;
  payloadTypes = new Set();
  /** Sequence numbers below the highest that never came. */
  #missing = new Set();
  #highest;
  #ssrc;
  #kind;
  /** Whether the first packet of all began a keyframe. */
  startsWithKeyframe;
  size;

  constructor(kind) {
    this.#kind = kind;
  }

  take({ ssrc, sequenceNumber, payloadType, marker }, payload) {
    this.#ssrc ??= ssrc;
    this.#order(sequenceNumber);
    // Padding alone.
    if (payload.length === 0) return;
    this.packets += 1;
    this.bytes += payload.length;
    this.payloadTypes.add(payloadType);
    if (this.#kind !== 'video') return;
    const key = keyframe(payload);
    if (key) {
      this.keyframes += 1;
      this.size = key;
    }
    this.startsWithKeyframe ??= Boolean(key);
    if (marker) this.frames += 1;
  }

  #order(sequence) {
    if (this.#highest === undefined) this.#highest = sequence;
    const step = ((sequence - this.#highest + 0x8000) & 0xffff) - 0x8000;
    for (let back = 1; back < step; back += 1) this.#missing.add((sequence - back) & 0xffff);
    if (step > 0) this.#highest = sequence;
    this.#missing.delete(sequence);
  }

  report() {
    const { packets, bytes, frames, keyframes, startsWithKeyframe, size } = this;
    return {
      ...{ packets, bytes, frames, keyframes, startsWithKeyframe, ...size },
      ssrc: this.#ssrc,
      missing: this.#missing.size,
      payloadTypes: [...this.payloadTypes],
    };
  }
}

/** The size of the picture, if the packet begins a VP8 keyframe (RFC 7741, section 4.2 and 4.3; RFC 6386, section 9.1). */
function keyframe(payload) {
  const start = (payload[0] & 0x17) === 0x10;
  let at = 1;
  if (payload[0] & 0x80) {
    const extension = payload[at++];
    if (extension & 0x80) at += payload[at] & 0x80 ? 2 : 1;
    if (extension & 0x40) at += 1;
    if (extension & 0x30) at += 1;
  }
  if (!start || payload.length < at + 10 || payload[at] & 1) return undefined;
  if (payload[at + 3] !== 0x9d || payload[at + 4] !== 0x01 || payload[at + 5] !== 0x2a) return undefined;
  const word = (offset) => (payload[at + offset] | (payload[at + offset + 1] << 8)) & 0x3fff;
  return { width: word(6), height: word(8) };
}
