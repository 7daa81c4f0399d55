"""A publisher (WHIP) or player (WHEP) on GStreamer's webrtcbin, for the system's Python: tells what it sees and hears (figures.py).

Debian 12 has no whipclientsink and no whepsrc; the exchange of offer and answer is the one of RFC 9725.
"""

import array
import base64
import ctypes
import hashlib
import json
import re
import subprocess
import sys
import threading
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

from figures import RATE, Picture, Sound, painted, tell, tone, when_input_ends  # noqa: E402

WIDTH, HEIGHT, FRAMES_PER_SECOND = 320, 180, 15
VP8 = "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96"
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=97"

PUBLISH = f"""
webrtcbin name=peer bundle-policy=max-bundle
appsrc name=camera is-live=true format=time
    caps=video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={FRAMES_PER_SECOND}/1
  ! videoconvert ! vp8enc deadline=1 cpu-used=8 target-bitrate=500000 keyframe-max-dist=3000
  ! rtpvp8pay picture-id-mode=2 ! {VP8} ! queue ! peer.
appsrc name=microphone is-live=true format=time caps=audio/x-raw,format=S16LE,rate={RATE},channels=1,layout=interleaved
  ! audioconvert ! opusenc ! rtpopuspay ! {OPUS} ! queue ! peer.
"""
# What comes, by its media: how it becomes pictures and samples.
PLAY = {
    "video": "rtpvp8depay ! vp8dec ! videoconvert ! video/x-raw,format=RGB ! appsink name=sink emit-signals=true sync=false",
    "audio": "rtpopusdepay ! opusdec ! audioconvert ! audioresample"
    f" ! audio/x-raw,format=S16LE,rate={RATE},channels=1 ! appsink name=sink emit-signals=true sync=false",
}


def certificate():
    """A key on P-256 and a certificate for it, as PEM."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=gstreamer -keyout - -out -"
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def fingerprint(pem):
    """Of the certificate, as in SDP (RFC 8122)."""
    body = re.search("BEGIN CERTIFICATE-----(.*?)-----END", pem, re.DOTALL).group(1)
    return hashlib.sha256(base64.b64decode(body)).digest().hex(":").upper()


class Client:
    def __init__(self, url, token, mode, colour, frequency):
        self.url, self.token, self.mode = url, token, mode
        self.picture, self.sound = Picture(), Sound()
        self.certificate = certificate()
        self.location = None
        self.failure = None
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(PUBLISH if mode == "whip" else "webrtcbin name=peer bundle-policy=max-bundle")
        # In a pipeline that parse_launch made of one element, that element is all there is.
        if not isinstance(self.pipeline, Gst.Pipeline):
            peer, self.pipeline = self.pipeline, Gst.Pipeline()
            self.pipeline.add(peer)
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("deep-element-added", self.certify)
        # libnice leaves out the loopback address, and the tests use no other. Python takes for its own the reference that webrtcbin
        # has, for the agent floats (1.22); so webrtcbin is given another.
        agent = self.peer.get_property("ice-agent")
        ctypes.CDLL("libgobject-2.0.so.0").g_object_ref(ctypes.c_void_p(hash(agent)))
        agent.emit("add-local-ip-address", "127.0.0.1")
        self.peer.connect("on-negotiation-needed", self.negotiate)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("pad-added", self.receive)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _bus, message: self.fail("{} {}".format(*message.parse_error())))
        if mode == "whip":
            self.feed(self.pipeline.get_by_name("camera"), self.next_picture(colour), Gst.SECOND // FRAMES_PER_SECOND)
            self.feed(self.pipeline.get_by_name("microphone"), self.next_sound(frequency), Gst.SECOND // 50)
        else:
            for caps in (OPUS, VP8):
                direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
                transceiver = self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
                # Lost packets are asked for again.
                transceiver.set_property("do-nack", True)

    def certify(self, _peer, _bin, element):
        """GStreamer makes itself an RSA certificate, and the server takes ECDSA alone (which RFC 8827, 6.5, wants of everybody)."""
        if element.__gtype__.name == "GstDtlsSrtpDec":
            element.set_property("pem", self.certificate)

    @staticmethod
    def next_picture(colour):
        number = 0
        while True:
            yield painted(colour, WIDTH, HEIGHT, number)
            number += 1

    @staticmethod
    def next_sound(frequency):
        sample = 0
        while True:
            yield tone(frequency, sample, RATE // 50).tobytes()
            sample += RATE // 50

    def feed(self, source, buffers, duration):
        """Gives the source a buffer each `duration`, by the pipeline's clock."""
        pushed = 0

        def push():
            nonlocal pushed
            clock = self.pipeline.get_clock()
            if clock is not None:
                now = clock.get_time() - self.pipeline.get_base_time()
                while pushed * duration <= now:
                    buffer = Gst.Buffer.new_wrapped(next(buffers))
                    buffer.pts, buffer.duration = pushed * duration, duration
                    source.emit("push-buffer", buffer)
                    pushed += 1
            return True

        GLib.timeout_add(duration // Gst.MSECOND // 2, push)

    def fail(self, why):
        self.failure = why
        self.loop.quit()

    def negotiate(self, peer):
        promise = Gst.Promise.new_with_change_func(self.offered)
        peer.emit("create-offer", None, promise)

    def offered(self, promise):
        promise.wait()
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(self, peer, _property):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE and not self.location:
            threading.Thread(target=self.exchange, daemon=True).start()

    def request(self, method, url, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/sdp"}
        request = urllib.request.Request(url, body, headers, method=method)
        return urllib.request.urlopen(request, timeout=10)

    def exchange(self):
        try:
            offer = self.peer.get_property("local-description").sdp.as_text()
            # Of the PEM it was given webrtcbin has made a fingerprint over the certificate and the key (1.22).
            offer = re.sub(r"(a=fingerprint:sha-256) \S+", rf"\1 {fingerprint(self.certificate)}", offer)
            with self.request("POST", self.url, offer.encode()) as response:
                self.location = urllib.parse.urljoin(self.url, response.headers["Location"])
                answer = response.read().decode()
            result, message = GstSdp.SDPMessage.new_from_text(answer)
            assert result == GstSdp.SDPResult.OK, answer
            description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
            self.peer.emit("set-remote-description", description, Gst.Promise.new())
        except Exception as error:
            GLib.idle_add(self.fail, repr(error))

    def receive(self, _peer, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        kind = pad.get_current_caps().get_structure(0).get_string("media")
        branch = Gst.parse_bin_from_description(PLAY[kind], True)
        sink = branch.get_by_name("sink")
        sink.connect("new-sample", self.look if kind == "video" else self.listen)
        self.pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))

    def look(self, sink):
        sample = sink.emit("pull-sample")
        shape = sample.get_caps().get_structure(0)
        width, height = shape.get_value("width"), shape.get_value("height")
        rgb = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        # Rows of raw video end at multiples of four bytes.
        self.picture.see(width, height, rgb, (3 * width + 3) // 4 * 4)
        return Gst.FlowReturn.OK

    def listen(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        self.sound.hear(array.array("h", buffer.extract_dup(0, buffer.get_size())))
        return Gst.FlowReturn.OK

    def report(self):
        state = self.peer.get_property("connection-state").value_nick
        tell({"state": state, "picture": self.picture.report(), "sound": self.sound.report()})
        return True

    def run(self):
        when_input_ends(lambda: GLib.idle_add(self.loop.quit))
        GLib.timeout_add(100, self.report)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.failure:
            sys.exit(self.failure)
        if self.location:
            with self.request("DELETE", self.location):
                pass
        self.pipeline.set_state(Gst.State.NULL)


Gst.init(None)
Client(**json.loads(sys.argv[1])).run()
