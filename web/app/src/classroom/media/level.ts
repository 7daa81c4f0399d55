// How loud a microphone is, for the meter: real samples, smoothed the way an eye expects.
import { onScopeDispose, ref, watchEffect, type Ref } from 'vue';

/** Quieter than this is shown as nothing, in dBFS. */
const FLOOR_DB = -60;
/** Speech close to a microphone reaches this, in dBFS. */
const CEILING_DB = -12;
const EVERY_MS = 50;
/** Share of the old value that stays at each step when it gets quieter; louder is shown at once. */
const DECAY = 0.82;
/** A speaker that has not begun to play by then does not work. */
const TONE_WITHIN_MS = 2_000;

/** `0..1` for the samples of one moment. */
export function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / Math.max(1, samples.length) + 1e-12);
  return Math.min(1, Math.max(0, (decibels - FLOOR_DB) / (CEILING_DB - FLOOR_DB)));
}

/** The level of the stream that `source` gives, `0..1`; 0 while there is none. */
export function useLevel(source: () => MediaStream | undefined): Ref<number> {
  const level = ref(0);
  let context: AudioContext | undefined;

  const wake = () => void context?.resume().catch(() => undefined);
  window.addEventListener('pointerdown', wake);
  window.addEventListener('keydown', wake);

  watchEffect((onCleanup) => {
    const stream = source();
    level.value = 0;
    if (!stream || stream.getAudioTracks().length === 0 || typeof AudioContext === 'undefined') return;
    context ??= new AudioContext();
    wake();
    const node = context.createMediaStreamSource(stream);
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    node.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const now = loudness(samples);
      level.value = now > level.value ? now : Math.max(now, level.value * DECAY);
    }, EVERY_MS);
    onCleanup(() => {
      clearInterval(timer);
      node.disconnect();
    });
  });

  onScopeDispose(() => {
    window.removeEventListener('pointerdown', wake);
    window.removeEventListener('keydown', wake);
    void context?.close().catch(() => undefined);
  });
  return level;
}

/** Plays a short two-tone sound on a speaker, so that people hear which one they have chosen. */
export async function playTestTone(speaker: string): Promise<void> {
  const context = new AudioContext();
  try {
    const output = context.createMediaStreamDestination();
    const gain = context.createGain();
    gain.connect(output);
    const audio = new Audio();
    audio.srcObject = output.stream;
    if (speaker !== '' && 'setSinkId' in audio) await audio.setSinkId(speaker);
    // Without a sound card some browsers never begin.
    await Promise.race([audio.play(), new Promise((_, reject) => setTimeout(reject, TONE_WITHIN_MS))]);
    const start = context.currentTime + 0.05;
    gain.gain.setValueAtTime(0, start);
    [523.25, 783.99].forEach((frequency, index) => {
      const from = start + index * 0.28;
      const tone = context.createOscillator();
      tone.frequency.value = frequency;
      tone.connect(gain);
      gain.gain.linearRampToValueAtTime(0.22, from + 0.03);
      gain.gain.linearRampToValueAtTime(0, from + 0.26);
      tone.start(from);
      tone.stop(from + 0.28);
    });
    await new Promise((done) => setTimeout(done, 800));
    audio.pause();
  } finally {
    await context.close();
  }
}
