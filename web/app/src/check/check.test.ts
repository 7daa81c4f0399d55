import { describe, expect, it } from 'vitest';

import { answerOf, beginCheck, CheckError, type Fetch } from './api';
import { judge, sumUp } from './quality';
import { onlyWay, relayOf, shortPlaces } from './sdp';
import { newSteps, type Result, type Step, type StepId, type StepState } from './steps';
import { verdictOf } from './verdict';

const ANSWER = [
  'v=0',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=candidate:1 1 udp 2130706175 203.0.113.7 7882 typ host',
  'a=candidate:2 1 UDP 2130705663 2001:db8::7 7882 typ host',
  'a=candidate:3 1 tcp 2122252543 203.0.113.7 7882 typ host tcptype passive',
  'a=ice-ufrag:x',
  '',
].join('\r\n');

describe('ways', () => {
  it('leave the candidates of one protocol, and say their places', () => {
    const udp = onlyWay(ANSWER, 'udp');
    expect(udp.places).toEqual(['203.0.113.7:7882', '[2001:db8::7]:7882']);
    expect(udp.sdp).not.toContain(' tcp ');
    expect(udp.sdp).toContain('a=ice-ufrag:x\r\n');
    const tcp = onlyWay(ANSWER, 'tcp');
    expect(tcp.places).toEqual(['203.0.113.7:7882']);
    expect(tcp.sdp).not.toMatch(/ udp /iu);
    expect(onlyWay(ANSWER, 'relay-tls')).toEqual(udp);
  });

  it('have one URL of the relay each', () => {
    const urls = [
      'turn:10.0.0.1:3478?transport=udp',
      'turn:10.0.0.1:3478?transport=tcp',
      'turns:t.example?transport=tcp',
    ];
    const servers = [{ urls, username: 'u', credential: 'p' }];
    expect(relayOf(servers, 'relay-udp')).toEqual({
      server: { urls: urls[0], username: 'u', credential: 'p' },
      place: '10.0.0.1:3478',
    });
    expect(relayOf(servers, 'relay-tcp')?.server.urls).toBe(urls[1]);
    expect(relayOf(servers, 'relay-tls')?.place).toBe('t.example');
    expect(relayOf([{ urls: 'stun:10.0.0.1' }], 'relay-udp')).toBeUndefined();
    expect(relayOf([], 'relay-udp')).toBeUndefined();
  });

  it('name the places of the network, few, and loopback only when there is nothing else', () => {
    expect(shortPlaces(['127.0.0.1:1', '10.0.0.1:1', '[::1]:1'])).toBe('10.0.0.1:1');
    expect(shortPlaces(['127.0.0.1:1'])).toBe('127.0.0.1:1');
    expect(shortPlaces(['1.1.1.1:1', '2.2.2.2:1', '3.3.3.3:1', '4.4.4.4:1'])).toBe('1.1.1.1:1, 2.2.2.2:1, 3.3.3.3:1 …');
  });
});

describe('quality', () => {
  const sample = (at: number, bytes: number, lost: number) => [
    { type: 'candidate-pair', timestamp: at, state: 'succeeded', currentRoundTripTime: 0.02 },
    { type: 'outbound-rtp', timestamp: at, bytesSent: bytes, packetsSent: 100 },
    { type: 'remote-inbound-rtp', timestamp: at, packetsLost: lost },
  ];

  it('comes from the second half of the samples, and the last count of losses', () => {
    const measured = sumUp([
      sample(0, 0, 0),
      sample(1_000, 1_000, 0),
      sample(2_000, 126_000, 1),
      sample(3_000, 251_000, 2),
    ]);
    expect(measured).toEqual({ rttMs: 20, loss: 0.02, upBps: 1_000_000 });
    expect(sumUp([])).toEqual({ rttMs: undefined, loss: undefined, upBps: 0 });
  });

  it('is judged by the first thing that is wrong, the worst first', () => {
    const of = (rttMs: number | undefined, loss: number | undefined, upBps: number) => {
      const { state, fix } = judge({ rttMs, loss, upBps }, () => ({ key: 'check.found.quality' }));
      return [state, fix?.key];
    };
    expect(of(20, 0, 2_000_000)).toEqual(['good', undefined]);
    expect(of(undefined, undefined, 2_000_000)).toEqual(['good', undefined]);
    expect(of(20, 0.04, 2_000_000)).toEqual(['warning', 'check.fix.loss']);
    expect(of(700, 0.04, 2_000_000)).toEqual(['failed', 'check.fix.far']);
    expect(of(20, 0, 500_000)).toEqual(['warning', 'check.fix.up']);
    expect(of(20, 0, 0)).toEqual(['failed', 'check.fix.up']);
  });
});

describe('verdict', () => {
  const all = (changes: Partial<Record<StepId, StepState>>, places: Partial<Record<StepId, string>> = {}): Step[] =>
    newSteps().map(({ id }) => {
      const state = changes[id] ?? 'good';
      const result: Result = { state: state as Result['state'], found: { key: 'check.found.way' } };
      const place = places[id];
      return { id, state, result: place === undefined ? result : { ...result, place } };
    });
  const of = (changes: Partial<Record<StepId, StepState>>, places?: Partial<Record<StepId, string>>) => {
    const { tone, title, places: told } = verdictOf(all(changes, places));
    return [tone, title.split('.')[2], ...told];
  };

  it('is one sentence for each kind of trouble', () => {
    expect(of({})).toEqual(['good', 'ready']);
    expect(of({ tcp: 'failed' })).toEqual(['good', 'ready']);
    expect(of({ udp: 'failed' }, { udp: 'UDP 1.2.3.4:7882' })).toEqual(['warning', 'detour', 'UDP 1.2.3.4:7882']);
    const none = { udp: 'failed', tcp: 'failed', 'relay-udp': 'failed', 'relay-tcp': 'skipped' } as const;
    expect(of({ ...none, quality: 'skipped' }, { udp: 'UDP a', tcp: 'TCP b' })).toEqual([
      'bad',
      'no-way',
      'UDP a',
      'TCP b',
    ]);
    expect(of({ microphone: 'failed' })).toEqual(['warning', 'devices']);
    expect(of({ camera: 'warning' })).toEqual(['warning', 'quiet']);
    expect(of({ signalling: 'failed', udp: 'failed' })).toEqual(['bad', 'signalling']);
    expect(of({ page: 'failed' })).toEqual(['bad', 'page']);
    expect(of({ quality: 'warning' })).toEqual(['warning', 'slow']);
    expect(of({ quality: 'failed' })).toEqual(['bad', 'slow']);
    const off = { udp: 'skipped', tcp: 'skipped', 'relay-udp': 'skipped', 'relay-tcp': 'skipped' } as const;
    expect(of({ ...off, quality: 'skipped' })).toEqual(['warning', 'untested']);
  });
});

describe('the server', () => {
  const problemOf = async (work: Promise<unknown>) => {
    const error: unknown = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    return error instanceof CheckError ? error.problem : error;
  };
  const answers =
    (status: number): Fetch =>
    () =>
      Promise.resolve(new Response('{}', { status }));

  it('says why there is no test', async () => {
    expect(await problemOf(beginCheck(answers(404)))).toBe('off');
    expect(await problemOf(beginCheck(answers(429)))).toBe('busy');
    expect(await problemOf(beginCheck(answers(503)))).toBe('busy');
    expect(await problemOf(beginCheck(answers(500)))).toBe('refused');
    expect(await problemOf(beginCheck(() => Promise.reject(new TypeError('failed to fetch'))))).toBe('unreachable');
    const session = { check: 'x', seconds: 60, iceServers: [] };
    expect(await problemOf(answerOf(session, 'v=0', answers(404)))).toBe('over');
    expect(await problemOf(answerOf(session, 'v=0', answers(422)))).toBe('refused');
    expect(await answerOf(session, 'v=0', answers(200))).toBe('{}');
  });
});
