import path from 'node:path';
import type { Logger } from '../log/log.ts';
import type { Secret } from '../schema/secret.ts';
import type { ServerInfo } from '../server.ts';
import { Keyring } from './keyring.ts';

interface Parts {
  readonly secrets: { readonly keys?: Secret; readonly file?: string };
  readonly server: Pick<ServerInfo, 'data'>;
  readonly log: Logger;
}

/**
 * Gives the keyring of this installation. It is read, or made, when it is first asked for: so that a check opens no file.
 * The function throws KEY_INVALID.
 */
export function keyringOf({ secrets, server, log }: Parts): () => Keyring {
  let keyring: Keyring | null = null;
  return () => {
    if (keyring !== null) return keyring;
    const file = secrets.file ?? path.join(server.data, 'secret.keys');
    const opened = new Keyring({ keys: secrets.keys ?? null, file });
    if (opened.created) {
      log.warn(
        { file },
        'a key that seals secrets was made: keep a copy of it, and give it to every server of a cluster',
      );
    }
    if (opened.warning !== null) log.warn({ file }, opened.warning);
    keyring = opened;
    return keyring;
  };
}
