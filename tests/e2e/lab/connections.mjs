// Remembers every peer connection of the page, to ask the browser itself for its figures. Imported before the client library.
const all = [];

globalThis.RTCPeerConnection = class extends globalThis.RTCPeerConnection {
  constructor(...args) {
    super(...args);
    all.push(this);
  }
};

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
