// Runs the tests one file after the other (a machine with two cores has enough to do with one), the browser that needs its
// own network in one. `node run.mjs codecs crash` runs those files alone.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(here)
  .filter((name) => name.endsWith('.test.mjs'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.startsWith(part)))
  .sort();
if (files.length === 0) {
  console.error(`no test file starts with ${wanted.join(' or ')}`);
  process.exit(1);
}
// A file has ten minutes; each test in it has its own, shorter limit.
const { status } = spawnSync(
  process.execPath,
  ['--test', '--test-concurrency=1', '--test-timeout=600000', '--test-reporter=spec', ...files],
  { cwd: here, stdio: 'inherit' },
);
process.exit(status ?? 1);
