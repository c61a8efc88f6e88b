import { Type } from 'gantry/api';

const PATH = '^[^\\s;"\'\\\\]+$';

/** What differs between two hosts; what an administrator changes while it runs is in the balancer's settings. */
export const Config = Type.Object(
  {
    program: Type.String({ default: 'haproxy', minLength: 1, description: 'Its path, or a name on the PATH' }),
    folder: Type.String({
      default: 'haproxy',
      pattern: PATH,
      description: 'Where its configuration, state and log are kept, readable by us alone; below the data folder',
    }),
    sockets: Type.Optional(
      Type.String({
        pattern: PATH,
        description: 'A folder with a short path for its two sockets. Default: the folder, or one in the temp folder',
      }),
    ),
    managed: Type.Union([Type.Literal('own'), Type.Literal('systemd')], {
      default: 'own',
      description:
        "own: we start it and start it again. systemd: a unit of systemd is it, and we write that one's file",
    }),
    unit: Type.String({ default: 'haproxy.service', pattern: '^[A-Za-z0-9@_.-]+$', description: 'Of systemd' }),
    file: Type.String({
      default: '/etc/haproxy/haproxy.cfg',
      pattern: PATH,
      description: "The unit's configuration file, which we write",
    }),
    user: Type.Optional(
      Type.String({
        pattern: '^[a-z_][a-z0-9_-]*$',
        description: 'Who it becomes where it is started by root; also its group, where none is given',
      }),
    ),
    group: Type.Optional(Type.String({ pattern: '^[a-z_][a-z0-9_-]*$' })),
    stopWithUs: Type.Boolean({ default: false, description: 'Whether it ends when this process does, in order' }),
    stopMs: Type.Integer({
      default: 10_000,
      minimum: 0,
      maximum: 600_000,
      description: 'How long calls may go on when it is to end',
    }),
    oldWorkersMs: Type.Integer({
      default: 600_000,
      minimum: 1000,
      maximum: 86_400_000,
      description: 'How long calls from before a reload may go on; what takes longer, e.g. a WebSocket, is cut',
    }),
    serverCa: Type.Optional(
      Type.String({
        pattern: PATH,
        description: "PEM file by which servers that talk TLS are checked. Without it their certificates aren't",
      }),
    ),
  },
  { additionalProperties: false },
);
