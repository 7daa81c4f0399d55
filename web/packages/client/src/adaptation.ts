import type {
  LessonEvent,
  ParticipantQuality,
  PictureSource,
  Quality,
  ReceivedPicture,
  Trouble,
  Usage,
  ViewPicture,
} from './protocol.js';

const FULL = 'full';

/**
 * What the server has said of pictures, connections and the own use. What was not said is well: a picture is full, a connection good,
 * and nobody has trouble. Each method that changes something gives what has changed.
 */
export class Adaptation {
  readonly #pictures = new Map<string, ReceivedPicture>();
  readonly #qualities = new Map<string, ParticipantQuality>();
  usage: Usage | undefined;

  picture(participant: string, source: PictureSource): ReceivedPicture {
    return this.#pictures.get(keyOf(participant, source)) ?? { participant, source, shown: FULL };
  }

  quality(participant: string): Quality | undefined {
    return this.#qualities.get(participant)?.quality;
  }

  trouble(participant: string): readonly Trouble[] {
    return this.#qualities.get(participant)?.trouble ?? [];
  }

  /** All who have trouble. */
  get troubled(): ParticipantQuality[] {
    return [...this.#qualities.values()].filter(({ trouble }) => trouble?.length);
  }

  takePictures(pictures: readonly ReceivedPicture[]): void {
    for (const picture of pictures) this.#pictures.set(keyOf(picture.participant, picture.source), picture);
  }

  takeQualities(participants: readonly ParticipantQuality[]): void {
    for (const entry of participants) this.#qualities.set(entry.participant, entry);
  }

  /** What is no longer shown is full when it comes back, until told otherwise. */
  keepPictures(view: readonly ViewPicture[]): ReceivedPicture[] {
    const kept = new Set(view.map(({ participant, source }) => keyOf(participant, source)));
    return this.#forgetPictures((key) => !kept.has(key));
  }

  /** Who comes and goes begins anew. */
  follow(events: readonly LessonEvent[]): ParticipantQuality[] {
    const changed = events.flatMap((event) =>
      event.kind === 'joined' || event.kind === 'left' ? [event.participant] : [],
    );
    return this.#forgetQualities((participant) => changed.includes(participant));
  }

  /** A join or a resume: the server says anew what is not well. */
  reset(): { pictures: ReceivedPicture[]; qualities: ParticipantQuality[] } {
    return { pictures: this.#forgetPictures(() => true), qualities: this.#forgetQualities(() => true) };
  }

  /** Others' trouble is for teachers and assistants; whoever no longer is one forgets it. */
  keepOwnTrouble(self: string | undefined): ParticipantQuality[] {
    const others = this.troubled.filter(({ participant }) => participant !== self);
    const changed = others.map(({ participant, quality }) => ({ participant, quality }));
    this.takeQualities(changed);
    return changed;
  }

  #forgetPictures(isForgotten: (key: string) => boolean): ReceivedPicture[] {
    const forgotten = [...this.#pictures].filter(([key]) => isForgotten(key));
    for (const [key] of forgotten) this.#pictures.delete(key);
    const reduced = forgotten.filter(([, { shown }]) => shown !== FULL);
    return reduced.map(([, { participant, source }]) => ({ participant, source, shown: FULL }));
  }

  #forgetQualities(isForgotten: (participant: string) => boolean): ParticipantQuality[] {
    const forgotten = [...this.#qualities.values()].filter(({ participant }) => isForgotten(participant));
    for (const { participant } of forgotten) this.#qualities.delete(participant);
    const bad = forgotten.filter(({ quality, trouble }) => quality !== 'good' || trouble?.length);
    return bad.map(({ participant }) => ({ participant, quality: 'good' }));
  }
}

function keyOf(participant: string, source: string): string {
  return `${source} ${participant}`;
}
