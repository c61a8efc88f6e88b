import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Logger } from '../../core/api.ts';

/** In this order they are ended: calls are answered to the last. */
export const STAGES = ['server', 'agent', 'store'] as const;
export type Stage = (typeof STAGES)[number];

/** How long each stage may take until it is killed, in tenths of a second; the kernel gives all of them 20 s. */
const TENTHS: Readonly<Record<Stage, number>> = { server: 85, agent: 50, store: 25 };

/**
 * Reads lines with all processes that there are now, as `server:12 agent:14`; the end of its input is the end of the
 * launcher, or its wish. What it knows by then it ends, stage by stage. HAProxy is the agent's own, and known by the file
 * that it was started with: it outlives an agent that was killed.
 */
const SCRIPT = String.raw`
trap '' INT HUP TERM
list=
while read -r line; do list=$line; done
of() { for one in $list; do case $one in "$1":*) echo "$\{one#*:}";; esac; done; }
living() { for p in "$@"; do kill -0 "$p" 2>/dev/null && return 0; done; return 1; }
finish() {
  n=$1; shift
  for p in "$@"; do kill -TERM "$p" 2>/dev/null; kill -CONT "$p" 2>/dev/null; done
  while living "$@" && [ "$n" -gt 0 ]; do n=$((n-1)); sleep 0.1; done
  for p in "$@"; do kill -KILL "$p" 2>/dev/null; kill -KILL "-$p" 2>/dev/null; done
}
commands() {
  if [ -d /proc/self ]; then
    for d in /proc/[0-9]*; do echo "$\{d#/proc/} $(tr '\0' ' ' < "$d/cmdline" 2>/dev/null)"; done
  else ps -A -ww -o pid=,args=; fi 2>/dev/null
}
balancers() { commands | while read -r p words; do case " $words " in *" -f $file "*) echo "$p";; esac; done; }
file=$1
finish "$2" $(of server)
finish "$3" $(of agent)
left=$(balancers)
for p in $left; do [ "$p" = $$ ] || kill -KILL "$p" 2>/dev/null; done
finish "$4" $(of store)
`.replaceAll('$\\{', '${');

/** A shell that ends what the launcher started, however the launcher itself ends: it hears so by its input. */
export class Warden {
  readonly #balancerFile: string;
  readonly #log: Logger;
  readonly #onStart: (pid: number) => void;
  #shell: ChildProcess;
  #list = '';
  #closing = false;

  /** `balancerFile`: what HAProxy is started with. `onStart` is told the shell's process, and each that takes its place. */
  constructor(balancerFile: string, log: Logger, onStart: (pid: number) => void) {
    this.#balancerFile = balancerFile;
    this.#log = log;
    this.#onStart = onStart;
    this.#shell = this.#start();
  }

  /** All that there is now. */
  watch(processes: readonly { readonly stage: Stage; readonly pid: number }[]): void {
    this.#list = processes.map(({ stage, pid }) => `${stage}:${pid}`).join(' ');
    this.#shell.stdin?.write(`${this.#list}\n`);
  }

  /** Ends all of it, and resolves when nothing is left. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#shell.exitCode !== null || this.#shell.signalCode !== null) return;
    const gone = once(this.#shell, 'exit');
    this.#shell.stdin?.end();
    await gone;
  }

  #start(): ChildProcess {
    const limits = STAGES.map((stage) => String(TENTHS[stage]));
    const shell = spawn('/bin/sh', ['-c', SCRIPT, 'gantry-warden', this.#balancerFile, ...limits], {
      // A session of its own: the terminal's Ctrl-C is for the launcher.
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    shell.once('exit', () => {
      if (this.#closing) return;
      this.#log.warn({}, 'the shell that would end everything after us was ended; another one is started');
      this.#shell = this.#start();
      this.#shell.stdin?.write(`${this.#list}\n`);
    });
    shell.stdin?.on('error', () => {});
    if (shell.pid !== undefined) this.#onStart(shell.pid);
    return shell;
  }
}
