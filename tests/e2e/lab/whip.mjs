// WHIP (RFC 9725) and WHEP with nothing but RTCPeerConnection and fetch, as any plain publisher or player would do it.
import { Ear, Eye, paint, tone } from './sources.mjs';

const calls = new Map();

const gathered = (connection) =>
  new Promise((resolve) => {
    if (connection.iceGatheringState === 'complete') resolve();
    connection.addEventListener(
      'icegatheringstatechange',
      () => connection.iceGatheringState === 'complete' && resolve(),
    );
    setTimeout(resolve, 2000);
  });

async function exchange(connection, path, token) {
  await connection.setLocalDescription();
  await gathered(connection);
  const response = await fetch(path, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' },
    body: connection.localDescription.sdp,
  });
  const body = await response.text();
  const told = {
    status: response.status,
    location: response.headers.get('location'),
    etag: response.headers.get('etag'),
    type: response.headers.get('content-type'),
    body,
  };
  if (response.status === 201) await connection.setRemoteDescription({ type: 'answer', sdp: body });
  return told;
}

globalThis.whip = {
  async publish(id, { path, token, colour, frequency, width = 640, height = 360 }) {
    const connection = new RTCPeerConnection();
    const stream = new MediaStream([tone({ frequency }), paint({ colour, width, height })]);
    for (const track of stream.getTracks())
      connection.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    const told = await exchange(connection, path, token);
    calls.set(id, { connection, told, token, stream });
    return told;
  },
  async play(id, { path, token }) {
    const connection = new RTCPeerConnection();
    const call = { connection, token };
    connection.addTransceiver('audio', { direction: 'recvonly' });
    connection.addTransceiver('video', { direction: 'recvonly' });
    connection.addEventListener('track', ({ track, streams }) => {
      const stream = streams[0] ?? new MediaStream([track]);
      if (track.kind === 'video') call.eye = new Eye(stream);
      else (call.ear ??= new Ear()).hear(stream);
    });
    call.told = await exchange(connection, path, token);
    calls.set(id, call);
    return call.told;
  },
  report(id) {
    const { connection, eye, ear } = calls.get(id);
    return {
      state: connection.connectionState,
      picture: eye && { frames: eye.frames, colour: eye.colour() },
      sound: ear?.listen(),
    };
  },
  async end(id) {
    const { told, token, connection, stream } = calls.get(id);
    const response = await fetch(told.location, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } });
    connection.close();
    stream?.getTracks().forEach((track) => track.stop());
    return response.status;
  },
  async patch(id, body, type = 'application/trickle-ice-sdpfrag', headers = {}) {
    const { told, token } = calls.get(id);
    const response = await fetch(told.location, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${token}`, 'content-type': type, ...headers },
      body,
    });
    return response.status;
  },
};
