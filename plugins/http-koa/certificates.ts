import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Problem } from '../../core/api.ts';

/** Absolute paths. */
export interface Files {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string | null;
}

/** Files that fit together. */
export interface Loaded {
  readonly context: SecureContextOptions;
  readonly subject: string;
  readonly validFrom: Date;
  readonly validTo: Date;
}

/** Another text whenever one of the files is another one, or has other content. */
export async function stampOf(files: Files): Promise<string> {
  const stamps = Object.values(files).map(async (file: string | null) => {
    const about = file === null ? null : await stat(file).catch(() => null);
    return about === null ? '' : `${about.ino}:${about.size}:${about.mtimeMs}:${about.ctimeMs}`;
  });
  return (await Promise.all(stamps)).join(' ');
}

/** What is wrong with each file, or a context that works. Never rejects. */
export async function loadFiles(files: Files): Promise<Loaded | { readonly problems: readonly Problem[] }> {
  const problems: Problem[] = [];
  const read = async <T>(key: keyof Files, understand: (pem: Buffer) => T): Promise<[Buffer, T] | null> => {
    const file = files[key];
    if (file === null) return null;
    try {
      const pem = await readFile(file);
      return [pem, understand(pem)];
    } catch (error) {
      problems.push(problem(key, file, error as NodeJS.ErrnoException));
      return null;
    }
  };
  const cert = await read('certFile', (pem) => new X509Certificate(pem));
  const key = await read('keyFile', (pem) => createPrivateKey(pem));
  const ca = await read('caFile', authorities);
  if (problems.length > 0 || cert === null || key === null) return { problems };
  const certificate = cert[1];
  if (!certificate.checkPrivateKey(key[1])) return { problems: [misfit(files, certificate, key[1])] };
  const context = { cert: cert[0], key: key[0], ...(ca === null ? {} : { ca: ca[0] }) };
  try {
    // OpenSSL has demands of its own, e.g. on the length of keys.
    createSecureContext(context);
  } catch (error) {
    return { problems: [problem('certFile', files.certFile, error as NodeJS.ErrnoException)] };
  }
  const { subject, validFrom, validTo } = certificate;
  return { context, subject, validFrom: new Date(validFrom), validTo: new Date(validTo) };
}

/** Throws where a file has no certificate: OpenSSL takes such a one, and then trusts nobody. */
function authorities(pem: Buffer): number {
  const found = pem.toString('latin1').match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END/g) ?? [];
  if (found.length === 0) throw new Error('no certificate is in it');
  for (const one of found) new X509Certificate(`${one} CERTIFICATE-----\n`);
  return found.length;
}

const EXPECTED: Readonly<Record<keyof Files, string>> = {
  certFile: 'PEM: -----BEGIN CERTIFICATE-----, the server first, then who signed it',
  keyFile: 'PEM: -----BEGIN PRIVATE KEY-----, without a passphrase',
  caFile: 'PEM: one or more times -----BEGIN CERTIFICATE-----',
};

/** Never with anything of the content: one of the files is a secret. */
function problem(key: keyof Files, file: string, { code = '', message }: NodeJS.ErrnoException): Problem {
  const path = `plugins.http.koa.tls.${key}`;
  const plugin = 'http.koa';
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const hint = "A path that is not absolute is relative to the server's data folder.";
    return { path, plugin, message: `is not there: ${file}`, hint };
  }
  if (/^E[A-Z]+$/.test(code)) {
    return {
      path,
      plugin,
      message: `cannot be read (${code}): ${file}`,
      hint: 'This process needs the right to read.',
    };
  }
  if (/PASSPHRASE|interrupted or cancelled/i.test(`${code} ${message}`)) {
    const hint = 'Take the passphrase away: openssl pkey -in old.pem -out new.pem, and guard the file.';
    return { path, plugin, message: `has a passphrase: ${file}`, expected: EXPECTED[key], hint };
  }
  return {
    path,
    plugin,
    message: `cannot be used: ${file}`,
    expected: EXPECTED[key],
    got: code === '' ? message : code,
  };
}

function misfit({ certFile, keyFile }: Files, certificate: X509Certificate, key: KeyObject): Problem {
  return {
    path: 'plugins.http.koa.tls.keyFile',
    plugin: 'http.koa',
    message: `does not fit the first certificate of ${certFile}: ${keyFile}`,
    expected: `the ${certificate.publicKey.asymmetricKeyType} key of ${certificate.subject.replaceAll('\n', ', ')}`,
    got: `another key (${key.asymmetricKeyType})`,
    hint: "The server's own certificate must be the first in certFile.",
  };
}
