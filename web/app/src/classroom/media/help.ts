// How to give the permission back, per browser: the one thing people cannot guess.
import type { MessageKey } from '../../i18n';

/** Browsers that differ in where the permission is. */
export type BrowserFamily = 'chrome' | 'edge' | 'firefox' | 'safari' | 'ios' | 'android' | 'other';

/** The family behind a user agent string. */
export function browserFamily(agent: string, touchPoints = 0): BrowserFamily {
  if (/iPhone|iPad|iPod/u.test(agent) || (/Macintosh/u.test(agent) && touchPoints > 1)) return 'ios';
  if (/Android/u.test(agent)) return 'android';
  if (/Firefox\//u.test(agent)) return 'firefox';
  if (/Edg\//u.test(agent)) return 'edge';
  if (/Chrome\/|Chromium\//u.test(agent)) return 'chrome';
  if (/Safari\//u.test(agent)) return 'safari';
  return 'other';
}

/** What to tell a person who has to allow the devices again. */
export function permissionHelp(family: BrowserFamily): MessageKey {
  return `help.permission.${family}`;
}
