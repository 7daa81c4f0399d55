"""Whether a slot that changes its speaker clicks, by decoding one with libopus.

A slot keeps one decoder. When the server puts another speaker on it, that decoder goes from the packets of one encoder to those of
another, in the middle of both's speech. This encodes two synthetic voices and silence, joins their packets as a slot does, decodes, and
compares the 60 ms after the change with what ordinary speech does:

- roughness: the largest second difference of the samples (what is heard as a click is wide-band), against the largest in the decoded voices themselves;
- peak: the largest sample, against the same.

It does so as the server does it (sequence numbers run on, nothing in between), with a decoder that starts anew (what another payload type or
stream would do), and with a lost packet between. Needs libopus (Debian: libopus0), and nothing else. Exits with 1 if a change as the server
does it is heard.
"""

import ctypes
import ctypes.util
import math
import random
import sys

RATE = 48_000
FRAME = 960
BITRATES = (24_000, 32_000, 40_000)
# Above this a change stands out of the speech around it.
LIMIT_DB = 3.0

name = ctypes.util.find_library("opus")
if name is None:
    print("skipped: no libopus")
    sys.exit(0)
opus = ctypes.CDLL(name)
opus.opus_encoder_create.restype = ctypes.c_void_p
opus.opus_decoder_create.restype = ctypes.c_void_p
opus.opus_encode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
opus.opus_decode.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]

# opus_defines.h
APPLICATION_VOIP, SET_BITRATE, SET_INBAND_FEC, SET_DTX, RESET_STATE = 2048, 4002, 4012, 4016, 4028


def encode(samples, bitrate):
    encoder = ctypes.c_void_p(opus.opus_encoder_create(RATE, 1, APPLICATION_VOIP, ctypes.byref(ctypes.c_int())))
    for request, value in ((SET_BITRATE, bitrate), (SET_INBAND_FEC, 1), (SET_DTX, 1)):
        opus.opus_encoder_ctl(encoder, request, ctypes.c_int(value))
    packets, buffer = [], (ctypes.c_ubyte * 1500)()
    for at in range(0, len(samples) - FRAME + 1, FRAME):
        frame = (ctypes.c_int16 * FRAME)(*(int(sample) for sample in samples[at : at + FRAME]))
        packets.append(bytes(buffer[: opus.opus_encode(encoder, frame, FRAME, buffer, 1500)]))
    return packets


def decode(packets, reset_at=None):
    """Samples; a packet of None was lost."""
    decoder = ctypes.c_void_p(opus.opus_decoder_create(RATE, 1, ctypes.byref(ctypes.c_int())))
    samples, buffer = [], (ctypes.c_int16 * 5760)()
    for index, packet in enumerate(packets):
        if index == reset_at:
            opus.opus_decoder_ctl(decoder, RESET_STATE)
        count = opus.opus_decode(decoder, packet, len(packet or b""), buffer, FRAME, 0)
        samples.extend(buffer[:count])
    return samples


def voice(seed, pitch, seconds):
    """Harmonics under two moving formants, syllables, and breath."""
    noise, samples, phase = random.Random(seed), [], 0.0
    for index in range(seconds * RATE):
        t = index / RATE
        f = pitch * (1 + 0.08 * math.sin(8.2 * t + seed) + 0.02 * math.sin(31 * t))
        phase += f / RATE
        syllable = 0.15 + 0.85 * max(0.0, math.sin((19.5 + 1.9 * seed) * t + seed))
        value = 0.03 * noise.gauss(0, 1)
        for harmonic in range(1, 13):
            low = math.exp(-(((harmonic * f - 600 - 200 * math.sin(2.2 * t + seed)) / 350) ** 2))
            high = math.exp(-(((harmonic * f - 1500 - 300 * math.sin(1.7 * t)) / 400) ** 2))
            value += (low + 0.6 * high + 0.05) * math.sin(2 * math.pi * harmonic * phase)
        samples.append(max(-32_000, min(32_000, 5000 * syllable * value)))
    return samples


def roughest(samples):
    return max(1, max(abs(samples[i] - 2 * samples[i - 1] + samples[i - 2]) for i in range(2, len(samples))))


def loudest(samples):
    return max(1, max(abs(sample) for sample in samples))


def db(ratio):
    return 20 * math.log10(ratio)


def main():
    sounds = {"one voice": voice(1, 115, 3), "other voice": voice(2, 205, 3), "silence": [0.0] * 3 * RATE}
    changes = (("one voice", "other voice"), ("silence", "other voice"), ("one voice", "silence"))
    heard = False
    for bitrate in BITRATES:
        packets = {name: encode(samples, bitrate) for name, samples in sounds.items()}
        for before, after in changes:
            old, new = packets[before], packets[after]
            for way in ("as it is", "decoder anew", "packet lost"):
                rough, peak = [], []
                for change in range(40, 110, 3):
                    at = change * FRAME
                    between = [None] if way == "packet lost" else []
                    joined = old[:change] + between + new[change : change + 12]
                    got = decode(joined, reset_at=change if way == "decoder anew" else None)[at - 240 : at + 2880]
                    own, ended = decode(new[: change + 12]), decode(old[: change + 1])
                    usual = max(roughest(own[at - 4800 : at + 9600]), roughest(ended[at - 9600 :]))
                    rough.append(db(roughest(got) / usual))
                    peak.append(db(loudest(got) / max(loudest(own[at : at + 2880]), loudest(ended[at - FRAME :]))))
                rough.sort()
                print(
                    f"{bitrate} bit/s, {before} to {after}, {way}: roughness median {rough[len(rough) // 2]:+.1f} dB, "
                    f"worst {rough[-1]:+.1f} dB; peak worst {max(peak):+.1f} dB",
                    flush=True,
                )
                heard |= way == "as it is" and (rough[-1] > LIMIT_DB or max(peak) > LIMIT_DB)
    sys.exit(1 if heard else 0)


main()
