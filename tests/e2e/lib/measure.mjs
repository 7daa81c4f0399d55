// What the browser's own figures (lab.measure) say about a picture or a voice over time.

const of = (samples, participant, source) =>
  samples.flatMap(({ at, streams }) =>
    streams
      .filter((stream) => stream.participant === participant && stream.source === source)
      .map((stream) => ({ at, ...stream })),
  );

/** The samples of one received picture. */
export const picture = (samples, participant, source = 'camera') => of(samples, participant, source);

/** The samples of one received voice. */
export const sound = (samples, participant) => of(samples, participant, 'microphone');

const ends = (samples) => {
  if (samples.length < 2) throw new Error(`${samples.length} samples are too few`);
  const [first, last] = [samples[0], samples.at(-1)];
  return { first, last, seconds: (last.at - first.at) / 1000 };
};

/** Bit/s received. */
export function bitsPerSecond(samples) {
  const { first, last, seconds } = ends(samples);
  return Math.round(((last.bytesReceived - first.bytesReceived) * 8) / seconds);
}

export function framesPerSecond(samples) {
  const { first, last, seconds } = ends(samples);
  return (last.framesDecoded - first.framesDecoded) / seconds;
}

/**
 * Freezes, as W3C webrtc-stats counts them: a frame that stays for max(3d, d + 150 ms) or longer, d the mean of the last 30. `share` of
 * the time; the longest in milliseconds, a picture that stands still at the end included.
 */
export function freezes(samples) {
  const { first, last, seconds } = ends(samples);
  const total = last.totalFreezesDuration - first.totalFreezesDuration;
  let longest = 0;
  for (let i = 1; i < samples.length; i += 1)
    longest = Math.max(longest, samples[i].totalFreezesDuration - samples[i - 1].totalFreezesDuration);
  const moved = samples.findLast((sample) => sample.framesDecoded < last.framesDecoded) ?? first;
  const still = (last.at - moved.at) / 1000;
  const standing = still >= 0.5 ? still : 0;
  return {
    count: last.freezeCount - first.freezeCount + (standing ? 1 : 0),
    share: (total + standing) / seconds,
    longestMs: Math.round(Math.max(longest, standing) * 1000),
  };
}

/** The longest time in which no new picture was decoded, as the browser's own word for freezes comes when they have ended. */
export function stillMs(samples) {
  let [longest, since] = [0, samples[0].at];
  for (let i = 1; i < samples.length; i += 1) {
    longest = Math.max(longest, samples[i].at - since);
    // Fewer: a new connection, which counts from nothing.
    if (samples[i].framesDecoded !== samples[i - 1].framesDecoded) since = samples[i].at;
  }
  return Math.round(longest);
}

/** The longest stretch, in milliseconds, over which sound was made up because it had not come (webrtc-stats, concealedSamples). */
export function soundGapMs(samples) {
  let [longest, run] = [0, 0];
  for (let i = 1; i < samples.length; i += 1) {
    const concealed = samples[i].concealedSamples - samples[i - 1].concealedSamples;
    run = concealed > 0 ? run + concealed : 0;
    longest = Math.max(longest, run);
  }
  return Math.round(longest / 48);
}

/** `[{at, width}]`: when the size of the picture changed, the first included. */
export function sizes(samples) {
  const changes = [];
  for (const { at, frameWidth: width } of samples) {
    if (width && changes.at(-1)?.width !== width) changes.push({ at, width });
  }
  return changes;
}
