export * from './protocol.js';
export { LecternError, type ErrorCode } from './errors.js';
export type * from './events.js';
export { CHAT_IN_STATE, fold, participantOf, reduce } from './lesson.js';
export { LecternSession, newNonce } from './session.js';
