import { LecternCall } from './element.js';

export { LecternCall, type CallEvents } from './element.js';

if (!customElements.get('lectern-call')) customElements.define('lectern-call', LecternCall);

declare global {
  interface HTMLElementTagNameMap {
    'lectern-call': LecternCall;
  }
}
