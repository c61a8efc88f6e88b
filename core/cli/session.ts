/** Passes for a while, and one's own password. */
import type { Noun } from './command.ts';
import { newPassword } from './credentials.ts';
import { localTime } from './display.ts';
import { usage } from './failure.ts';
import { NEW_PASSWORD } from './record-nouns.ts';

interface Opened {
  readonly token: string;
  readonly expiresAt: string;
  readonly role: string;
}

export const session: Noun = {
  name: 'session',
  does: 'A token in the place of the password, and the own password',
  verbs: [
    {
      name: 'create',
      does: 'prints a token, for GANTRY_TOKEN',
      options: [{ name: 'minutes', value: 'N', does: 'how long it is good; default 60, at most 1440' }],
      async run({ client, options, screen }) {
        const minutes = options.integer('minutes', 1);
        const input = minutes === undefined ? {} : { minutes };
        const answer = await client.call<Opened>('session.create', input);
        const { token, expiresAt, role } = answer.value;
        await screen.data(screen.json ? `${answer.text}\n` : `${token}\n`);
        await screen.note(`As ${role}, until ${localTime(expiresAt)}.`);
      },
    },
    {
      name: 'end',
      does: 'ends all sessions of the user, on every server',
      async run({ client, screen }) {
        await screen.show(await client.call('session.end', {}), () => 'All sessions have ended.\n');
      },
    },
    {
      name: 'password',
      does: "changes the user's own password, which ends the sessions, too",
      options: [NEW_PASSWORD],
      async run({ client, credentials, options, screen, terminal }) {
        const password = await newPassword(terminal, options, credentials.user);
        if (password.length < 8) throw usage('The new password has less than 8 characters');
        const answer = await client.call('session.password', { password }, { password: true });
        await screen.show(answer, () => `The password of '${credentials.user}' was changed.\n`);
      },
    },
  ],
};
