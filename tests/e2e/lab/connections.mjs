// Remembers every peer connection of the page, to ask the browser itself for its figures. Imported before the client library.
const all = [];

const remembering = (PeerConnection) =>
  class extends PeerConnection {
    constructor(...args) {
      super(...args);
      all.push(this);
    }
  };
globalThis.RTCPeerConnection = remembering(globalThis.RTCPeerConnection);

// The client makes one in a frame where the page's own would not find another network (client, fresh.ts).
const frames = new WeakSet();
const content = Object.getOwnPropertyDescriptor(HTMLIFrameElement.prototype, 'contentWindow');
Object.defineProperty(HTMLIFrameElement.prototype, 'contentWindow', {
  ...content,
  get() {
    const frame = content.get.call(this);
    if (frame && !frames.has(frame)) {
      frames.add(frame);
      frame.RTCPeerConnection = remembering(frame.RTCPeerConnection);
    }
    return frame;
  },
});

/** Energy of all received sound so far (W3C webrtc-stats, totalAudioEnergy), over connections that are open. */
export async function receivedAudioEnergy() {
  let sum = 0;
  for (const connection of all) {
    if (connection.connectionState === 'closed') continue;
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type === 'inbound-rtp' && entry.kind === 'audio') sum += entry.totalAudioEnergy ?? 0;
    }
  }
  return sum;
}

/** Sends a track on the first audio m-line (the microphone's) of every open connection, whatever the library thinks of it. */
export async function lie(track) {
  for (const connection of all) {
    if (connection.connectionState === 'closed') continue;
    const microphone = connection.getTransceivers().find(({ mid }) => mid === '0');
    await microphone?.sender.replaceTrack(track);
  }
}

/** Formats of the audio m-lines of the answer by mid, in their order, and what the browser says of its sound. */
export async function soundFigures() {
  const connection = all.findLast(({ connectionState }) => connectionState !== 'closed');
  const formats = {};
  for (const section of (connection?.remoteDescription?.sdp ?? '').split(/^(?=m=)/m).slice(1)) {
    if (!section.startsWith('m=audio')) continue;
    const names = section.split(/\r?\n/, 1)[0].split(' ').slice(3);
    const name = (format) => new RegExp(`^a=rtpmap:${format} ([^/]+)/`, 'm').exec(section)?.[1];
    formats[/^a=mid:(\S+)/m.exec(section)?.[1]] = names.map(name);
  }
  const figures = {
    formats,
    received: 0,
    lost: 0,
    receivedBytes: 0,
    samples: 0,
    concealed: 0,
    energy: 0,
    sent: 0,
    sentBytes: 0,
  };
  for (const entry of ((await connection?.getStats()) ?? new Map()).values()) {
    if (entry.kind !== 'audio') continue;
    if (entry.type === 'inbound-rtp') {
      figures.received += entry.packetsReceived ?? 0;
      figures.lost += entry.packetsLost ?? 0;
      figures.receivedBytes += entry.bytesReceived ?? 0;
      figures.samples += entry.totalSamplesReceived ?? 0;
      figures.concealed += (entry.concealedSamples ?? 0) - (entry.silentConcealedSamples ?? 0);
      figures.energy += entry.totalAudioEnergy ?? 0;
    } else if (entry.type === 'outbound-rtp') {
      figures.sent += entry.packetsSent ?? 0;
      figures.sentBytes += entry.bytesSent ?? 0;
    }
  }
  return figures;
}

/** Packets of sound sent so far. */
export async function audioPacketsSent() {
  let sum = 0;
  for (const connection of all) {
    if (connection.connectionState === 'closed') continue;
    for (const entry of (await connection.getStats()).values()) {
      if (entry.type === 'outbound-rtp' && entry.kind === 'audio') sum += entry.packetsSent ?? 0;
    }
  }
  return sum;
}

/** The ways that media takes now: the local candidate of each open connection that is connected. */
export async function ways() {
  const found = [];
  for (const connection of all) {
    if (connection.connectionState !== 'connected') continue;
    const entries = await connection.getStats();
    const transport = [...entries.values()].find(({ type }) => type === 'transport');
    const pair = entries.get(transport?.selectedCandidatePairId);
    const { candidateType, protocol, relayProtocol, url } = entries.get(pair?.localCandidateId) ?? {};
    found.push({ candidateType, protocol, relayProtocol, url });
  }
  return found;
}

/** The credentials for relays that each open connection has. */
export const iceServers = () =>
  all
    .filter(({ connectionState }) => connectionState !== 'closed')
    .map((connection) => connection.getConfiguration().iceServers);

const FIELDS = {
  'inbound-rtp': [
    'bytesReceived',
    'packetsReceived',
    'packetsLost',
    'framesDecoded',
    'framesReceived',
    'framesDropped',
    'keyFramesDecoded',
    'frameWidth',
    'frameHeight',
    'freezeCount',
    'totalFreezesDuration',
    'nackCount',
    'pliCount',
    'concealedSamples',
    'silentConcealedSamples',
    'totalSamplesReceived',
    'totalDecodeTime',
  ],
  'outbound-rtp': [
    'rid',
    'active',
    'packetsSent',
    'pliCount',
    'bytesSent',
    'framesEncoded',
    'keyFramesEncoded',
    'frameWidth',
    'frameHeight',
    'framesPerSecond',
    'qualityLimitationReason',
    'qualityLimitationResolutionChanges',
    'totalEncodeTime',
    'encoderImplementation',
    'scalabilityMode',
    'targetBitrate',
  ],
};

/** The browser's figures of every stream of every open connection: `{at: performance.now(), streams: [{type, kind, mid, …}]}`. */
export async function figures() {
  const streams = [];
  for (const connection of all) {
    if (connection.connectionState === 'closed') continue;
    for (const entry of (await connection.getStats()).values()) {
      const fields = FIELDS[entry.type];
      if (!fields) continue;
      const { type, kind, mid } = entry;
      const picked = fields.filter((field) => entry[field] !== undefined).map((field) => [field, entry[field]]);
      streams.push({ type, kind, mid, ...Object.fromEntries(picked) });
    }
  }
  return { at: performance.now(), streams };
}
