// Measures what docs/benchmarks.md shows, on this machine, and writes the tables into it (between the marks
// `<!-- bench:NAME -->` and `<!-- /bench -->`). `node bench/run.mjs join forward` runs those alone; `--print` writes nothing.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../lib/server.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const names = readdirSync(here)
  .filter((name) => name.endsWith('.bench.mjs'))
  .map((name) => name.replace('.bench.mjs', ''))
  .sort();
const wanted = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const print = process.argv.includes('--print');
const page = join(root, 'docs/benchmarks.md');

console.log(`${cpus()[0]?.model.trim()}, ${cpus().length} cores`);
for (const name of names.filter((one) => wanted.length === 0 || wanted.includes(one))) {
  console.log(`== ${name}`);
  const { measure } = await import(`./${name}.bench.mjs`);
  const table = (await measure()).trim();
  console.log(table);
  if (print) continue;
  const text = readFileSync(page, 'utf8');
  const mark = new RegExp(`(<!-- bench:${name} -->\n)[^]*?(<!-- /bench -->)`);
  if (!mark.test(text)) throw new Error(`docs/benchmarks.md has no mark for ${name}`);
  writeFileSync(
    page,
    text.replace(mark, (_all, open, close) => `${open}${table}\n${close}`),
  );
}
