"""Encodes two seconds of a picture in one colour and of a tone, for clients that have no encoders: `film.py '{"colour": …, "frequency": …}'`
prints {"video": [frame, …], "audio": [packet, …]}, VP8 at 15 pictures a second and Opus in 20 ms, in base64. Repeats without a seam."""

import base64
import fractions
import json
import sys

import av

from figures import RATE, painted, tone

WIDTH, HEIGHT, FRAMES_PER_SECOND = 320, 180, 15
SECONDS = 2
FRAME_SAMPLES = RATE // 50


def packets(encoder, frames):
    encoded = [packet for frame in [*frames, None] for packet in encoder.encode(frame)]
    return [base64.b64encode(bytes(packet)).decode() for packet in encoded]


def film(colour):
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base, encoder.bit_rate = fractions.Fraction(1, FRAMES_PER_SECOND), 300_000
    # Only the first picture is a keyframe, to which a client goes back when it is asked for one.
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "3000", "auto-alt-ref": "0"}

    def frames():
        for number in range(SECONDS * FRAMES_PER_SECOND):
            frame = av.VideoFrame(WIDTH, HEIGHT, "rgb24")
            frame.planes[0].update(painted(colour, WIDTH, HEIGHT, number))
            frame = frame.reformat(format="yuv420p")
            frame.pts = number
            yield frame

    return packets(encoder, frames())


def sound(frequency):
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "stereo", "s16"

    def frames():
        for number in range(SECONDS * RATE // FRAME_SAMPLES):
            mono = tone(frequency, number * FRAME_SAMPLES, FRAME_SAMPLES)
            frame = av.AudioFrame(format="s16", layout="stereo", samples=FRAME_SAMPLES)
            both = bytes().join(2 * sample.to_bytes(2, "little", signed=True) for sample in mono)
            frame.planes[0].update(both)
            frame.sample_rate, frame.pts = RATE, number * FRAME_SAMPLES
            frame.time_base = fractions.Fraction(1, RATE)
            yield frame

    return packets(encoder, frames())[: SECONDS * RATE // FRAME_SAMPLES]


looks = json.loads(sys.argv[1])
print(json.dumps({"video": film(looks["colour"]), "audio": sound(looks["frequency"])}))
