// What a participant sends in the lab: a picture in one colour and a tone of one frequency, so that whoever receives them
// can tell whose they are.

let context;

/** One AudioContext a page is enough, and browsers limit their number. */
export function audioContext() {
  context ??= new AudioContext();
  if (context.state === 'suspended') void context.resume();
  return context;
}

/** A camera: `colour` is [r, g, b]; a small bar moves, so that every frame is a new one. */
export function paint({ colour, width = 320, height = 180, framesPerSecond = 15 }) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext('2d', { alpha: false });
  let frame = 0;
  const draw = () => {
    pen.fillStyle = `rgb(${colour.join(',')})`;
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = frame % 2 ? '#fff' : '#000';
    pen.fillRect((frame * 4) % width, 0, 8, height / 10);
    frame += 1;
  };
  draw();
  const timer = setInterval(draw, 1000 / framesPerSecond);
  const stream = canvas.captureStream(framesPerSecond);
  const track = stream.getVideoTracks()[0];
  track.addEventListener('ended', () => clearInterval(timer));
  return track;
}

/** A microphone that hears one tone. */
export function tone({ frequency, gain = 0.3, speaks = false }) {
  const audio = audioContext();
  const oscillator = audio.createOscillator();
  oscillator.frequency.value = frequency;
  const volume = audio.createGain();
  volume.gain.value = gain;
  if (speaks) {
    // By 10 dB each second, as a voice does: what keeps its level is taken for a noise after some seconds.
    volume.gain.value = gain * 0.65;
    const swing = audio.createOscillator();
    swing.frequency.value = 1;
    const depth = audio.createGain();
    depth.gain.value = gain * 0.35;
    swing.connect(depth).connect(volume.gain);
    swing.start();
  }
  const destination = audio.createMediaStreamDestination();
  oscillator.connect(volume).connect(destination);
  oscillator.start();
  return destination.stream.getAudioTracks()[0];
}

/** Listens to streams: how loud, and at which frequency the most. */
export class Ear {
  #audio = audioContext();
  #analyser = this.#audio.createAnalyser();
  #streams = new Map();

  constructor() {
    this.#analyser.fftSize = 4096;
    this.#analyser.smoothingTimeConstant = 0;
  }

  hear(stream) {
    if (this.#streams.has(stream) || stream.getAudioTracks().length === 0) return;
    // Chromium decodes a remote stream only when an element plays it, too.
    const element = document.createElement('audio');
    element.srcObject = stream;
    element.muted = true;
    void element.play().catch(() => {});
    const source = this.#audio.createMediaStreamSource(stream);
    source.connect(this.#analyser);
    this.#streams.set(stream, { element, source });
  }

  /** {rms: 0..1, peaks: frequencies in Hz that stand out, loudest first}. */
  listen() {
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#analyser.getFloatTimeDomainData(samples);
    const rms = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    const spectrum = new Float32Array(this.#analyser.frequencyBinCount);
    this.#analyser.getFloatFrequencyData(spectrum);
    const width = this.#audio.sampleRate / this.#analyser.fftSize;
    const peaks = [];
    for (let i = 2; i < spectrum.length - 2; i += 1) {
      const here = spectrum[i];
      if (
        here > -50 &&
        here >= spectrum[i - 1] &&
        here > spectrum[i + 1] &&
        here > spectrum[i - 2] &&
        here > spectrum[i + 2]
      ) {
        peaks.push({ frequency: i * width, level: here });
      }
    }
    peaks.sort((a, b) => b.level - a.level);
    return { rms, peaks: peaks.slice(0, 6).map((peak) => Math.round(peak.frequency)) };
  }
}

/** Looks at a stream: colour in the middle, frames, and the longest pause between two frames. */
export class Eye {
  #canvas = document.createElement('canvas');
  frames = 0;
  firstFrameAt;
  longestGapMs = 0;
  #last;

  constructor(stream) {
    this.video = document.createElement('video');
    this.video.muted = true;
    this.video.autoplay = true;
    this.video.playsInline = true;
    document.body.append(this.video);
    this.#canvas.width = 4;
    this.#canvas.height = 4;
    this.look(stream);
    const count = () => {
      const now = performance.now();
      this.frames += 1;
      this.firstFrameAt ??= now;
      if (this.#last !== undefined) this.longestGapMs = Math.max(this.longestGapMs, now - this.#last);
      this.#last = now;
      this.video.requestVideoFrameCallback(count);
    };
    this.video.requestVideoFrameCallback(count);
  }

  look(stream) {
    if (this.video.srcObject !== stream) {
      this.video.srcObject = stream;
      void this.video.play().catch(() => {});
    }
  }

  /** From now on `longestGapMs` counts anew, the pause that lasts now included. */
  resetGap() {
    this.longestGapMs = 0;
    this.#last = performance.now();
  }

  get gapMs() {
    return Math.max(this.longestGapMs, this.#last === undefined ? 0 : performance.now() - this.#last);
  }

  colour() {
    if (this.video.videoWidth === 0) return undefined;
    const pen = this.#canvas.getContext('2d', { willReadFrequently: true });
    const { videoWidth: width, videoHeight: height } = this.video;
    pen.drawImage(this.video, width * 0.3, height * 0.4, width * 0.4, height * 0.4, 0, 0, 4, 4);
    const pixels = pen.getImageData(0, 0, 4, 4).data;
    const sum = [0, 0, 0];
    for (let i = 0; i < pixels.length; i += 4) for (let c = 0; c < 3; c += 1) sum[c] += pixels[i + c];
    return sum.map((value) => Math.round(value / 16));
  }

  close() {
    this.video.srcObject = null;
    this.video.remove();
  }
}
