import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Server, type Socket } from 'socket.io';

import type { Joined, LessonEvent, Notices, RequestName } from '../../src/index.js';

type Handler = (payload: never, socket: Socket) => object;

export interface Heard {
  name: string;
  payload: unknown;
}

/** A Socket.IO server that says what a test tells it to: for what a real class cannot be made to do on time. */
export class ScriptedServer {
  readonly heard: Heard[] = [];
  readonly sockets: Socket[] = [];
  /** Answers by request; without one it is `{data: {}}`. */
  readonly answers = new Map<string, Handler>();
  /** A code refuses the next connections. */
  refuse: string | undefined;
  readonly #http = createServer();
  readonly #io = new Server(this.#http, { transports: ['websocket'] });
  #port = 0;

  static async start(): Promise<ScriptedServer> {
    const server = new ScriptedServer();
    await server.listen();
    return server;
  }

  private constructor() {
    this.#io.use((_socket, next) => next(this.refuse === undefined ? undefined : new Error(this.refuse)));
    this.#io.on('connection', (socket) => {
      this.sockets.push(socket);
      socket.onAny((name: string, payload: unknown, answer: unknown) => {
        this.heard.push({ name, payload });
        const handler = this.answers.get(name);
        const said = handler ? handler(payload as never, socket) : { data: {} };
        if (said !== SILENCE) (answer as (said: object) => void)(said);
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#http.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#http.address() as AddressInfo).port;
  }

  answer(name: RequestName, handler: Handler): void {
    this.answers.set(name, handler);
  }

  notify<Name extends keyof Notices>(name: Name, payload: Notices[Name]): void {
    this.sockets.at(-1)?.emit(name, payload);
  }

  events(...events: LessonEvent[]): void {
    this.notify('lesson', { events });
  }

  /** Cuts the transport, as a lost network would. */
  cut(): void {
    this.sockets.at(-1)?.conn.close();
  }

  requests(name: RequestName): unknown[] {
    return this.heard.filter((heard) => heard.name === name).map(({ payload }) => payload);
  }

  async stop(): Promise<void> {
    await this.#io.close();
  }
}

/** A request that gets no answer. */
export const SILENCE = {};

export const SETTINGS = {
  preset: 'seminar',
  title: 'Algebra',
  locked: false,
  chat: true,
  studentMicrophones: true,
  studentCameras: true,
  studentScreens: true,
  studentsSeeStudents: true,
  maxParticipants: 100,
  recordAutomatically: false,
  recordStudentCameras: true,
} as const;

export const AT = '2026-11-21T09:30:00.000Z';

/** A lesson with `me` (a teacher) and `you` (a student). */
export const LESSON: LessonEvent[] = [
  { seq: 1, at: AT, kind: 'opened', lesson: 'l1', room: 'algebra', settings: SETTINGS },
  { seq: 2, at: AT, by: 'me', kind: 'joined', participant: 'me', name: 'Me', role: 'teacher' },
  { seq: 3, at: AT, by: 'you', kind: 'joined', participant: 'you', name: 'You', role: 'student' },
];

/** The acknowledgement of `join` of `me`. */
export function joined(change: Partial<Joined>): { data: Joined } {
  return {
    data: {
      version: 1,
      session: 'secret',
      resumed: false,
      participant: 'me',
      role: 'teacher',
      room: 'algebra',
      permissions: ['publish-microphone', 'publish-camera', 'chat', 'end'],
      slots: [],
      iceServers: [],
      seq: 3,
      serverTime: AT,
      ...change,
    },
  };
}
