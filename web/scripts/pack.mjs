// Packs the published packages into dist-packages/.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';

const web = resolve(import.meta.dirname, '..');
const out = resolve(web, 'dist-packages');
rmSync(out, { recursive: true, force: true });
mkdirSync(out);
for (const name of ['@lectern/client', '@lectern/call']) {
  execFileSync('npm', ['pack', '--workspace', name, '--pack-destination', out, '--silent'], {
    cwd: web,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
