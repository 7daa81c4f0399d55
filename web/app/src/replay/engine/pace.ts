// Keeps a picture with the clock: a little faster or slower for small errors, a jump for large ones.

/** Nobody sees less than this. */
const FINE_MS = 20;
/** Beyond this a jump is quicker than catching up. */
const JUMP_MS = 250;
/** More than this is seen in movement and heard in voices. */
const MOST_NUDGE = 0.05;
/** An error is worked off in about this time. */
const WORK_OFF_MS = 2_000;
/** A decoder that cannot keep up would do nothing but jump. */
const BETWEEN_JUMPS_MS = 1_500;
/** A picture that stands: one frame of 25 a second. */
const STANDING_MS = 40;

/** How a picture stands. */
export interface PaceInput {
  /** Where it should be, in its file. */
  targetMs: number;
  /** Where it is. */
  actualMs: number;
  playing: boolean;
  /** 1 is as it was. */
  speed: number;
  /** Since it last jumped. */
  sinceJumpMs: number;
}

/** What to do with a picture. */
export type Pace = { kind: 'rate'; rate: number } | { kind: 'jump'; toMs: number };

/** The correction for one picture. */
export function pace({ targetMs, actualMs, playing, speed, sinceJumpMs }: PaceInput): Pace {
  const error = targetMs - actualMs;
  const size = Math.abs(error);
  if (!playing) return size > STANDING_MS ? { kind: 'jump', toMs: targetMs } : { kind: 'rate', rate: speed };
  // At triple speed the same lag in time on the wall is three times as much in the file.
  const scale = Math.max(1, speed);
  if (size > JUMP_MS * scale && sinceJumpMs >= BETWEEN_JUMPS_MS) return { kind: 'jump', toMs: targetMs };
  if (size < FINE_MS * scale) return { kind: 'rate', rate: speed };
  const nudge = Math.max(-MOST_NUDGE, Math.min(MOST_NUDGE, error / WORK_OFF_MS));
  return { kind: 'rate', rate: speed * (1 + nudge) };
}
