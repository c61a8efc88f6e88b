import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { User } from './daemon.ts';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly pem: string;
}

/** Of 'localhost', signed by itself. Null where there is no openssl. */
export function certificate(folder: string, user: User | null): Certificate | null {
  const [certFile, keyFile] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
  const { status } = spawnSync('openssl', ['req', '-x509', '-days', '2', ...key, '-out', certFile, ...name], {
    stdio: 'ignore',
  });
  if (status !== 0) return null;
  chmodSync(keyFile, 0o600);
  if (user !== null) for (const file of [certFile, keyFile]) chownSync(file, user.uid, user.gid);
  return { certFile, keyFile, pem: readFileSync(certFile, 'utf8') };
}
