// The house's own rules, as functions from file contents to a list of problems (strings). They do no I/O, so that
// checks.test.mjs can show each of them failing on a small bad input. run.mjs applies them to the tree.
//
// A "tree" is a Map from path (relative to the root, with /) to text.

/** Crates without a clock, socket, file or thread (DESIGN: "The house"). */
export const PURE_CRATES = ['sfu', 'signaling', 'recording'];

/** Which of our crates a crate may import. */
export const CRATE_ARROWS = {
  sfu: [],
  signaling: ['sfu'],
  recording: ['sfu'],
  // `sim` for `lectern bench`: its participants are those of the simulated world.
  lectern: ['sfu', 'signaling', 'recording', 'sim'],
  sim: ['sfu', 'signaling', 'recording'],
};

/** Floors inside sfu, lowest first: a module imports from its own floor or a lower one, never from a higher one. */
export const SFU_FLOORS = [
  ['io', 'media', 'id', 'codec', 'limits', 'counters', 'proof'],
  ['peer', 'publish', 'forward', 'bandwidth', 'egress'],
  ['room'],
  ['node'],
];

const SOURCE_LINES_MAX = 800;
const BINARY_BYTES_MAX = 1024 * 1024;

/** Versions with known holes (docs/threat-model.md): the first good version of each. */
export const FIRST_GOOD_VERSION = {
  socketioxide: '0.18.9',
  engineioxide: '0.17.9',
  jsonwebtoken: '10.3.0',
  h2: '0.4.16',
};

/** Licences that let anybody ship the result. */
export const LICENCES = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BSL-1.0',
  'CC0-1.0',
  'CDLA-Permissive-2.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Python-2.0',
  'Unicode-3.0',
  'Unicode-DFS-2016',
  'Unlicense',
  'Zlib',
]);

/** File-level copyleft and data licences, fine for tools that are not shipped. */
export const TOOL_LICENCES = new Set([...LICENCES, 'MPL-2.0', 'CC-BY-4.0']);

/** Packages that state no licence in their package.json, and what their LICENSE file says (read on the day it was added). */
export const NPM_LICENCE_IN_FILE = {
  'xmlhttprequest-ssl': 'MIT',
};

/** Rust source without comments and the contents of string literals, with as many lines as before. */
export function rustCode(text) {
  let out = '';
  let i = 0;
  const keepLines = (part) => part.replace(/[^\n]/g, ' ');
  while (i < text.length) {
    const rest = text.slice(i, i + 2);
    if (rest === '//') {
      const end = text.indexOf('\n', i);
      const stop = end < 0 ? text.length : end;
      i = stop;
    } else if (rest === '/*') {
      let depth = 1;
      let j = i + 2;
      while (j < text.length && depth > 0) {
        if (text.startsWith('/*', j)) ((depth += 1), (j += 2));
        else if (text.startsWith('*/', j)) ((depth -= 1), (j += 2));
        else j += 1;
      }
      out += keepLines(text.slice(i, j));
      i = j;
    } else if (text[i] === 'r' && /^r#*"/.test(text.slice(i, i + 8)) && !/\w/.test(text[i - 1] ?? ' ')) {
      const hashes = /^r(#*)"/.exec(text.slice(i, i + 8))[1];
      const close = `"${hashes}`;
      const end = text.indexOf(close, i + 2 + hashes.length);
      const j = end < 0 ? text.length : end + close.length;
      out += `""${keepLines(text.slice(i, j))}`;
      i = j;
    } else if (text[i] === '"') {
      let j = i + 1;
      while (j < text.length && text[j] !== '"') j += text[j] === '\\' ? 2 : 1;
      out += `""${keepLines(text.slice(i, j + 1))}`;
      i = j + 1;
    } else if (text[i] === "'" && /^'(\\.[^']*|[^'\\])'/.test(text.slice(i, i + 12))) {
      const literal = /^'(\\.[^']*|[^'\\])'/.exec(text.slice(i, i + 12))[0];
      out += "' '";
      i += literal.length;
    } else {
      out += text[i];
      i += 1;
    }
  }
  return out;
}

/** Code as `rustCode` gives it, without items under `#[cfg(test)]`. */
export function withoutTests(code) {
  const marker = /#\[cfg\((?:test|any\(test[^\]]*|all\(test[^\]]*)\)\]/g;
  let out = code;
  for (;;) {
    marker.lastIndex = 0;
    const found = marker.exec(out);
    if (!found) return out;
    let j = found.index + found[0].length;
    while (j < out.length && out[j] !== '{' && out[j] !== ';') j += 1;
    if (out[j] === '{') {
      let depth = 0;
      do {
        if (out[j] === '{') depth += 1;
        if (out[j] === '}') depth -= 1;
        j += 1;
      } while (j < out.length && depth > 0);
    } else {
      j += 1;
    }
    const removed = out.slice(found.index, j).replace(/[^\n]/g, ' ');
    out = out.slice(0, found.index) + removed + out.slice(j);
  }
}

const lineOf = (text, index) => text.slice(0, index).split('\n').length;

/** Files declared as `#[cfg(test)] mod name;` are tests too. */
function isTestFile(tree, path) {
  if (/(^|\/)(tests|test_support|benches|examples)(\.rs$|\/)/.test(path)) return true;
  const match = /^(.*)\/([^/]+?)(?:\/mod)?\.rs$/.exec(path);
  if (!match) return false;
  const [, folder, name] = match;
  const parents = [`${folder}/mod.rs`, `${folder}/lib.rs`, `${folder}/main.rs`, `${folder}.rs`];
  const declaration = new RegExp(
    `#\\[cfg\\((test|any\\(test[^\\]]*)\\)\\]\\s*(pub(\\([^)]*\\))?\\s+)?mod\\s+${name}\\s*;`,
  );
  return parents.some((parent) => tree.has(parent) && declaration.test(rustCode(tree.get(parent))));
}

const IMPURE = [
  [/\b(?:Instant|SystemTime|OffsetDateTime|Utc|Local)::now(?:_utc)?\b/g, 'reads the clock'],
  [/\.elapsed\(\)/g, 'reads the clock'],
  [/\bstd::thread\b|\bthread::(?:spawn|sleep)\b/g, 'uses a thread'],
  [/\bstd::fs\b|\bFile::(?:open|create)\b/g, 'touches files'],
  [/\b(?:UdpSocket|TcpStream|TcpListener|UnixStream|UnixListener)\b/g, 'owns a socket'],
  [/\bstd::process\b/g, 'starts or ends a process'],
  [/\bstd::env\b|\benv::var\b/g, 'reads the environment'],
  [/\btokio\b|\basync_std\b|\bsmol\b/g, 'uses an async runtime'],
  [/\b(?:println|eprintln|print|eprint)!/g, 'prints'],
  [/\bthread_rng\b|\bOsRng\b|\bgetrandom\b|\brand::(?:rng|random)\b/g, 'takes randomness that no seed decides'],
  [/\bstd::io::(?:stdin|stdout|stderr)\b/g, 'uses standard streams'],
];

const IMPURE_DEPENDENCIES =
  /^\s*"?(tokio[\w-]*|mio|socket2|nix|libc|rusqlite|redis|mongodb|axum|hyper|reqwest|socketioxide|engineioxide|async-[\w-]+|smol|getrandom|crossbeam-channel|rayon)"?(?:\.workspace)?\s*=/gm;

/** Pure crates have no clock, socket, file, thread or runtime. */
export function purity(tree) {
  const problems = [];
  for (const [path, text] of tree) {
    const crate = PURE_CRATES.find((name) => path.startsWith(`${name}/`));
    if (!crate) continue;
    if (path === `${crate}/Cargo.toml`) {
      const section = dependencySection(text);
      for (const match of section.matchAll(IMPURE_DEPENDENCIES))
        problems.push(`${path}: a pure crate depends on ${match[1]}`);
    }
    if (!path.startsWith(`${crate}/src/`) || !path.endsWith('.rs') || isTestFile(tree, path)) continue;
    const code = withoutTests(rustCode(text));
    for (const [pattern, why] of IMPURE) {
      for (const match of code.matchAll(pattern)) {
        problems.push(`${path}:${lineOf(code, match.index)}: a pure crate ${why} (${match[0]})`);
      }
    }
  }
  return problems;
}

/** The text of `[dependencies]` and its like, without dev-dependencies. */
function dependencySection(toml) {
  return toml
    .split(/^(?=\[)/m)
    .filter((section) => /^\[(?:target\.[^\]]+\.)?(?:build-)?dependencies[.\]]/.test(section))
    .join('');
}

/** Crates import only along the arrows. */
export function crateArrows(tree) {
  const problems = [];
  const own = Object.keys(CRATE_ARROWS);
  for (const [path, text] of tree) {
    if (!/(^|\/)Cargo\.toml$/.test(path)) continue;
    const name = /^\[package\][^[]*?^name\s*=\s*"([^"]+)"/ms.exec(text)?.[1];
    if (!name) continue;
    const section = dependencySection(text);
    if (!(name in CRATE_ARROWS)) {
      // A new crate may only stand on top, where nothing that it imports can become a cycle.
      continue;
    }
    for (const other of own) {
      const imports = new RegExp(`^\\s*${other}(?:\\.workspace)?\\s*=|^\\[dependencies\\.${other}\\]`, 'm').test(
        section,
      );
      if (imports && !CRATE_ARROWS[name].includes(other)) problems.push(`${path}: ${name} must not import ${other}`);
    }
  }
  return problems;
}

/** Modules of one crate and which of each other they import: {folder -> Map(module -> Map(module -> "path:line"))}. */
export function moduleGraph(tree, root) {
  const files = [...tree.keys()].filter((path) => path.startsWith(root) && path.endsWith('.rs'));
  const split = (path) => {
    const parts = path.slice(root.length).replace(/\.rs$/, '').split('/');
    if (parts.at(-1) === 'mod') parts.pop();
    return parts;
  };
  const known = new Map(files.map((path) => [split(path).join('::'), path]));
  const graph = new Map();
  const add = (folder, from, to, where) => {
    if (from === to) return;
    if (!graph.has(folder)) graph.set(folder, new Map());
    const edges = graph.get(folder);
    if (!edges.has(from)) edges.set(from, new Map());
    if (!edges.get(from).has(to)) edges.get(from).set(to, where);
  };
  for (const path of files) {
    const self = split(path);
    if (['lib', 'main'].includes(self[0]) || self[0] === 'bin') continue;
    if (isTestFile(tree, path)) continue;
    const code = withoutTests(rustCode(tree.get(path)));
    for (const [names, index] of references(code, self)) {
      // The deepest known module of the name; the first folder where the two ways part is where the edge stands.
      let target = names;
      while (target.length > 0 && !known.has(target.join('::')) && !hasChildren(known, target))
        target = target.slice(0, -1);
      if (target.length === 0) continue;
      let depth = 0;
      while (depth < self.length && depth < target.length && self[depth] === target[depth]) depth += 1;
      if (depth === self.length || depth === target.length) continue;
      add(self.slice(0, depth).join('::'), self[depth], target[depth], `${path}:${lineOf(code, index)}`);
    }
  }
  return graph;
}

const hasChildren = (known, names) => [...known.keys()].some((key) => key.startsWith(`${names.join('::')}::`));

/** Names that start with crate:: or super::, braces opened, as absolute module ways. */
function* references(code, self) {
  const pattern = /\b(crate|super)((?:::super)*)::(\{|\w+)/g;
  for (const match of code.matchAll(pattern)) {
    const ups = (match[1] === 'super' ? 1 : 0) + (match[2].match(/super/g)?.length ?? 0);
    const base = match[1] === 'crate' ? [] : self.slice(0, Math.max(0, self.length - ups));
    const start = match.index + match[0].length - match[3].length;
    for (const names of expand(code, start)) yield [[...base, ...names], match.index];
  }
}

/** `a::{b, c::D}` from `start` as [[a,b],[a,c,D]]. */
function expand(code, start) {
  const read = (i) => {
    if (code[i] === '{') {
      const all = [];
      let j = i + 1;
      for (;;) {
        while (/[\s,]/.test(code[j] ?? '}')) j += 1;
        if (code[j] === undefined || code[j] === '}') return [all, j + 1];
        const [names, end] = read(j);
        all.push(...names);
        j = end;
        while (j < code.length && code[j] !== ',' && code[j] !== '}') j += 1;
      }
    }
    const word = /^\w+|^\*/.exec(code.slice(i, i + 64))?.[0];
    if (!word) return [[[]], i + 1];
    let j = i + word.length;
    if (code.startsWith('::', j) && /[\w{*]/.test(code[j + 2] ?? '')) {
      const [names, end] = read(j + 2);
      return [names.map((rest) => [word, ...rest]), end];
    }
    return [[[word]], j];
  };
  return read(start)[0];
}

/** No cycle between the modules of a crate, at any depth. A parent and its child are one thing, not a cycle. */
export function moduleCycles(tree, root) {
  const problems = [];
  for (const [folder, edges] of moduleGraph(tree, root)) {
    const state = new Map();
    const way = [];
    const visit = (name) => {
      state.set(name, 'open');
      way.push(name);
      for (const [next, where] of edges.get(name) ?? []) {
        if (state.get(next) === 'open') {
          const cycle = [...way.slice(way.indexOf(next)), next];
          problems.push(
            `${where}: modules in a cycle: ${cycle.map((part) => (folder ? `${folder}::${part}` : part)).join(' -> ')}`,
          );
        } else if (!state.has(next)) {
          visit(next);
        }
      }
      way.pop();
      state.set(name, 'done');
    };
    for (const name of edges.keys()) if (!state.has(name)) visit(name);
  }
  return problems;
}

/** Inside sfu, imports go down the floors. A module that no floor names belongs to the lowest one. */
export function sfuFloors(tree, root = 'sfu/src/') {
  const problems = [];
  const floor = (name) => {
    const found = SFU_FLOORS.findIndex((names) => names.includes(name));
    return found < 0 ? 0 : found;
  };
  for (const [from, targets] of moduleGraph(tree, root).get('') ?? []) {
    for (const [to, where] of targets) {
      if (floor(to) > floor(from)) problems.push(`${where}: ${from} stands below ${to} and must not import it`);
    }
  }
  return problems;
}

/** One file (or folder) names str0m::Rtc, so that another egress can take its place. */
export function oneRtc(tree) {
  const problems = [];
  for (const [path, text] of tree) {
    if (!/^(sfu|signaling|recording|src)\/.*\.rs$/.test(path) || isTestFile(tree, path)) continue;
    if (path === 'sfu/src/peer.rs' || path.startsWith('sfu/src/peer/')) continue;
    const code = withoutTests(rustCode(text));
    for (const match of code.matchAll(/\bRtc(?:Config)?\b/g)) {
      problems.push(`${path}:${lineOf(code, match.index)}: only sfu/src/peer.rs names str0m's ${match[0]}`);
    }
  }
  return problems;
}

/** Where a counting allocator of a test stands: an allocator can be made in no other way. */
const COUNTING_ALLOCATOR = 'tests/sim/tests/crowd.rs';

/** Unsafe code is in src/udp.rs alone, and in one test. */
export function unsafeInUdpOnly(tree) {
  const problems = [];
  for (const [path, text] of tree) {
    if (!path.endsWith('.rs') || path === 'src/udp.rs' || path.startsWith('src/udp/') || path === COUNTING_ALLOCATOR)
      continue;
    const code = rustCode(text);
    for (const match of code.matchAll(/\bunsafe\b/g))
      problems.push(`${path}:${lineOf(code, match.index)}: unsafe outside src/udp.rs`);
  }
  return problems;
}

/** An SPDX expression that the allowed set satisfies: one side of OR, both of AND. `/` is the old spelling of OR. */
export function licenceAllowed(expression, allowed = LICENCES) {
  const tokens = expression.replace(/\//g, ' OR ').match(/\(|\)|[^\s()]+/g) ?? [];
  let at = 0;
  const either = () => {
    let value = both();
    while (tokens[at] === 'OR') {
      at += 1;
      const right = both();
      value = value || right;
    }
    return value;
  };
  const both = () => {
    let value = one();
    while (tokens[at] === 'AND') {
      at += 1;
      const right = one();
      value = value && right;
    }
    return value;
  };
  const one = () => {
    if (tokens[at] === '(') {
      at += 1;
      const value = either();
      at += 1;
      return value;
    }
    const value = allowed.has((tokens[at] ?? '').replace(/\+$/, ''));
    at += 1;
    // An exception only gives more freedom.
    if (tokens[at] === 'WITH') at += 2;
    return value;
  };
  return tokens.length > 0 && either() && at === tokens.length;
}

/** Licences of every crate in `cargo metadata`. */
export function rustLicences(metadata) {
  return metadata.packages
    .filter((crate) => !licenceAllowed(crate.license ?? ''))
    .map((crate) => `crate ${crate.name} ${crate.version}: licence ${crate.license ?? 'not stated'}`);
}

/** Licences of every package in a package-lock.json; what is only a tool (`dev`) may have file-level copyleft. */
export function npmLicences(lock, path, { tools = false } = {}) {
  const problems = [];
  for (const [key, entry] of Object.entries(lock.packages ?? {})) {
    if (!key.includes('node_modules/') || entry.link) continue;
    const name = key.replace(/^.*node_modules\//, '');
    const licence = entry.license ?? NPM_LICENCE_IN_FILE[name] ?? '';
    const allowed = tools || entry.dev || entry.devOptional ? TOOL_LICENCES : LICENCES;
    if (!licenceAllowed(licence, allowed)) {
      problems.push(`${path}: ${name} ${entry.version}: licence ${licence || 'not stated'}`);
    }
  }
  return problems;
}

const olderThan = (version, bound) => {
  const parts = (text) => text.split(/[-+]/)[0].split('.').map(Number);
  const [a, b] = [parts(version), parts(bound)];
  for (let i = 0; i < 3; i += 1) {
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) < (b[i] ?? 0);
  }
  return false;
};

/** No version with a known hole in Cargo.lock. */
export function knownHoles(cargoLock) {
  const problems = [];
  for (const match of cargoLock.matchAll(/^name = "([^"]+)"\nversion = "([^"]+)"/gm)) {
    const [, name, version] = match;
    const bound = FIRST_GOOD_VERSION[name];
    if (bound && olderThan(version, bound))
      problems.push(`Cargo.lock: ${name} ${version} has a known hole, ${bound} is the first good one`);
  }
  return problems;
}

/** A source file over 800 lines says why near its top: "longer than 800 lines because …". */
export function fileLengths(tree) {
  const problems = [];
  for (const [path, text] of tree) {
    if (!/\.(rs|ts|vue|mjs|js|css|py)$/.test(path)) continue;
    const lines = text.split('\n');
    if (lines.length <= SOURCE_LINES_MAX) continue;
    if (
      !lines
        .slice(0, 40)
        .join(' ')
        .replace(/\s*(\/\/[/!]?|\*)\s*/g, ' ')
        .includes('longer than 800 lines because')
    ) {
      problems.push(`${path}: ${lines.length} lines, and does not say "longer than 800 lines because …"`);
    }
  }
  return problems;
}

const anchorOf = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[`*]/g, '')
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');

/** Links between documents lead somewhere: the file is there, and so is the heading. `exists(path)` knows folders too. */
export function deadLinks(tree, exists) {
  const problems = [];
  for (const [path, text] of tree) {
    if (!path.endsWith('.md')) continue;
    const prose = text.replace(/^```.*?^```/gms, (block) => block.replace(/[^\n]/g, ' '));
    const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g), ...prose.matchAll(/(?:src|href)="([^"]+)"/g)];
    for (const match of targets) {
      const link = match[1];
      if (/^[a-z][a-z0-9+.-]*:/i.test(link)) continue;
      const [file, anchor] = link.split('#');
      const target = file ? resolve(path, file) : path;
      const where = `${path}:${lineOf(prose, match.index)}`;
      if (!exists(target)) {
        problems.push(`${where}: dead link ${link}`);
      } else if (anchor && tree.has(target)) {
        const anchors = [...tree.get(target).matchAll(/^#+\s+(.*)$/gm)].map((heading) => anchorOf(heading[1]));
        if (!anchors.includes(anchor)) problems.push(`${where}: no heading for ${link}`);
      }
    }
  }
  return problems;
}

function resolve(from, link) {
  const parts = link.startsWith('/') ? [] : from.split('/').slice(0, -1);
  for (const part of link.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part);
  }
  return parts.join('/');
}

/** No large binaries in the repository. `files`: [{path, bytes, binary}]. */
export function largeBinaries(files) {
  return files
    .filter((file) => file.binary && file.bytes > BINARY_BYTES_MAX)
    .map((file) => `${file.path}: a binary of ${file.bytes} bytes`);
}
