/** Hashes the passwords of people and programs, slowly by design, and verifies them. */
export interface Passwords {
  /**
   * A PHC string: the hash with its algorithm, cost and salt. Rejects with RECORD_INVALID for a password that it does
   * not accept.
   */
  hash(password: string): Promise<string>;
  /**
   * True if the password has that hash. A password that was verified a short time before is answered from a cache,
   * without a promise. Pass a `hash` of null for an unknown user: the answer is false, and takes as long as that to a
   * wrong password; `password` must then include the user's name, so that one guess for two unknown names counts as
   * two. Rejects with SERVER_BUSY if too many checks are waiting, and with SECRET_UNREADABLE if `hash` is not a hash
   * of this plugin.
   */
  verify(password: string, hash: string | null): boolean | Promise<boolean>;
}
