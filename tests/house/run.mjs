// Applies the house's rules (checks.mjs) to what git knows in this tree; ends with 1 if one is broken.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as checks from './checks.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 256 << 20 });

const tracked = run('git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard')
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(root, path)) && statSync(join(root, path)).isFile());

const tree = new Map();
const files = [];
for (const path of tracked) {
  const content = readFileSync(join(root, path));
  const binary = content.subarray(0, 8000).includes(0);
  files.push({ path, bytes: content.length, binary });
  if (!binary) tree.set(path, content.toString('utf8'));
}

// Only what is compiled into a shipped binary: this platform, with the features that we use.
const target = /^host: (.*)$/m.exec(run('rustc', '-vV'))[1];
const metadata = JSON.parse(run('cargo', 'metadata', '--format-version', '1', '--locked', '--filter-platform', target));

const locks = [...tree.keys()].filter((path) => path.endsWith('package-lock.json'));
const rules = [
  ['pure crates', () => checks.purity(tree)],
  ['arrows between crates', () => checks.crateArrows(tree)],
  [
    'cycles between modules',
    () => ['sfu/src/', 'signaling/src/', 'recording/src/', 'src/'].flatMap((at) => checks.moduleCycles(tree, at)),
  ],
  ['floors inside sfu', () => checks.sfuFloors(tree)],
  ['one place for str0m::Rtc', () => checks.oneRtc(tree)],
  ['unsafe only in src/udp.rs', () => checks.unsafeInUdpOnly(tree)],
  ['licences of crates', () => checks.rustLicences(metadata)],
  [
    'licences of npm packages',
    () =>
      locks.flatMap((path) =>
        checks.npmLicences(JSON.parse(tree.get(path)), path, { tools: path.startsWith('tests/') }),
      ),
  ],
  ['versions with known holes', () => checks.knownHoles(tree.get('Cargo.lock'))],
  ['file lengths', () => checks.fileLengths(tree)],
  ['links in documents', () => checks.deadLinks(tree, (path) => existsSync(join(root, path)))],
  ['large binaries', () => checks.largeBinaries(files)],
];

let broken = 0;
for (const [name, rule] of rules) {
  const problems = rule();
  broken += problems.length;
  console.log(`${problems.length === 0 ? 'ok  ' : 'FAIL'} ${name}`);
  for (const problem of problems) console.log(`     ${problem}`);
}
console.log(`house rules: ${rules.length} over ${files.length} files, ${broken} broken`);
process.exitCode = broken === 0 ? 0 : 1;
