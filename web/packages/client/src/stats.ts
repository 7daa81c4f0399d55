import type { ConnectionStats, StreamStats } from './events.js';
import type { Slot } from './protocol.js';

/** The fields of the browsers' statistics that are read here (W3C webrtc-stats). */
interface Entry {
  id: string;
  type: string;
  timestamp: number;
  kind?: 'audio' | 'video';
  mid?: string;
  rid?: string;
  codecId?: string;
  mimeType?: string;
  bytesReceived?: number;
  bytesSent?: number;
  packetsReceived?: number;
  packetsLost?: number;
  packetsSent?: number;
  fractionLost?: number;
  framesDecoded?: number;
  framesEncoded?: number;
  framesPerSecond?: number;
  frameWidth?: number;
  frameHeight?: number;
  freezeCount?: number;
  qualityLimitationReason?: string;
  currentRoundTripTime?: number;
  availableOutgoingBitrate?: number;
  selectedCandidatePairId?: string;
  localCandidateId?: string;
  candidateType?: string;
  protocol?: string;
  relayProtocol?: string;
  state?: string;
  nominated?: boolean;
  selected?: boolean;
}

/** Sums up `RTCPeerConnection.getStats()`; rates are since the call before. */
export class StatsReader {
  #before = new Map<string, Entry>();

  /** `describe` says what a mid carries. */
  read(report: readonly { id: string; type: string }[], describe: (mid: string) => Slot | undefined): ConnectionStats {
    const entries = new Map((report as readonly Entry[]).map((entry) => [entry.id, entry]));
    const all = [...entries.values()];
    const received = all
      .filter(({ type, bytesReceived }) => type === 'inbound-rtp' && (bytesReceived ?? 0) > 0)
      .map((entry) => this.#stream(entry, 'bytesReceived', entries, describe));
    const sent = all
      .filter(({ type, bytesSent }) => type === 'outbound-rtp' && (bytesSent ?? 0) > 0)
      .map((entry) => this.#stream(entry, 'bytesSent', entries, describe));
    const pair = pairOf(entries);
    const lossOut = worst(
      all.filter(({ type }) => type === 'remote-inbound-rtp').map(({ fractionLost }) => fractionLost),
    );
    const lossIn = this.#lossIn(all);
    const path = pathOf(pair, entries);
    const stats: ConnectionStats = {
      ...(pair?.currentRoundTripTime !== undefined && { rttMs: Math.round(pair.currentRoundTripTime * 1000) }),
      ...(pair?.availableOutgoingBitrate !== undefined && {
        availableOutBps: Math.round(pair.availableOutgoingBitrate),
      }),
      ...(lossIn !== undefined && { lossIn }),
      ...(lossOut !== undefined && { lossOut }),
      ...(path !== undefined && { path }),
      bitrateInBps: sum(received),
      bitrateOutBps: sum(sent),
      received,
      sent,
    };
    this.#before = entries;
    return stats;
  }

  #stream(
    entry: Entry,
    bytes: 'bytesReceived' | 'bytesSent',
    entries: ReadonlyMap<string, Entry>,
    describe: (mid: string) => Slot | undefined,
  ): StreamStats {
    const slot = describe(entry.mid ?? '');
    const codec = entries.get(entry.codecId ?? '')?.mimeType?.split('/')[1];
    const frames = entry.framesDecoded ?? entry.framesEncoded;
    return {
      mid: entry.mid ?? '',
      kind: entry.kind ?? 'audio',
      ...(slot?.participant !== undefined && { participant: slot.participant }),
      ...(slot?.source && { source: slot.source }),
      ...(entry.rid !== undefined && { rid: entry.rid }),
      ...(codec !== undefined && { codec }),
      ...(entry.frameWidth !== undefined && { width: entry.frameWidth }),
      ...(entry.frameHeight !== undefined && { height: entry.frameHeight }),
      ...(entry.framesPerSecond !== undefined && { framesPerSecond: entry.framesPerSecond }),
      ...(frames !== undefined && { frames }),
      ...(entry.freezeCount !== undefined && { freezes: entry.freezeCount }),
      ...(entry.qualityLimitationReason !== undefined && { limitation: entry.qualityLimitationReason }),
      bitrateBps: this.#rate(entry, bytes),
    };
  }

  #rate(entry: Entry, bytes: 'bytesReceived' | 'bytesSent'): number {
    const before = this.#before.get(entry.id);
    const seconds = before ? (entry.timestamp - before.timestamp) / 1000 : 0;
    if (!before || seconds <= 0) return 0;
    return Math.max(0, Math.round((((entry[bytes] ?? 0) - (before[bytes] ?? 0)) * 8) / seconds));
  }

  #lossIn(all: readonly Entry[]): number | undefined {
    let lost = 0;
    let expected = 0;
    for (const entry of all) {
      const before = this.#before.get(entry.id);
      if (entry.type !== 'inbound-rtp' || !before) continue;
      const newlyLost = (entry.packetsLost ?? 0) - (before.packetsLost ?? 0);
      lost += newlyLost;
      expected += newlyLost + (entry.packetsReceived ?? 0) - (before.packetsReceived ?? 0);
    }
    return expected > 0 ? Math.min(1, Math.max(0, lost / expected)) : undefined;
  }
}

/** Firefox has no `selectedCandidatePairId`, but marks the pair. */
function pairOf(entries: ReadonlyMap<string, Entry>): Entry | undefined {
  const all = [...entries.values()];
  const chosen = all.find(({ type }) => type === 'transport')?.selectedCandidatePairId;
  return entries.get(chosen ?? '') ?? all.find(({ type, selected }) => type === 'candidate-pair' && selected === true);
}

function pathOf(pair: Entry | undefined, entries: ReadonlyMap<string, Entry>): string | undefined {
  const local = entries.get(pair?.localCandidateId ?? '');
  return local?.candidateType && `${local.candidateType}/${local.relayProtocol ?? local.protocol ?? 'udp'}`;
}

function worst(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length ? Math.max(...known) : undefined;
}

function sum(streams: readonly StreamStats[]): number {
  return streams.reduce((total, { bitrateBps }) => total + bitrateBps, 0);
}
