// Each rule of the house is shown to fail on a small bad input and to accept a good one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as checks from './checks.mjs';

const tree = (files) => new Map(Object.entries(files));
const fails = (problems, pattern) => assert.match(problems.join('\n'), pattern);
const passes = (problems) => assert.deepEqual(problems, []);

test('purity: a clock, a thread, a file, a socket or a runtime in a pure crate', () => {
  fails(checks.purity(tree({ 'sfu/src/a.rs': 'fn f() {\n let t = Instant::now();\n}' })), /sfu\/src\/a\.rs:2: .*clock/);
  fails(checks.purity(tree({ 'signaling/src/a.rs': 'use std::thread;' })), /thread/);
  fails(checks.purity(tree({ 'recording/src/a.rs': 'use std::fs;' })), /files/);
  fails(checks.purity(tree({ 'sfu/src/a.rs': 'use std::net::UdpSocket;' })), /socket/);
  fails(checks.purity(tree({ 'sfu/src/a.rs': 'let x = rand::random();' })), /seed/);
  fails(checks.purity(tree({ 'sfu/Cargo.toml': '[dependencies]\ntokio = "1"\n' })), /depends on tokio/);
  fails(checks.purity(tree({ 'sfu/Cargo.toml': '[dependencies]\ntokio.workspace = true\n' })), /depends on tokio/);
});

test('purity: comments, strings, tests and other crates are not its business', () => {
  passes(
    checks.purity(tree({ 'sfu/src/a.rs': '// Instant::now is banned\n/* std::fs */ const S: &str = "std::thread";' })),
  );
  passes(checks.purity(tree({ 'sfu/src/a.rs': '#[cfg(test)]\nmod tests { fn f() { let t = Instant::now(); } }' })));
  passes(checks.purity(tree({ 'sfu/src/lib.rs': '#[cfg(test)]\nmod world;', 'sfu/src/world.rs': 'use std::fs;' })));
  passes(checks.purity(tree({ 'src/a.rs': 'use std::fs;' })));
  passes(checks.purity(tree({ 'sfu/Cargo.toml': '[dependencies]\nserde = "1"\n[dev-dependencies]\ntokio = "1"\n' })));
  // What follows a test module still counts.
  fails(checks.purity(tree({ 'sfu/src/a.rs': '#[cfg(test)]\nmod tests { }\nuse std::fs;' })), /a\.rs:3/);
});

test('crate arrows: sfu imports no sibling, nobody imports the shell', () => {
  const cargo = (name, dependency) => `[package]\nname = "${name}"\n[dependencies]\n${dependency}.workspace = true\n`;
  fails(checks.crateArrows(tree({ 'sfu/Cargo.toml': cargo('sfu', 'signaling') })), /sfu must not import signaling/);
  fails(checks.crateArrows(tree({ 'recording/Cargo.toml': cargo('recording', 'signaling') })), /must not import/);
  fails(checks.crateArrows(tree({ 'signaling/Cargo.toml': cargo('signaling', 'lectern') })), /must not import/);
  passes(
    checks.crateArrows(
      tree({ 'signaling/Cargo.toml': cargo('signaling', 'sfu'), 'Cargo.toml': cargo('lectern', 'recording') }),
    ),
  );
});

test('module cycles: found through use, braces, paths and super', () => {
  const two = (a, b) => checks.moduleCycles(tree({ 'src/a.rs': a, 'src/b.rs': b }), 'src/');
  fails(two('use crate::b::X;', 'use crate::a::Y;'), /a -> b -> a|b -> a -> b/);
  fails(two('use crate::{b::X, c};', 'fn f() { crate::a::y(); }'), /cycle/);
  fails(two('use super::b::X;', 'use super::a::Y;'), /cycle/);
  passes(two('use crate::b::X;', 'use crate::c::Y;'));
  passes(two('use crate::b::X;', '// crate::a is above us'));
  passes(two('use crate::b::X;', '#[cfg(test)]\nmod tests { use crate::a::Y; }'));
  const three = tree({
    'src/a.rs': 'use crate::b::B;',
    'src/b/mod.rs': 'use crate::c;',
    'src/c.rs': 'use crate::{a::{A, Z}};',
  });
  fails(checks.moduleCycles(three, 'src/'), /cycle/);
  const inside = tree({
    'src/b/mod.rs': 'mod x; mod y;',
    'src/b/x.rs': 'use super::y::Y;',
    'src/b/y.rs': 'use crate::b::x::X;',
  });
  fails(checks.moduleCycles(inside, 'src/'), /b::x -> b::y|b::y -> b::x/);
  const child = tree({ 'src/b/mod.rs': 'mod x; use self::x::X;', 'src/b/x.rs': 'use super::Parent;' });
  passes(checks.moduleCycles(child, 'src/'));
});

test('floors of sfu: nothing imports upwards', () => {
  fails(
    checks.sfuFloors(tree({ 'sfu/src/room.rs': 'use crate::node::Node;', 'sfu/src/node.rs': '' })),
    /room stands below node/,
  );
  fails(
    checks.sfuFloors(tree({ 'sfu/src/io.rs': 'use crate::peer::Peer;', 'sfu/src/peer.rs': '' })),
    /io stands below peer/,
  );
  fails(
    checks.sfuFloors(tree({ 'sfu/src/forward/cache.rs': 'use crate::room::Room;', 'sfu/src/room.rs': '' })),
    /forward stands below room/,
  );
  fails(
    checks.sfuFloors(tree({ 'sfu/src/newcomer.rs': 'use crate::room::Room;', 'sfu/src/room.rs': '' })),
    /newcomer stands below/,
  );
  passes(
    checks.sfuFloors(
      tree({
        'sfu/src/node.rs': 'use crate::room::Room;',
        'sfu/src/room.rs': 'use crate::io::Event;',
        'sfu/src/io.rs': '',
      }),
    ),
  );
});

test('str0m::Rtc is named in peer.rs alone', () => {
  fails(checks.oneRtc(tree({ 'sfu/src/room.rs': 'use str0m::{Event, Rtc};' })), /room\.rs:1: only/);
  fails(checks.oneRtc(tree({ 'src/worker.rs': 'let r: str0m::RtcConfig;' })), /worker/);
  passes(
    checks.oneRtc(
      tree({ 'sfu/src/peer.rs': 'use str0m::Rtc;', 'sfu/src/room.rs': '/// Not an `Rtc`.\nstruct RtcLike;' }),
    ),
  );
});

test('unsafe is in src/udp.rs alone', () => {
  fails(checks.unsafeInUdpOnly(tree({ 'src/tcp.rs': 'fn f() { unsafe { g() } }' })), /tcp\.rs:1/);
  passes(
    checks.unsafeInUdpOnly(
      tree({
        'src/udp.rs': 'unsafe { g() }',
        'src/a.rs': '#![deny(unsafe_code)] // unsafe\nconst A: &str = "unsafe";',
      }),
    ),
  );
});

test('licences', () => {
  for (const good of [
    'MIT',
    'MIT OR GPL-3.0',
    'Apache-2.0/MIT',
    '(MIT OR Apache-2.0) AND Unicode-3.0',
    'Apache-2.0 WITH LLVM-exception',
  ]) {
    assert.equal(checks.licenceAllowed(good), true, good);
  }
  for (const bad of [
    '',
    'GPL-3.0-only',
    'MIT AND GPL-3.0',
    '(GPL-2.0 OR AGPL-3.0) AND MIT',
    'SSPL-1.0',
    'MPL-2.0',
    'MIT ISC',
  ]) {
    assert.equal(checks.licenceAllowed(bad), false, bad);
  }
  fails(
    checks.rustLicences({ packages: [{ name: 'x', version: '1.0.0', license: 'AGPL-3.0' }] }),
    /crate x 1\.0\.0: licence AGPL/,
  );
  fails(checks.rustLicences({ packages: [{ name: 'x', version: '1.0.0', license: null }] }), /not stated/);
  passes(checks.rustLicences({ packages: [{ name: 'x', version: '1.0.0', license: 'MIT' }] }));
  const lock = (entry) => ({ packages: { '': {}, 'node_modules/x': { version: '1.0.0', ...entry } } });
  fails(checks.npmLicences(lock({ license: 'GPL-3.0' }), 'web/package-lock.json'), /x 1\.0\.0/);
  fails(checks.npmLicences(lock({ license: 'MPL-2.0' }), 'web/package-lock.json'), /MPL/);
  fails(checks.npmLicences(lock({}), 'web/package-lock.json'), /not stated/);
  passes(checks.npmLicences(lock({ license: 'MPL-2.0', dev: true }), 'web/package-lock.json'));
  passes(checks.npmLicences(lock({ license: 'MIT' }), 'web/package-lock.json'));
});

test('versions with known holes', () => {
  const lock = (name, version) => `[[package]]\nname = "${name}"\nversion = "${version}"\n`;
  fails(checks.knownHoles(lock('socketioxide', '0.18.8')), /0\.18\.9/);
  fails(checks.knownHoles(lock('engineioxide', '0.16.9')), /0\.17\.9/);
  fails(checks.knownHoles(lock('jsonwebtoken', '9.3.1')), /10\.3/);
  fails(checks.knownHoles(lock('h2', '0.4.15')), /0\.4\.16/);
  passes(checks.knownHoles(lock('h2', '0.4.16') + lock('socketioxide', '0.19.0') + lock('jsonwebtoken', '10.10.0')));
});

test('long files say why', () => {
  const long = 'x\n'.repeat(801);
  fails(checks.fileLengths(tree({ 'src/a.rs': long })), /802 lines/);
  passes(
    checks.fileLengths(
      tree({
        'src/a.rs': `//! This file is longer than 800\n//! lines because the table is one.\n${long}`,
        'a.md': long,
      }),
    ),
  );
});

test('dead links', () => {
  const files = {
    'README.md': '[a](docs/a.md) [b](docs/b.md#two-words) <img src="docs/x.png">',
    'docs/b.md': '# Two words\n[up](../README.md)',
  };
  const exists = (path) => path in files;
  fails(checks.deadLinks(tree(files), exists), /dead link docs\/a\.md/);
  fails(checks.deadLinks(tree(files), exists), /dead link docs\/x\.png/);
  fails(checks.deadLinks(tree({ ...files, 'README.md': '[b](docs/b.md#three)' }), exists), /no heading/);
  passes(
    checks.deadLinks(
      tree({ ...files, 'README.md': '[b](docs/b.md#two-words) [c](https://example.org) `[d](e)`\n```\n[x](y)\n```' }),
      (path) => path in files || path === 'e',
    ),
  );
});

test('large binaries', () => {
  fails(checks.largeBinaries([{ path: 'a.png', bytes: 1_048_577, binary: true }]), /a\.png/);
  passes(
    checks.largeBinaries([
      { path: 'a.png', bytes: 1_048_576, binary: true },
      { path: 'a.json', bytes: 9_999_999, binary: false },
    ]),
  );
});
