// A certificate as a site has it: from an authority that the browser knows, because it is told to.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Makes one for a name and an address in `folder`, with its key; `known` is the argument that makes Chromium trust it. */
export function certificate(folder, { name = 'localhost', ip = '127.0.0.1' } = {}) {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30'],
    ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name},IP:${ip}`],
    // A site's own, not an authority's.
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-keyout', key, '-out', cert],
  ]);
  assert.equal(made.status, 0, String(made.stderr));
  const publicKey = new X509Certificate(readFileSync(cert)).publicKey.export({
    type: 'spki',
    format: 'der',
  });
  const digest = spawnSync('openssl', ['dgst', '-sha256', '-binary'], {
    input: publicKey,
  }).stdout.toString('base64');
  return {
    cert,
    key,
    known: `--ignore-certificate-errors-spki-list=${digest}`,
  };
}
