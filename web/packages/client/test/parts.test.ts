import { describe, expect, it } from 'vitest';

import {
  audioCodecs,
  cameraEncodings,
  receivedVideo,
  screenContent,
  screenEncodings,
  sentVideo,
  tuneScreen,
  type SendParameters,
} from '../src/codecs.js';
import { corrections, interferences } from '../src/publications.js';
import { afterEnded, afterJoinError, backoffMs } from '../src/recovery.js';
import { midsOf, tuneOpus } from '../src/sdp.js';
import { SenderParameters } from '../src/sender.js';
import { SlotMap } from '../src/slots.js';
import { StatsReader } from '../src/stats.js';
import { AT } from './support/server.js';

describe('SlotMap', () => {
  const slots = [
    { mid: '4', kind: 'audio' },
    { mid: '7', kind: 'video', participant: 'a', source: 'camera' },
  ] as const;

  it('finds the slot of a picture, and keeps the kind when it moves', () => {
    const map = new SlotMap();
    expect(map.reset(slots)).toEqual([slots[1]]);
    expect(map.find('a', 'camera')?.mid).toBe('7');
    expect(map.update([{ mid: '7', participant: 'b', source: 'screen' }])).toEqual([
      { mid: '7', kind: 'video', participant: 'b', source: 'screen' },
    ]);
    expect(map.find('a', 'camera')).toBeUndefined();
    expect(map.update([{ mid: '7', participant: 'b', source: 'screen' }])).toEqual([]);
  });

  it('tells of slots that a new session no longer has', () => {
    const map = new SlotMap();
    map.reset(slots);
    expect(map.reset([])).toEqual([{ mid: '7', kind: 'video' }]);
    expect(map.all).toEqual([]);
  });
});

describe('recovery', () => {
  it('comes back where that helps, and only there', () => {
    expect(afterJoinError('session-unknown', true)).toBe('rejoin');
    expect(afterJoinError('unavailable', false)).toBe('retry');
    for (const code of ['token-expired', 'removed', 'room-full', 'room-locked', 'unsupported-version'] as const) {
      expect(afterJoinError(code, true)).toBe('give-up');
    }
    expect(afterEnded('shutdown')).toBe('rejoin');
    expect(afterEnded('replaced')).toBe('give-up');
  });

  it('waits longer each time, up to a bound, and never all at once', () => {
    const waits = Array.from({ length: 12 }, (_, attempt) => backoffMs(attempt, 1));
    expect(waits.slice(0, 4)).toEqual([300, 600, 1200, 2400]);
    expect(Math.max(...waits)).toBe(8000);
    expect(backoffMs(3, 0)).toBe(1200);
  });
});

describe('publications', () => {
  const track = {} as MediaStreamTrack;

  it('says after a cut what the server does not know, and never unmutes', () => {
    const local = new Map([
      ['camera', { track, muted: false }],
      ['microphone', { track, muted: true }],
      ['screen', { track, muted: false }],
    ] as const);
    const known = { camera: { muted: true }, microphone: { muted: false }, 'screen-audio': { muted: false } };
    expect(corrections(local, known)).toEqual([
      { name: 'mute', payload: { source: 'microphone', muted: true } },
      { name: 'publish', payload: { source: 'screen', muted: false } },
      { name: 'unpublish', payload: { source: 'screen-audio' } },
    ]);
  });

  it('tells what others did from what oneself did', () => {
    const muted = { kind: 'muted', source: 'microphone', muted: true, at: AT } as const;
    const events = [
      { ...muted, seq: 1, by: 'me', participant: 'me' },
      { ...muted, seq: 2, by: 'teacher', participant: 'me' },
      { ...muted, seq: 3, by: 'teacher', participant: 'you' },
      { kind: 'unpublished', source: 'screen', at: AT, seq: 4, participant: 'me' } as const,
    ];
    expect(interferences(events, 'me')).toEqual([
      { source: 'microphone', muted: true, by: 'teacher' },
      { source: 'screen', muted: undefined },
    ]);
  });
});

describe('codecs', () => {
  const video = [
    { mimeType: 'video/VP8' },
    { mimeType: 'video/rtx' },
    { mimeType: 'video/VP9', sdpFmtpLine: 'profile-id=0' },
    { mimeType: 'video/VP9', sdpFmtpLine: 'profile-id=2' },
    { mimeType: 'video/H264', sdpFmtpLine: 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f' },
    { mimeType: 'video/H264', sdpFmtpLine: 'level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f' },
    { mimeType: 'video/AV1', sdpFmtpLine: 'level-idx=5;profile=0;tier=0' },
    { mimeType: 'video/AV1', sdpFmtpLine: 'level-idx=5;profile=1;tier=0' },
    { mimeType: 'video/red' },
    { mimeType: 'video/ulpfec' },
    { mimeType: 'video/flexfec-03' },
  ];

  it('receives all codecs in the profiles that are sent, with RTX and nothing else', () => {
    expect(receivedVideo(video)).toEqual([0, 1, 2, 4, 6].map((index) => video[index]));
  });

  it('sends the preferred codec alone, and whatever there is when a browser lacks it', () => {
    expect(sentVideo(video, 'vp9')).toEqual([video[2], video[1]]);
    expect(sentVideo(video, 'h264')).toEqual([video[4], video[1]]);
    expect(sentVideo(video, 'av1')).toEqual([video[6], video[1]]);
    expect(sentVideo(video.slice(0, 2), 'av1')).toEqual(video.slice(0, 2));
  });

  it('keeps the layers of VP9 and AV1 apart', () => {
    expect(cameraEncodings('vp8', 'simulcast').map(({ rid }) => rid)).toEqual(['q', 'h', 'f']);
    expect(cameraEncodings('vp8', 'simulcast').map(({ scalabilityMode }) => scalabilityMode)).toEqual([
      'L1T3',
      'L1T3',
      'L1T3',
    ]);
    expect(cameraEncodings('av1', 'svc').map(({ scalabilityMode }) => scalabilityMode)).toEqual(['L3T3_KEY']);
    expect(cameraEncodings('h264', 'svc')).toHaveLength(3);
  });

  it('speaks Opus, and takes redundant audio where the browser has it', () => {
    const [opus, red, other] = [
      { mimeType: 'audio/opus' },
      { mimeType: 'audio/red' },
      { mimeType: 'audio/PCMU' },
    ] as const;
    expect(audioCodecs([red, other, opus])).toEqual([opus, red]);
    expect(audioCodecs([other, opus])).toEqual([opus]);
  });

  it('keeps a text as large as it is, and lets a film become smaller', () => {
    const sizes = ({ encodings }: SendParameters) => encodings.map((encoding) => encoding.scaleResolutionDownBy);
    const parameters: SendParameters = { encodings: screenEncodings('vp9') };
    expect(sizes(parameters)).toEqual([1, 1]);
    tuneScreen(parameters, screenContent({ contentHint: 'motion' }));
    expect(sizes(parameters)).toEqual([2, 1]);
    expect(parameters.degradationPreference).toBe('balanced');
    tuneScreen(parameters, screenContent({ contentHint: 'detail' }));
    expect(parameters).toEqual({ encodings: screenEncodings('vp9'), degradationPreference: 'maintain-resolution' });
    // Firefox without simulcast: one encoding, the best.
    const one: SendParameters = { encodings: [{}] };
    tuneScreen(one, 'text');
    expect(one.encodings).toEqual([{ scaleResolutionDownBy: 1, maxFramerate: 30, maxBitrate: 2_500_000 }]);
  });
});

describe('SenderParameters', () => {
  /** As a browser: parameters that were read before the last change are refused. */
  function sender() {
    let [changes, encodings] = [0, [{ active: true, maxBitrate: 1 }]];
    return {
      getParameters: () => ({ encodings: structuredClone(encodings), transactionId: String(changes) }),
      setParameters: async (parameters: { encodings: typeof encodings; transactionId: string }) => {
        await Promise.resolve();
        if (parameters.transactionId !== String(changes)) throw new Error('InvalidModificationError');
        changes += 1;
        encodings = parameters.encodings;
      },
    } as unknown as RTCRtpSender;
  }

  it('makes changes that come at once one after the other, and none undoes another', async () => {
    const real = sender();
    const parameters = new SenderParameters(real);
    await Promise.all([
      parameters.change(({ encodings: [first] }) => Object.assign(first ?? {}, { active: false })),
      parameters.change(() => {
        throw new Error('not this browser');
      }),
      parameters.change(({ encodings: [first] }) => Object.assign(first ?? {}, { maxBitrate: 2 })),
    ]);
    expect(real.getParameters().encodings).toEqual([{ active: false, maxBitrate: 2 }]);
  });
});

describe('sdp', () => {
  const sdp = [
    'v=0',
    'a=mid:not-me',
    'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    'a=mid:0',
    'a=rtpmap:111 opus/48000/2',
    'a=fmtp:111 minptime=10;useinbandfec=1',
    'm=audio 9 UDP/TLS/RTP/SAVPF 109',
    'a=mid:3',
    'a=rtpmap:109 opus/48000/2',
    'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'a=mid:1',
    'a=rtpmap:96 VP8/90000',
    '',
  ].join('\r\n');

  it('reads the mids in order', () => {
    expect(midsOf(sdp)).toEqual(['0', '3', '1']);
  });

  it('tunes Opus where it is asked to, with and without a line to change', () => {
    const tuned = tuneOpus(sdp, {
      '0': { dtx: true, stereo: false, maxAverageBitrateBps: 40_000 },
      '3': { dtx: false, stereo: true, maxAverageBitrateBps: 128_000 },
    });
    expect(tuned.split('\r\n')).toEqual([
      ...sdp.split('\r\n').slice(0, 5),
      'a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=40000',
      ...sdp.split('\r\n').slice(6, 9),
      'a=fmtp:109 useinbandfec=1;usedtx=0;stereo=1;sprop-stereo=1;maxaveragebitrate=128000',
      ...sdp.split('\r\n').slice(9),
    ]);
    expect(tuneOpus(sdp, {})).toBe(sdp);
  });

  it('sends redundant audio of a voice, and of nothing else', () => {
    const line = (mid: string) => [
      'm=audio 9 UDP/TLS/RTP/SAVPF 111 63',
      `a=mid:${mid}`,
      'a=rtpmap:111 opus/48000/2',
      'a=rtpmap:63 red/48000/2',
    ];
    const tuned = tuneOpus(['v=0', ...line('0'), ...line('3'), ...line('4'), ''].join('\r\n'), {
      '0': { dtx: true, stereo: false, maxAverageBitrateBps: 40_000 },
      '3': { dtx: false, stereo: true, maxAverageBitrateBps: 128_000 },
    });
    const formats = tuned.split('\r\n').filter((text) => text.startsWith('m='));
    expect(formats.map((text) => text.split(' ').slice(3).join(' '))).toEqual(['63 111', '111 63', '111 63']);
  });
});

describe('StatsReader', () => {
  it('gives rates since the call before, and who is on a slot', () => {
    const reader = new StatsReader();
    const at = (timestamp: number, bytes: number, lost: number, packets: number) => [
      {
        id: 'in',
        type: 'inbound-rtp',
        kind: 'video',
        mid: '7',
        timestamp,
        bytesReceived: bytes,
        packetsLost: lost,
        packetsReceived: packets,
        codecId: 'c',
        frameWidth: 640,
        frameHeight: 360,
      },
      { id: 'c', type: 'codec', timestamp, mimeType: 'video/VP8' },
      { id: 't', type: 'transport', timestamp, selectedCandidatePairId: 'p' },
      { id: 'p', type: 'candidate-pair', timestamp, currentRoundTripTime: 0.0421, localCandidateId: 'l' },
      { id: 'l', type: 'local-candidate', timestamp, candidateType: 'relay', relayProtocol: 'tls' },
    ];
    const describeSlot = (mid: string) => ({ mid, participant: 'a', source: 'camera' as const });
    expect(reader.read(at(1000, 1000, 0, 10), describeSlot).bitrateInBps).toBe(0);
    const stats = reader.read(at(3000, 251_000, 10, 190), describeSlot);
    expect(stats).toMatchObject({ bitrateInBps: 1_000_000, rttMs: 42, path: 'relay/tls' });
    expect(stats.lossIn).toBeCloseTo(10 / 190, 5);
    expect(stats.received).toEqual([
      expect.objectContaining({ participant: 'a', source: 'camera', codec: 'VP8', width: 640, height: 360 }),
    ]);
  });
});
