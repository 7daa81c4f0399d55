import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../../../../tests/fixtures');

export interface MessageFixture {
  name: string;
  direction: 'request' | 'answer' | 'notice';
  event: string;
  payload: Record<string, unknown>;
}

/** All examples of a folder, which the Rust tests read too. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows what the folder holds
export function fixtures<T>(folder: string): { file: string; content: T }[] {
  const names = readdirSync(resolve(ROOT, folder)).filter((name) => name.endsWith('.json'));
  if (!names.length) throw new Error(`no fixtures in ${folder}`);
  return names.map((file) => ({
    file,
    content: JSON.parse(readFileSync(resolve(ROOT, folder, file), 'utf8')) as T,
  }));
}

export function message(name: string): MessageFixture {
  const found = fixtures<MessageFixture>('messages').find(({ file }) => file === `${name}.json`);
  if (!found) throw new Error(`no fixture ${name}`);
  return found.content;
}
