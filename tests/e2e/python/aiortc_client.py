"""A participant on aiortc and python-socketio, written from docs/protocol.md alone: publishes a picture and a tone, shows the camera of
one other participant, and tells what it sees and hears (figures.py)."""

import asyncio
import fractions
import json
import sys
import time

import aioice.ice
import av
import socketio
from aiortc import (
    AudioStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError

from figures import RATE, Picture, Sound, painted, tell, tone, when_input_ends

# aiortc leaves out the loopback address, and the tests use no other.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

PICTURE = (320, 180)
FRAME_SAMPLES = RATE // 50


class Camera(VideoStreamTrack):
    def __init__(self, colour):
        super().__init__()
        self.colour = colour
        self.number = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        width, height = PICTURE
        frame = av.VideoFrame(width, height, "rgb24")
        frame.planes[0].update(painted(self.colour, width, height, self.number))
        self.number += 1
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Microphone(AudioStreamTrack):
    def __init__(self, frequency):
        super().__init__()
        self.frequency = frequency
        self.sample = 0

    async def recv(self):
        if self.sample == 0:
            self.began = time.monotonic()
        await asyncio.sleep(self.began + self.sample / RATE - time.monotonic())
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(tone(self.frequency, self.sample, FRAME_SAMPLES).tobytes())
        frame.pts, frame.sample_rate, frame.time_base = self.sample, RATE, fractions.Fraction(1, RATE)
        self.sample += FRAME_SAMPLES
        return frame


async def look(track, picture):
    while True:
        try:
            frame = (await track.recv()).reformat(format="rgb24")
        except MediaStreamError:
            return
        plane = frame.planes[0]
        picture.see(frame.width, frame.height, memoryview(plane), plane.line_size)


async def listen(track, sound):
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    while True:
        try:
            frames = resampler.resample(await track.recv())
        except MediaStreamError:
            return
        for frame in frames:
            sound.hear(memoryview(frame.planes[0])[: 2 * frame.samples].cast("h"))


async def main(url, token, colour, frequency, watch):
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    when_input_ends(lambda: loop.call_soon_threadsafe(ended.set))

    # Without a list of iceServers aiortc would ask a server on the Internet for its address. Where m-lines share a transport already in
    # the offer, aiortc 1.16 takes the candidates of the last of them, and answers have theirs in the first (RFC 8843, 7.3.3).
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_COMPAT))
    sending = {
        "microphone": connection.addTransceiver(Microphone(frequency), direction="sendonly"),
        "camera": connection.addTransceiver(Camera(colour), direction="sendonly"),
    }
    for kind in ("audio", "audio", "video", "video"):
        connection.addTransceiver(kind, direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())

    signalling = socketio.AsyncClient(reconnection=False)
    media_up = asyncio.Event()
    pictures, sounds, slots = {}, {}, {}

    def on_slots(message):
        slots.update({slot["mid"]: (slot.get("participant"), slot.get("source")) for slot in message["slots"]})

    signalling.on("slots", on_slots)
    signalling.on("media", lambda message: message["state"] == "connected" and media_up.set())

    async def request(event, payload):
        answer = await signalling.call(event, payload, timeout=10)
        if "error" in answer:
            raise RuntimeError(f"{event}: {answer}")
        return answer["data"]

    await signalling.connect(url, auth={"token": token}, transports=["websocket"], wait_timeout=10)
    joined = await request(
        "join",
        {
            "version": 1,
            "offer": connection.localDescription.sdp,
            "sources": {source: transceiver.mid for source, transceiver in sending.items()},
        },
    )
    # A notice is newer than the answer, although this comes after it.
    for slot in joined["slots"]:
        slots.setdefault(slot["mid"], (slot.get("participant"), slot.get("source")))

    tasks = []
    await connection.setRemoteDescription(RTCSessionDescription(joined["answer"], "answer"))
    for transceiver in connection.getTransceivers():
        if transceiver in sending.values():
            continue
        track, mid = transceiver.receiver.track, transceiver.mid
        if track.kind == "video":
            pictures[mid] = Picture()
            tasks.append(asyncio.create_task(look(track, pictures[mid])))
        else:
            sounds[mid] = Sound()
            tasks.append(asyncio.create_task(listen(track, sounds[mid])))

    await asyncio.wait_for(media_up.wait(), 15)
    for source in sending:
        await request("publish", {"source": source})
    view = {"participant": watch, "source": "camera", "width": PICTURE[0], "height": PICTURE[1]}
    await request("view", {"pictures": [view]})

    while not ended.is_set():
        shown = next((mid for mid, slot in slots.items() if slot == (watch, "camera")), None)
        heard = [sound for sound in (sounds[mid].report() for mid in sounds) if sound]
        tell(
            {
                "state": connection.connectionState,
                "slots": slots,
                "picture": shown and pictures[shown].report(),
                "sound": max(heard, key=lambda sound: sound["rms"], default=None),
            }
        )
        try:
            await asyncio.wait_for(ended.wait(), 0.1)
        except asyncio.TimeoutError:
            pass

    await request("leave", {})
    await signalling.disconnect()
    await connection.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


asyncio.run(main(**json.loads(sys.argv[1])))
