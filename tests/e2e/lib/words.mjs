// The pages' English words by their names, read from the source, so that a test does not break when a button is worded anew.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './server.mjs';

let dictionary;

function load() {
  const text = readFileSync(join(root, 'web/app/src/i18n/en.ts'), 'utf8');
  const entries = [...text.matchAll(/^\s*'?([\w.-]+)'?:\s*(['"`])((?:\\.|(?!\2)[^\\])*)\2/gm)];
  return new Map(
    entries.map(([, key, , value]) => [
      key,
      value
        .replace(/\\(['"`\\])/g, '$1')
        .replace(/\\u\{?([\da-f]{4})\}?/gi, (_all, hex) => String.fromCodePoint(parseInt(hex, 16))),
    ]),
  );
}

/** The text called `key`, its `{gaps}` filled. */
export function say(key, gaps = {}) {
  dictionary ??= load();
  const text = dictionary.get(key);
  if (text === undefined) throw new Error(`the pages have no text "${key}"`);
  return text.replace(/\{(\w+)\}/g, (gap, name) => gaps[name] ?? gap);
}
