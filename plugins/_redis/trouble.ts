/** What an operator can do about an error of Redis or of the way to it. The plugins that use Redis have this file alike. */

const ADVICE: readonly (readonly [RegExp, string])[] = [
  [
    /sentinel.*(WRONGPASS|NOAUTH|NOPERM)|(WRONGPASS|NOAUTH|NOPERM).*sentinel/is,
    'The sentinels refuse us: mend sentinelUsername and sentinelPassword.',
  ],
  [/WRONGPASS|NOAUTH|invalid password|user is disabled/i, 'Redis refuses us: mend username and password.'],
  [/NOPERM/, 'The user may not do this: its ACL needs what docs/redis.md lists.'],
  [/DB index/i, 'Redis has no such database: mend db, or raise its setting databases.'],
  [/^MOVED|^ASK|CROSSSLOT/, 'This is a node of a cluster: give its address as cluster.'],
  [/cluster support disabled/i, 'This is no cluster: give its address as host and port.'],
  [/CLUSTERDOWN/, 'A part of the cluster has no master: start it, or let a replica take over.'],
  [/All sentinels are unreachable/, 'Start the sentinels, or mend sentinels and master.'],
  [/^OOM/, "Redis' memory is full: raise maxmemory. Its policy must be noeviction."],
  [/^MISCONF/, 'Redis cannot write to its disk, and so takes no changes: mend that.'],
  [/^NOREPLICAS/, 'Redis waits for its replicas: start them, or mend min-replicas-to-write.'],
  [/^READONLY|^MASTERDOWN/, 'This is a replica: give the address of its master, or use sentinels.'],
  [/LOADING|become ready/, 'It may be reading its data; else something between here and there takes the connection.'],
  [/ENOTFOUND|EAI_AGAIN/, 'The name is not known: mend the host, or the DNS.'],
  [/ECONNREFUSED/, 'Start Redis, or mend the host and port.'],
  [
    /ETIMEDOUT|EHOSTUNREACH|ENETUNREACH/,
    'Nothing answers there: look at the network and the firewall. A port without TLS does not answer to TLS either.',
  ],
  [/wrong version number|EPROTO/i, 'Redis speaks no TLS at this port: use its tls-port, or leave tls away.'],
  [/altnames|ERR_TLS_CERT/i, 'The certificate is of another name: set tls.servername.'],
  [/certificate|CERT_/i, 'The certificate is not trusted: set tls.ca.'],
  [/closed|ECONNRESET|EPIPE|socket hang up/i, 'It may be restarting. Where it never works: does that port want TLS?'],
  [/did not answer/, 'Redis hangs, is overloaded, or cannot be reached any more.'],
];

/** '' where nothing is known. */
export function adviceFor(error: unknown): string {
  const { message = '', code = '' } = error instanceof Error ? (error as Error & { code?: string }) : {};
  return ADVICE.find(([pattern]) => pattern.test(`${message} ${code}`) || pattern.test(code))?.[1] ?? '';
}
