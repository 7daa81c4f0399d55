"""What the media clients in Python share: a tone to send, figures of what comes, and how they speak with the test.

A client prints a line of JSON ten times a second, what it sees and hears, and ends when its standard input is closed. Standard
library only, for the system's Python has GStreamer and the virtual environment has aiortc.
"""

import array
import json
import math
import os
import threading

RATE = 48_000
# Fifths of a second: long enough to count a tone's waves to 5 Hz.
LISTEN_SAMPLES = RATE // 5


def tone(frequency, first_sample, samples, amplitude=8000):
    """Signed 16-bit samples of a sine, one channel; goes on where the last call ended."""
    step = 2 * math.pi * frequency / RATE
    return array.array("h", (int(amplitude * math.sin(step * n)) for n in range(first_sample, first_sample + samples)))


def painted(colour, width, height, number):
    """RGB bytes of picture `number`: one colour, and above a bar that moves so that no two pictures are the same."""
    row = bytes(colour) * width
    left = number * 4 % (width - 8)
    bar = row[: left * 3] + bytes([255, 255, 255] if number % 2 else [0, 0, 0]) * 8 + row[(left + 8) * 3 :]
    high = height // 10
    return bar * high + row * (height - high)


class Picture:
    """Counts pictures and keeps the colour of the middle of the last one."""

    def __init__(self):
        self.frames = 0
        self.told = None

    def see(self, width, height, rgb, stride):
        """Takes a whole picture: RGB, `stride` bytes a row."""
        self.frames += 1
        sums, count = [0, 0, 0], 0
        for y in range(height // 2, height // 2 + 4):
            for x in range(width // 2, width // 2 + 4):
                at = y * stride + 3 * x
                for channel in range(3):
                    sums[channel] += rgb[at + channel]
                count += 1
        self.told = {"colour": [round(value / count) for value in sums], "width": width, "height": height}

    def report(self):
        return self.told and {"frames": self.frames, **self.told}


class Sound:
    """Keeps the last samples of one channel; tells how loud they are, and the frequency if they are one tone."""

    def __init__(self):
        self.samples = array.array("h")
        self.heard = 0

    def hear(self, samples):
        self.heard += len(samples)
        self.samples.extend(samples)
        del self.samples[:-LISTEN_SAMPLES]

    def report(self):
        if len(self.samples) < LISTEN_SAMPLES:
            return None
        rms = math.sqrt(sum(sample * sample for sample in self.samples) / len(self.samples)) / 32768
        waves = sum(1 for a, b in zip(self.samples, self.samples[1:]) if a < 0 <= b)
        return {"rms": rms, "peaks": [round(waves * RATE / LISTEN_SAMPLES)], "samples": self.heard}


def tell(report):
    print(json.dumps(report), flush=True)


def when_input_ends(call):
    """Calls from another thread when the test closes standard input, or is gone."""

    def wait():
        # Not sys.stdin, whose lock an interpreter that ends would want.
        while os.read(0, 4096):
            pass
        call()

    threading.Thread(target=wait, daemon=True).start()
