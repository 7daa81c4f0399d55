// The elements that play, held to one clock: the mixed sound leads; without it the clock on the wall does, and each voice follows.
import { onScopeDispose, ref, shallowRef, watch, type InjectionKey, type Ref, type ShallowRef } from 'vue';

import type { ReplayApi } from './api';
import { pausesOf } from './engine/chapters';
import { fileTime, isOnAir, opensAt, type Manifest, type Mix, type Track } from './engine/manifest';
import { pace } from './engine/pace';
import { Transport, type Lead } from './engine/transport';

const TICK_MS = 100;
/** A live file is opened anew to see its new end, but not more often than this. */
const REOPEN_MS = 4_000;
/** A file that cannot be read where it is played is tried again so often: it goes on from the first keyframe behind the damage. */
const RETRY_MS = 4_000;
/** So long the sound waits for the pictures after a seek: they need not run after it then. Who takes longer is left behind, and follows. */
const SETTLE_MS = 1_000;
/** Short of the live end: what is written last may not be whole yet. */
const LIVE_BEHIND_MS = 4_000;

/** Why a file cannot be played. */
export type Trouble = 'damaged' | 'unreachable';

/** What plays the recording. */
export interface Player {
  readonly positionMs: Ref<number>;
  readonly durationMs: Ref<number>;
  readonly playing: Ref<boolean>;
  /** Whether the sound has to load before it goes on. */
  readonly waiting: Ref<boolean>;
  readonly speed: Ref<number>;
  /** `0..1`. */
  readonly volume: Ref<number>;
  readonly muted: Ref<boolean>;
  readonly manifest: ShallowRef<Manifest>;
  /** Files that cannot be played where the clock is, and why. */
  readonly broken: Ref<ReadonlyMap<string, Trouble>>;
  /** Whether voices are played one by one because the mixed sound cannot be. */
  readonly soundBroken: Ref<boolean>;
  readonly toggle: () => void;
  readonly seek: (ms: number) => void;
  readonly toLive: () => void;
  /** Lets an element follow the clock with a track, until the answer is called. */
  readonly follow: (element: HTMLMediaElement, track: Track) => () => void;
}

export const PLAYER_KEY: InjectionKey<Player> = Symbol('player');

interface Follower {
  element: HTMLMediaElement;
  track: Track;
  /** When it last jumped, and was last opened. */
  jumpedAt: number;
  openedAt: number;
  openedBytes: number;
}

/** Plays `manifest` until the scope ends. */
export function createPlayer(api: ReplayApi, manifest: ShallowRef<Manifest>, startMs: number | undefined): Player {
  const transport = new Transport();
  const positionMs = ref(0);
  const durationMs = ref(0);
  const playing = ref(false);
  const waiting = ref(false);
  const speed = ref(1);
  const volume = ref(1);
  const muted = ref(false);
  const broken = shallowRef<ReadonlyMap<string, Trouble>>(new Map());
  const followers = new Set<Follower>();
  const voices = new Map<string, { element: HTMLAudioElement; stop: () => void }>();
  let soughtAt = Number.NEGATIVE_INFINITY;
  const isLive = () => manifest.value.state === 'live';

  const sound = new Audio();
  sound.preload = 'auto';
  let soundFile: string | undefined;
  let soundBytes = 0;
  let soundOpenedAt = 0;
  /** The mix cannot be played: voices play one by one. */
  const soundBroken = ref(false);
  sound.addEventListener('error', () => (soundBroken.value = soundFile !== undefined));

  function openSound(mix: Mix, now: number): void {
    soundFile = mix.file;
    soundBytes = mix.bytes;
    soundOpenedAt = now;
    sound.src = api.fileUrl(mix.file);
    placeSound();
  }

  function placeSound(): void {
    const { mix } = manifest.value;
    if (mix) sound.currentTime = Math.max(0, (transport.positionMs - mix.offsetMs) / 1_000);
  }

  /** What leads the clock now. */
  function lead(now: number): Lead {
    const { mix } = manifest.value;
    if (!mix || soundBroken.value) return 'wall';
    if (soundFile !== mix.file) openSound(mix, now);
    if (!isOnAir(mix, transport.positionMs)) {
      if (!sound.paused) sound.pause();
      return 'wall';
    }
    const grown = mix.bytes > soundBytes && now - soundOpenedAt > REOPEN_MS;
    // The file ends before the manifest says so, or could be read no further when it was opened.
    if (sound.ended || (sound.readyState < HTMLMediaElement.HAVE_FUTURE_DATA && grown)) {
      if (!grown) return sound.ended && !isLive() ? 'wall' : 'stalled';
      openSound(mix, now);
    }
    if (transport.playing && sound.paused && !sound.ended) {
      // It was outside of the sound until now.
      if (Math.abs(mix.offsetMs + sound.currentTime * 1_000 - transport.positionMs) > 300) placeSound();
      sound.play().catch((error: unknown) => {
        // The browser wants a click first.
        if (error instanceof DOMException && error.name === 'NotAllowedError') pause();
      });
    }
    if (sound.seeking || sound.readyState < HTMLMediaElement.HAVE_FUTURE_DATA) return 'stalled';
    return mix.offsetMs + sound.currentTime * 1_000;
  }

  function step(follower: Follower, now: number): void {
    const { element } = follower;
    // The manifest may have come anew since.
    const track = manifest.value.tracks.find(({ file }) => file === follower.track.file) ?? follower.track;
    if (!isOnAir(track, transport.positionMs)) {
      if (!element.paused) element.pause();
      return;
    }
    const targetMs = fileTime(track, transport.positionMs);
    const short = element.ended || element.error !== null || targetMs > element.duration * 1_000 + 200;
    if (short && track.bytes > follower.openedBytes && now - follower.openedAt > REOPEN_MS) open(follower, track, now);
    else if (element.error && now - follower.openedAt > RETRY_MS) open(follower, track, now);
    const goes = transport.playing && !waiting.value;
    if (goes && element.paused && !element.ended) void element.play().catch(() => undefined);
    else if (!goes && !element.paused) element.pause();
    if (element.seeking || element.readyState < HTMLMediaElement.HAVE_METADATA) return;
    const next = pace({
      targetMs,
      actualMs: element.currentTime * 1_000,
      playing: goes,
      speed: transport.speed,
      sinceJumpMs: now - follower.jumpedAt,
    });
    if (next.kind === 'rate') {
      if (Math.abs(element.playbackRate - next.rate) > 0.001) element.playbackRate = next.rate;
    } else {
      follower.jumpedAt = now;
      element.currentTime = next.toMs / 1_000;
    }
  }

  /** Takes a picture to the clock's place at once, if it can. */
  function place(follower: Follower, now: number): void {
    const { element, track } = follower;
    if (element.error) open(follower, track, now);
    const can = element.readyState >= HTMLMediaElement.HAVE_METADATA && isOnAir(track, transport.positionMs);
    if (can) element.currentTime = fileTime(track, transport.positionMs) / 1_000;
    // Else it may jump as soon as it is there.
    follower.jumpedAt = can ? now : 0;
  }

  /** Whether pictures are still on their way to the place of the last seek. */
  function isSettling(now: number): boolean {
    if (now - soughtAt > SETTLE_MS) return false;
    return [...followers].some(({ element, track }) => element.seeking && isOnAir(track, transport.positionMs));
  }

  function open(follower: Follower, track: Track, now: number): void {
    follower.openedBytes = track.bytes;
    follower.openedAt = now;
    follower.element.src = api.fileUrl(track.file);
    follower.element.currentTime = fileTime(track, transport.positionMs) / 1_000;
  }

  function follow(element: HTMLMediaElement, track: Track): () => void {
    const follower: Follower = { element, track, jumpedAt: 0, openedAt: 0, openedBytes: 0 };
    const failed = () => {
      // A file that still grows is not whole at its end, and is opened again.
      if (isLive()) return;
      void api.gives(track.file).then((gives) => {
        if (element.error) mark(track.file, gives ? 'damaged' : 'unreachable');
      });
    };
    const plays = () => mark(track.file, undefined);
    element.preload = 'auto';
    element.preservesPitch = true;
    open(follower, track, performance.now());
    followers.add(follower);
    element.addEventListener('seeked', arrived);
    element.addEventListener('error', failed);
    element.addEventListener('canplay', plays);
    return () => {
      followers.delete(follower);
      element.removeEventListener('error', failed);
      element.removeEventListener('canplay', plays);
      mark(track.file, undefined);
      element.removeEventListener('seeked', arrived);
      element.pause();
      // Gives its decoder and its connection back at once.
      element.removeAttribute('src');
      element.load();
    };
  }

  function mark(file: string, trouble: Trouble | undefined): void {
    if (broken.value.get(file) === trouble) return;
    const next = new Map(broken.value);
    if (trouble) next.set(file, trouble);
    else next.delete(file);
    broken.value = next;
  }

  /** Without a mix each voice that is on air has an element of its own. */
  function tendVoices(): void {
    const alone = !manifest.value.mix || soundBroken.value;
    const wanted = new Map(
      (alone ? manifest.value.tracks : [])
        .filter(({ source }) => source === 'microphone' || source === 'screen-audio')
        .filter((track) => isOnAir(track, transport.positionMs))
        .map((track) => [track.file, track]),
    );
    for (const [file, { stop }] of voices) {
      if (wanted.has(file)) continue;
      stop();
      voices.delete(file);
    }
    for (const [file, track] of wanted) {
      if (voices.has(file)) continue;
      const element = new Audio();
      element.volume = volume.value;
      element.muted = muted.value;
      voices.set(file, { element, stop: follow(element, track) });
    }
  }

  function tick(): void {
    const now = performance.now();
    tendVoices();
    const settles = transport.playing && isSettling(now);
    if (settles) sound.pause();
    const leads = settles ? 'stalled' : lead(now);
    waiting.value = transport.playing && leads === 'stalled';
    if (transport.tick(now, leads)) placeSound();
    if (!transport.playing && !sound.paused) sound.pause();
    for (const follower of followers) step(follower, now);
    positionMs.value = transport.positionMs;
    playing.value = transport.playing;
  }

  /** A picture has come to its place: the last one lets the sound go on. */
  function arrived(): void {
    if (performance.now() - soughtAt <= SETTLE_MS) tick();
  }

  function pause(): void {
    transport.pause();
    tick();
  }

  function seek(ms: number): void {
    transport.seek(ms);
    if (soundBroken.value) {
      // It may be whole there.
      soundBroken.value = false;
      soundFile = undefined;
    }
    placeSound();
    soughtAt = performance.now();
    for (const follower of followers) place(follower, soughtAt);
    tick();
  }

  function toggle(): void {
    if (transport.playing) {
      pause();
      return;
    }
    const before = transport.positionMs;
    transport.play();
    if (transport.positionMs !== before) placeSound();
    tick();
  }

  watch(
    manifest,
    (now) => {
      durationMs.value = now.durationMs;
      transport.extend(now.durationMs, pausesOf(now.pauses, now.durationMs), now.state === 'live');
    },
    { immediate: true },
  );
  watch(
    [speed, volume, muted],
    () => {
      transport.setSpeed(speed.value);
      for (const element of [sound, ...[...voices.values()].map((voice) => voice.element)]) {
        element.volume = volume.value;
        element.muted = muted.value;
      }
      sound.preservesPitch = true;
      sound.defaultPlaybackRate = speed.value;
      sound.playbackRate = speed.value;
    },
    { immediate: true },
  );
  // From the beginning a pause is skipped too.
  seek(startMs ?? opensAt(manifest.value));
  const timer = setInterval(tick, TICK_MS);
  onScopeDispose(() => {
    clearInterval(timer);
    soundFile = undefined;
    sound.pause();
    sound.removeAttribute('src');
    sound.load();
    for (const { stop } of voices.values()) stop();
  });

  return {
    positionMs,
    durationMs,
    playing,
    waiting,
    speed,
    volume,
    muted,
    manifest,
    broken,
    soundBroken,
    toggle,
    seek,
    toLive: () => {
      seek(durationMs.value - LIVE_BEHIND_MS);
      if (!transport.playing) toggle();
    },
    follow,
  };
}
