// The wall of small pictures of a live room: asked for while somebody looks at it, kept while the server is away.
import type { Quality, Role, ThumbnailSource } from '@lectern/client';
import { onScopeDispose, ref, shallowRef, type Ref, type ShallowRef } from 'vue';

import { ApiError, type ApiProblem, type ConsoleApi, type ConsoleRoom, type ConsoleThumbnail } from './api';

/** A third of how long a look lasts on the server. */
const EVERY_MS = 5_000;
/** The first pictures come one by one: then it is asked more often, so many times. */
const FIRST_MS = 1_000;
const FIRST = 5;

/** A small picture that can be shown. */
export interface WallPicture extends ConsoleThumbnail {
  /** Of the browser's own, `blob:…`. */
  url: string;
}

/** One tile of the wall. */
export interface WallTile {
  key: string;
  identity: string;
  name: string;
  role: Role;
  source: ThumbnailSource;
  quality: Quality | undefined;
  /** Of the microphone; undefined for one that has none. */
  isMuted: boolean | undefined;
  picture: WallPicture | undefined;
  /** Whether there could be one. */
  isSent: boolean;
}

/** The wall. */
export interface Wall {
  /** By `participant/source`. */
  readonly pictures: ShallowRef<ReadonlyMap<string, WallPicture>>;
  /** Why the last question had no answer. */
  readonly problem: Ref<ApiProblem | undefined>;
  /** Nothing was answered yet. */
  readonly isLoading: Ref<boolean>;
}

/** How the browser holds pictures. */
export interface PicturePorts {
  /** Makes an address, when the picture can be shown at once. */
  make(picture: Blob): Promise<string>;
  free(url: string): void;
}

const keyOf = ({ participant, source }: Pick<ConsoleThumbnail, 'participant' | 'source'>) => `${participant}/${source}`;

/** The tiles of a room, in the order of its people; a shared screen stands before who shares it. */
export function tilesOf(room: ConsoleRoom, pictures: ReadonlyMap<string, WallPicture>): WallTile[] {
  const present = room.participants.filter((participant) => participant.present);
  return present.flatMap(({ identity, name, role, quality, tracks, muted }) => {
    const tile = (source: ThumbnailSource): WallTile => {
      const isSent = tracks.includes(source) && !muted.includes(source);
      const key = `${identity}/${source}`;
      return {
        key,
        identity,
        name,
        role,
        source,
        quality,
        isMuted: tracks.includes('microphone') ? muted.includes('microphone') : undefined,
        // What was switched off since is not shown until the next answer either.
        picture: isSent ? pictures.get(key) : undefined,
        isSent,
      };
    };
    return tracks.includes('screen') ? [tile('screen'), tile('camera')] : [tile('camera')];
  });
}

const BROWSER: PicturePorts = {
  async make(picture) {
    const url = URL.createObjectURL(picture);
    const image = new Image();
    image.src = url;
    try {
      // Decoded before it is shown: the one before stays until then, and nothing flickers.
      await image.decode();
      return url;
    } catch (error) {
      URL.revokeObjectURL(url);
      throw error;
    }
  },
  free: (url) => URL.revokeObjectURL(url),
};

/** Looks into a room until the scope ends, as long as the page is seen. */
export function useWall(api: () => ConsoleApi, room: string, ports: PicturePorts = BROWSER): Wall {
  const pictures = shallowRef<ReadonlyMap<string, WallPicture>>(new Map());
  const problem = ref<ApiProblem>();
  const isLoading = ref(true);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let round = 0;
  let answers = 0;

  /** The picture as it is, or fetched if it is another; nothing when it has been replaced meanwhile. */
  async function fetched(thumbnail: ConsoleThumbnail): Promise<WallPicture | undefined> {
    const before = pictures.value.get(keyOf(thumbnail));
    if (before?.id === thumbnail.id) return before;
    try {
      const url = await ports.make(await api().thumbnail(room, thumbnail.id));
      return { ...thumbnail, url };
    } catch {
      // The next one is there with the next answer.
      return before;
    }
  }

  function show(next: ReadonlyMap<string, WallPicture>): void {
    const kept = new Set([...next.values()].map(({ url }) => url));
    for (const { url } of pictures.value.values()) if (!kept.has(url)) ports.free(url);
    pictures.value = next;
  }

  async function look(): Promise<void> {
    clearTimeout(timer);
    const mine = ++round;
    try {
      const listed = await api().thumbnails(room);
      const found = await Promise.all(listed.map(fetched));
      const next = new Map(found.flatMap((picture) => (picture ? [[keyOf(picture), picture] as const] : [])));
      if (mine !== round) {
        const shown = new Set([...pictures.value.values()].map(({ url }) => url));
        for (const { url } of next.values()) if (!shown.has(url)) ports.free(url);
        return;
      }
      show(next);
      answers++;
      problem.value = undefined;
      isLoading.value = false;
    } catch (error) {
      if (mine !== round) return;
      problem.value = error instanceof ApiError ? error.problem : 'server';
      isLoading.value = false;
    }
    timer = setTimeout(() => void look(), answers < FIRST ? FIRST_MS : EVERY_MS);
  }

  // Nobody looks: nobody asks, and the people in the room are told so.
  const seen = () => {
    if (document.hidden) {
      round++;
      clearTimeout(timer);
    } else {
      answers = 0;
      void look();
    }
  };
  document.addEventListener('visibilitychange', seen);
  void look();
  onScopeDispose(() => {
    round++;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', seen);
    show(new Map());
  });
  return { pictures, problem, isLoading };
}
