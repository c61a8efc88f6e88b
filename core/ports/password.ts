/** Hashes passwords of people and programs, slowly on purpose, and checks them. */
export interface Passwords {
  /** A text that holds algorithm, cost and salt, too (PHC string format). Rejects with RECORD_INVALID for what it does not take. */
  hash(password: string): Promise<string>;
  /**
   * Whether it is the password of that hash; one that was checked shortly before costs next to nothing and is answered
   * without a promise. Null where there is no such user: false, after as long as a wrong password takes; the
   * name goes into `password` then, so that the same guess for two such names counts as two. Rejects with
   * SERVER_BUSY where more are waiting than can be checked, and with SECRET_UNREADABLE for what is no hash of this plugin's.
   */
  verify(password: string, hash: string | null): boolean | Promise<boolean>;
}
