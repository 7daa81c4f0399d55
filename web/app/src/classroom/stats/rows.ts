// The figures of a connection, put into rows that people can read.
import type { ConnectionStats, PictureSource, StreamStats } from '@lectern/client';

import { t } from '../../i18n';
import { bitRate, count, percent } from '../../i18n/format';

/** One picture. */
export interface PictureRow {
  key: string;
  title: string;
  /** Size, frames a second, codec, rate: what is known of them. */
  facts: string;
  why?: string | undefined;
}

const isPicture = (source: string | undefined): source is PictureSource =>
  source === 'camera' || source === 'screen' || source === 'desktop';

/** `1280 × 720 · 25 fps · VP8 · 1.2 Mbit/s` */
function factsOf(stream: StreamStats): string {
  const { width, height, framesPerSecond, codec, bitrateBps } = stream;
  return [
    width !== undefined && height !== undefined ? `${width} × ${height}` : '',
    framesPerSecond !== undefined ? t('stats.frames', { count: Math.round(framesPerSecond) }) : '',
    codec ?? '',
    bitRate(bitrateBps),
  ]
    .filter(Boolean)
    .join(' · ');
}

/** The pictures that arrive, with why they are not larger. */
export function receivedRows(
  streams: readonly StreamStats[],
  nameOf: (id: string, source: PictureSource) => string,
  why: (id: string, source: PictureSource) => string | undefined,
): PictureRow[] {
  return streams.flatMap((stream) => {
    const { kind, mid, participant, source } = stream;
    if (kind !== 'video' || participant === undefined || !isPicture(source)) return [];
    const title = nameOf(participant, source);
    return [{ key: mid, title, facts: factsOf(stream), why: why(participant, source) }];
  });
}

/** The pictures that are sent, one row for each layer that is. */
export function sentRows(
  streams: readonly StreamStats[],
  why: (limitation: string) => string | undefined,
): PictureRow[] {
  return streams
    .filter(({ kind, source, bitrateBps }) => kind === 'video' && isPicture(source) && bitrateBps > 0)
    .map((stream) => ({
      key: `${stream.mid} ${stream.rid ?? ''}`,
      title: t(`source.${stream.source ?? 'camera'}`),
      facts: factsOf(stream),
      why: why(stream.limitation ?? 'none'),
    }));
}

/** Values of the connection as a whole, in both directions. */
export function networkRows(
  stats: ConnectionStats,
  estimate: number | undefined,
): { key: 'now' | 'carries' | 'loss'; down: string; up: string }[] {
  const rate = (value: number | undefined) => (value === undefined ? t('stats.unknown') : bitRate(value));
  const loss = (value: number | undefined) => (value === undefined ? t('stats.unknown') : percent(value));
  return [
    { key: 'now', down: bitRate(stats.bitrateInBps), up: bitRate(stats.bitrateOutBps) },
    { key: 'carries', down: rate(estimate), up: rate(stats.availableOutBps) },
    { key: 'loss', down: loss(stats.lossIn), up: loss(stats.lossOut) },
  ];
}

/** `42 ms` */
export function milliseconds(value: number | undefined): string {
  return value === undefined ? t('stats.unknown') : `${count(value)} ms`;
}
