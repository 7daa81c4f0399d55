// A participant on werift and socket.io-client, written from docs/protocol.md alone. werift has no codecs: it plays a film (film.py) and
// tells what is in the packets that come. Its last argument is {url, token, film, watch}; see lib/foreign.mjs for what it prints.
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { io } from 'socket.io-client';
import { Packets } from './packets.mjs';

// werift gathers at all addresses but the loopback one, and the tests use no other.
os.networkInterfaces = () => ({});
const werift = await import('werift');
const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, RtpHeader, RtpPacket, Vp8Packetizer } = werift;
const { useOPUS, useSdesMid, useTransportWideCC, useVP8 } = werift;

const { url, token, film, watch } = JSON.parse(process.argv.at(-1));
const { video, audio } = JSON.parse(readFileSync(film, 'utf8'), (_key, value) =>
  typeof value === 'string' ? Buffer.from(value, 'base64') : value,
);

const FRAME_TICKS = 90_000 / 15;
const SOUND_TICKS = 48_000 / 50;

const connection = new RTCPeerConnection({
  iceServers: [],
  iceAdditionalHostAddresses: ['127.0.0.1'],
  bundlePolicy: 'max-bundle',
  codecs: {
    audio: [useOPUS()],
    video: [
      useVP8({ rtcpFeedback: [{ type: 'nack' }, { type: 'nack', parameter: 'pli' }, { type: 'transport-cc' }] }),
      // What was lost comes by this alone.
      new RTCRtpCodecParameters({ mimeType: 'video/rtx', clockRate: 90_000 }),
    ],
  },
  headerExtensions: { audio: [useSdesMid()], video: [useSdesMid(), useTransportWideCC()] },
});
const microphone = new MediaStreamTrack({ kind: 'audio' });
const camera = new MediaStreamTrack({ kind: 'video' });
const sending = {
  microphone: connection.addTransceiver(microphone, { direction: 'sendonly' }),
  camera: connection.addTransceiver(camera, { direction: 'sendonly' }),
};
const received = new Map();
for (const kind of ['audio', 'audio', 'video', 'video']) {
  const transceiver = connection.addTransceiver(kind, { direction: 'recvonly' });
  transceiver.onTrack.subscribe((track) => {
    const packets = new Packets(kind);
    received.set(transceiver.mid, packets);
    track.onReceiveRtp.subscribe(({ header, payload }) => packets.take(header, payload));
  });
}

const slots = new Map();
const socket = io(url, { auth: { token }, reconnection: false });
const request = async (event, payload) => {
  const { data, error } = await socket.timeout(10_000).emitWithAck(event, payload);
  if (error) throw new Error(`${event}: ${JSON.stringify(error)}`);
  return data;
};
const mediaIsUp = new Promise((resolve) => socket.on('media', ({ state }) => state === 'connected' && resolve()));
socket.on('slots', (message) => message.slots.forEach((slot) => slots.set(slot.mid, slot)));
await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));

await connection.setLocalDescription(await connection.createOffer());
const joined = await request('join', {
  version: 1,
  offer: connection.localDescription.sdp,
  sources: Object.fromEntries(Object.entries(sending).map(([source, { mid }]) => [source, mid])),
});
// A notice is newer than the answer, although this comes after it.
joined.slots.filter(({ mid }) => !slots.has(mid)).forEach((slot) => slots.set(slot.mid, slot));
await connection.setRemoteDescription({ type: 'answer', sdp: joined.answer });
await mediaIsUp;
for (const source of Object.keys(sending)) await request('publish', { source });
await request('view', { pictures: [{ participant: watch, source: 'camera', width: 320, height: 180 }] });

let frame = 0;
let pictures = 0;
// Whoever asks for a keyframe gets the film from its beginning.
sending.camera.sender.onPictureLossIndication.subscribe(() => (frame = 0));
const packetizer = new Vp8Packetizer();
const showNext = () => {
  for (const packet of packetizer.packetize(video[frame], pictures * FRAME_TICKS)) camera.writeRtp(packet);
  frame = (frame + 1) % video.length;
  pictures += 1;
};
let sounds = 0;
const speakNext = () => {
  const header = new RtpHeader({
    sequenceNumber: sounds & 0xffff,
    timestamp: (sounds * SOUND_TICKS) >>> 0,
    marker: true,
  });
  microphone.writeRtp(new RtpPacket(header, audio[sounds % audio.length]));
  sounds += 1;
};
const began = performance.now();
const timers = [
  setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    while (pictures < seconds * 15) showNext();
    while (sounds < seconds * 50) speakNext();
  }, 5),
  setInterval(() => {
    const of = (participant, source) =>
      received.get([...slots.values()].find((slot) => slot.participant === participant && slot.source === source)?.mid);
    console.log(
      JSON.stringify({
        state: connection.connectionState,
        slots: [...slots.values()],
        video: of(watch, 'camera')?.report(),
        audio: of(watch, 'microphone')?.report(),
      }),
    );
  }, 100),
];

process.stdin.resume().on('end', async () => {
  timers.forEach(clearInterval);
  await request('leave', {});
  socket.disconnect();
  await connection.close();
});
