// The console's view of the server: rooms, node, and making links. Nothing that comes in is trusted to have a shape.
import type { Preset, Quality, Role, Source, ThumbnailSource } from '@lectern/client';

/** Somebody in a room. */
export interface ConsoleParticipant {
  identity: string;
  name: string;
  role: Role;
  present: boolean;
  media: 'connected' | 'disconnected' | 'none';
  quality?: Quality;
  tracks: Source[];
  /** Those of them that are muted. */
  muted: Source[];
}

/** A live room. */
export interface ConsoleRoom {
  room: string;
  title: string;
  preset: Preset;
  lesson: string;
  openedAt: string;
  participants: ConsoleParticipant[];
  /** The server lets one look at small pictures of it. */
  canLook: boolean;
}

/** A small picture of somebody, without the picture. */
export interface ConsoleThumbnail {
  /** Of this picture: the next one of the same track has another. */
  id: string;
  participant: string;
  source: ThumbnailSource;
  /** RFC 3339 in UTC. */
  at: string;
}

/** One thread that carries media. */
export interface ConsoleWorker {
  /** `0..1`. */
  busy: number;
  peers: number;
  rooms: number;
  packetsPerSecond: number;
}

/** The process. */
export interface ConsoleNode {
  version: string;
  uptimeSeconds: number;
  workers: ConsoleWorker[];
}

/** A recording, as the list has it. */
export interface ConsoleRecording {
  id: string;
  room: string;
  title: string;
  lesson: string;
  state: 'live' | 'final' | 'recovered';
  /** RFC 3339 in UTC. */
  began: string;
  durationMs: number;
  bytes: number;
  tracks: number;
  /** Names of those who are in it. */
  people: string[];
  /** `forever`, or RFC 3339 in UTC; nothing when the server's rule holds. */
  keepUntil?: string | null;
  /** When it is removed; RFC 3339 in UTC. */
  deleteAfter?: string | null;
  /** Something works on it: it is being made, finished or exported. */
  inUse?: boolean;
}

/** What a recording is exported as. */
export const EXPORT_KINDS = ['composed', 'screen', 'sound', 'copy', 'chat', 'attendance', 'zip'] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];

/** An export that was asked for. */
export interface ExportJob {
  kind: ExportKind;
  state: 'queued' | 'running' | 'done' | 'failed';
  /** `0..1`. */
  progress: number;
  bytes?: number;
  error?: { code: string; message: string };
}

/** A step of the list of recordings. */
export interface RecordingPage {
  recordings: ConsoleRecording[];
  /** Encrypted with keys that the server does not have. */
  locked: number;
}

/** Which recordings to list. */
export interface RecordingQuery {
  text: string;
  /** The `began` of the last one that was listed: only older ones. */
  before?: string;
  limit: number;
}

/** Who did what. */
export interface AuditEntry {
  /** Counts up. */
  seq: number;
  /** RFC 3339 in UTC. */
  at: string;
  actor: 'api-key' | 'console' | 'participant' | 'link' | 'stranger';
  /** Of the participant. */
  identity?: string;
  address?: string;
  /** Such as `recording.delete`; a newer server may have more. */
  act: string;
  room?: string;
  object?: string;
  /** `ok`, or the code of the refusal. */
  outcome: string;
  detail?: Record<string, unknown>;
}

/** Which entries of the audit to list. */
export interface AuditQuery {
  text: string;
  /** An act, or what it begins with. */
  act?: string;
  /** The `seq` of the last one that was listed: only older ones. */
  before?: number;
  limit: number;
}

/** Asks for a link. */
export interface TokenRequest {
  room: string;
  identity: string;
  name: string;
  role: Role;
  preset: Preset;
  title?: string;
  ttlSeconds?: number;
}

/** A link that was made. */
export interface MadeLink {
  url: string;
  expiresAt: string;
}

/** Why the server did not answer. */
export type ApiProblem = 'key' | 'unreachable' | 'refused' | 'missing' | 'server';

/** A failed call. */
export class ApiError extends Error {
  constructor(
    readonly problem: ApiProblem,
    /** The server's words, if any. */
    readonly detail?: string,
    /** The server's word for programs, if any. */
    readonly code?: string,
  ) {
    super(detail ?? problem);
  }
}

/** `fetch`, or something like it in tests. */
export type Fetch = (path: string, init: RequestInit) => Promise<Response>;

const ROLE_ORDER: readonly Role[] = ['teacher', 'assistant', 'student', 'observer', 'recorder'];

/** 1 when somebody is there: rooms keep their order while people come and go. */
function peopleIn(room: ConsoleRoom): number {
  return room.participants.some(({ present }) => present) ? 1 : 0;
}

/** Longer than this and the server counts as unreachable. */
const TIMEOUT_MS = 8_000;

/** The API with one key. */
export class ConsoleApi {
  constructor(
    private readonly key: string,
    private readonly fetcher: Fetch = (path, init) => fetch(path, init),
  ) {}

  /** All live rooms: those with people first, then by title; in each, teachers first, then by name. */
  async rooms(): Promise<ConsoleRoom[]> {
    const { rooms, thumbnails } = (await this.call('GET', '/api/rooms')) as {
      rooms?: Omit<ConsoleRoom, 'canLook'>[];
      thumbnails?: boolean;
    };
    return (rooms ?? [])
      .map((room) => ({
        ...room,
        canLook: thumbnails === true,
        participants: [...room.participants].sort(
          (a, b) => ROLE_ORDER.indexOf(a.role) - ROLE_ORDER.indexOf(b.role) || a.name.localeCompare(b.name),
        ),
      }))
      .sort((a, b) => peopleIn(b) - peopleIn(a) || (a.title || a.room).localeCompare(b.title || b.room));
  }

  /** Looks into a room: the people in it are told, and the audit says so. Gives which small pictures there are. */
  async thumbnails(room: string): Promise<ConsoleThumbnail[]> {
    const { thumbnails } = (await this.call('GET', thumbnailsOf(room))) as { thumbnails?: ConsoleThumbnail[] };
    return thumbnails ?? [];
  }

  /** One of them. */
  async thumbnail(room: string, id: string): Promise<Blob> {
    return (await this.ask('GET', `${thumbnailsOf(room)}/${encodeURIComponent(id)}`)).blob();
  }

  /** The process. */
  async node(): Promise<ConsoleNode> {
    return (await this.call('GET', '/api/node')) as ConsoleNode;
  }

  /** Makes a link to a class; the address is absolute. */
  async makeLink(request: TokenRequest, origin: string): Promise<MadeLink> {
    const made = (await this.call('POST', '/api/tokens', request)) as {
      token: string;
      url?: string;
      expiresAt: string;
    };
    const url = made.url ?? `/room/${encodeURIComponent(request.room)}#token=${made.token}`;
    return { url: new URL(url, origin).href, expiresAt: made.expiresAt };
  }

  /** Recordings, the latest first; and, where all are asked for, how many are locked. */
  async recordings({ text, before, limit }: RecordingQuery): Promise<RecordingPage> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (text !== '') query.set('q', text);
    if (before !== undefined) query.set('before', before);
    const { recordings, locked } = (await this.call('GET', `/api/recordings?${query.toString()}`)) as {
      recordings?: ConsoleRecording[];
      locked?: unknown[];
    };
    return { recordings: recordings ?? [], locked: locked?.length ?? 0 };
  }

  /** Says that somebody opens the console; fails when the key is wrong. */
  async signIn(): Promise<void> {
    await this.call('POST', '/api/sign-in');
  }

  /** Who did what, the latest first. */
  async audit({ text, act, before, limit }: AuditQuery): Promise<AuditEntry[]> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (text !== '') query.set('q', text);
    if (act !== undefined) query.set('act', act);
    if (before !== undefined) query.set('before', String(before));
    const { entries } = (await this.call('GET', `/api/audit?${query.toString()}`)) as { entries?: AuditEntry[] };
    return entries ?? [];
  }

  /** Makes a link to a recording; the address is absolute. */
  async recordingLink(id: string, ttlSeconds: number, origin: string): Promise<MadeLink> {
    const path = `/api/recordings/${encodeURIComponent(id)}/links`;
    const made = (await this.call('POST', path, { ttlSeconds })) as { token: string; url?: string; expiresAt: string };
    const url = made.url ?? `/replay/${encodeURIComponent(id)}#token=${made.token}`;
    return { url: new URL(url, origin).href, expiresAt: made.expiresAt };
  }

  /** Says how long a recording is kept: `forever`, up to a time, or by the server's rule. */
  async keepRecording(id: string, keepUntil: string | null): Promise<ConsoleRecording> {
    const path = `/api/recordings/${encodeURIComponent(id)}`;
    return (await this.call('PATCH', path, { keepUntil })) as ConsoleRecording;
  }

  /** Removes a recording for good. */
  async deleteRecording(id: string): Promise<void> {
    await this.call('DELETE', `/api/recordings/${encodeURIComponent(id)}`);
  }

  /** The exports of a recording that were asked for. */
  async exports(id: string): Promise<ExportJob[]> {
    const { exports } = (await this.call('GET', exportsOf(id))) as { exports?: ExportJob[] };
    return exports ?? [];
  }

  /** Asks for an export. */
  async requestExport(id: string, kind: ExportKind): Promise<ExportJob> {
    return (await this.call('POST', exportsOf(id), { kind })) as ExportJob;
  }

  /** Cancels an export, or removes it. */
  async removeExport(id: string, kind: ExportKind): Promise<void> {
    await this.call('DELETE', `${exportsOf(id)}/${kind}`);
  }

  /** Where the browser fetches the file of an export by itself. */
  async exportFile(id: string, kind: ExportKind): Promise<string> {
    const { token } = (await this.call('POST', `${exportsOf(id)}/${kind}/links`)) as { token: string };
    return `${exportsOf(id)}/${kind}/file?token=${encodeURIComponent(token)}`;
  }

  private async call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await this.ask(method, path, body);
    if (response.status === 204) return undefined;
    return response.json().catch(() => {
      throw new ApiError('server');
    });
  }

  private async ask(method: string, path: string, body?: unknown): Promise<Response> {
    const response = await this.fetcher(path, {
      method,
      headers: {
        Authorization: `Bearer ${this.key}`,
        // For the audit.
        'Lectern-Client': 'console',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    }).catch(() => {
      throw new ApiError('unreachable');
    });
    if (response.status === 401 || response.status === 403) throw new ApiError('key');
    if (!response.ok) {
      const { detail, code } = await refusalOf(response);
      const problem = response.status === 404 ? 'missing' : response.status < 500 ? 'refused' : 'server';
      throw new ApiError(problem, detail, code);
    }
    return response;
  }
}

const thumbnailsOf = (room: string) => `/api/rooms/${encodeURIComponent(room)}/thumbnails`;

const exportsOf = (id: string) => `/api/recordings/${encodeURIComponent(id)}/exports`;

async function refusalOf(response: Response): Promise<{ detail?: string; code?: string }> {
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as { message?: unknown; error?: { message?: unknown; code?: unknown } | string };
    const error = typeof body.error === 'object' ? body.error : { message: body.message ?? body.error };
    return {
      ...(typeof error.message === 'string' ? { detail: error.message } : {}),
      ...(typeof error.code === 'string' ? { code: error.code } : {}),
    };
  } catch {
    return text !== '' && text.length < 200 ? { detail: text } : {};
  }
}

/** A key from the address (`#key=…`), which is then taken out of it. */
export function keyFromHash(hash: string): string | undefined {
  return new URLSearchParams(hash.slice(1)).get('key') ?? undefined;
}
