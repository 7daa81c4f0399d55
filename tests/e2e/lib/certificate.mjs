// Certificates of sites that do not exist.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * A certificate as a site has it: vouched for, because the browser is told so by the argument `known`. `cert` and `key` are files in the
 * folder.
 */
export function certificate(folder, ip = '127.0.0.1') {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const made = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30'],
    ...['-subj', '/CN=localhost', '-addext', `subjectAltName=DNS:localhost,IP:${ip}`],
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
