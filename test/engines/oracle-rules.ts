/** What Oracle Database (12.2 and newer) refuses or understands otherwise, as far as a statement's text tells it. */
import type { Statement } from './oracle-recorder.ts';

/** Columns of the ODB that are CLOBs. */
const CLOBS = '"(?:body|claim|was|became|result|reason|data)"';
const LONGEST_NAME = 30;
const LONGEST_LIST = 1000;
const LONGEST_TEXT_BYTES = 4000;

/**
 * What may stand in a statement without quotes and means what it is meant to. A word that is not here may be another
 * engine's, or one that Oracle reserves.
 */
const WORDS = new Set(
  `SELECT DISTINCT FROM WHERE AND OR NOT IN IS NULL EXISTS LIKE ESCAPE BETWEEN ORDER BY ASC DESC GROUP HAVING
   OFFSET ROWS FETCH NEXT ONLY FOR UPDATE LEFT INNER OUTER JOIN ON AS CASE WHEN THEN ELSE END
   COUNT LENGTH REPLACE LOWER UPPER COALESCE MAX MIN SUM INSERT INTO VALUES SET UPDATE DELETE UNION ALL
   FLOOR EXTRACT DAY HOUR MINUTE SECOND SYS_EXTRACT_UTC SYSTIMESTAMP CAST DATE TIMESTAMP
   CREATE TABLE INDEX UNIQUE PRIMARY KEY VARCHAR2 CHAR NUMBER CLOB
   ALTER SESSION NLS_COMP NLS_SORT BINARY TRANSACTION ISOLATION LEVEL READ COMMITTED
   BEGIN EXECUTE IMMEDIATE EXCEPTION OTHERS IF SQLCODE RAISE LOCK EXCLUSIVE MODE WAIT
   GANTRY_LOCK ID`.split(/\s+/),
);

interface Rule {
  readonly says: string;
  breaks(sql: string, binds: Statement['binds']): boolean;
}

const RULES: readonly Rule[] = [
  { says: 'an empty text is NULL', breaks: (sql, binds) => sql.includes("''") || binds.flat().includes('') },
  { says: 'there are no booleans', breaks: (_, binds) => binds.flat().some((value) => typeof value === 'boolean') },
  { says: 'a value is missing', breaks: (_, binds) => binds.flat().includes(undefined) },
  {
    says: 'there are as many values as places',
    breaks: (sql, binds) => binds.some((row) => row.length !== (bare(sql).match(/:\w+/g) ?? []).length),
  },
  { says: 'a statement ends without a semicolon', breaks: (sql) => !/\bEND;$/.test(sql) && /;\s*$/.test(sql) },
  { says: 'a SELECT has a FROM', breaks: (sql) => count(sql, /\bSELECT\b/g) > count(sql, /\bFROM\b/g) },
  { says: 'INSERT takes one row', breaks: (sql) => /\bVALUES\s*\([^)]*\)\s*,/.test(sql) },
  { says: 'a table has its other name without AS', breaks: (sql) => /\b(?:FROM|JOIN)\s+"\w+"\s+AS\b/.test(sql) },
  { says: 'ORA-02014: no FOR UPDATE of a page', breaks: (sql) => /\bFETCH\b/.test(sql) && /\bFOR UPDATE\b/.test(sql) },
  { says: 'a page has an order', breaks: (sql) => /\bFETCH\b/.test(sql) && !/\bORDER BY\b/.test(sql) },
  {
    says: `names have at most ${LONGEST_NAME} characters`,
    breaks: (sql) =>
      [...unquoted(sql).matchAll(/"([^"]*)"|\b([A-Za-z_]\w*)/g)].some(
        ([, a = '', b = '']) => (a || b).length > LONGEST_NAME,
      ),
  },
  {
    says: `ORA-01795: a list has at most ${LONGEST_LIST} values`,
    breaks: (sql) =>
      [...sql.matchAll(/\bIN\s*\(([^()]*)\)/g)].some(([, list = '']) => list.split(',').length > LONGEST_LIST),
  },
  {
    says: 'ORA-00932: a CLOB is not compared',
    breaks: (sql) =>
      new RegExp(`${CLOBS}\\s*(?:[=<>!]|IN\\b|BETWEEN\\b)`).test(sql.replace(/\bSET\b[^;]*?(?=\bWHERE\b|$)/, '')) ||
      new RegExp(`[=<>]\\s*(?:\\w\\.)?${CLOBS}`).test(sql),
  },
  {
    says: 'ORA-00932: a CLOB is not sorted, grouped or made distinct',
    breaks: (sql) =>
      new RegExp(`\\b(?:ORDER|GROUP) BY\\b.*${CLOBS}|\\bSELECT DISTINCT\\b.*${CLOBS}.*\\bFROM\\b`).test(sql),
  },
  {
    says: 'ORA-02327: a CLOB is in no index',
    breaks: (sql) => new RegExp(`\\bCREATE INDEX\\b.*${CLOBS}|\\bPRIMARY KEY\\s*\\([^)]*${CLOBS}`).test(sql),
  },
  { says: `texts that are no CLOB have at most ${LONGEST_TEXT_BYTES} bytes`, breaks: tooLong },
];

/** What is wrong with a statement, and with those that a block of PL/SQL runs. */
export function violations({ sql: raw, binds }: Statement): string[] {
  const sql = raw
    .replace(/^\/\*.*?\*\//, '')
    .replace(/\s+/g, ' ')
    .trim();
  // The dictionary, asked by Sequelize as it asks it for everybody.
  if (sql.includes('all_ind_columns')) return [];
  const inner = [...sql.matchAll(/\bEXECUTE IMMEDIATE '([^']*)'/g)].map(([, text = '']) => text);
  const outer = inner.length === 0 ? sql : sql.replace(/\bEXECUTE IMMEDIATE '[^']*'/g, 'EXECUTE IMMEDIATE');
  const own = RULES.filter((rule) => rule.breaks(outer, binds)).map((rule) => rule.says);
  return [...own, ...strangers(outer), ...inner.flatMap((text) => violations({ sql: text, binds: [[]] }))];
}

function strangers(sql: string): string[] {
  const words =
    bare(sql)
      .replace(/:\w+/g, ' ')
      .match(/[A-Za-z_]\w*/g) ?? [];
  const unknown = words.filter((word) => word.length > 1 && !WORDS.has(word.toUpperCase()));
  return unknown.map((word) => `the word ${word} is not one of Oracle's that are used here`);
}

/** An INSERT names its columns, and so does what an UPDATE sets: so which value is a CLOB can be told; elsewhere none is. */
function tooLong(sql: string, binds: Statement['binds']): boolean {
  const [, inserted = ''] = /^INSERT INTO "\w+" \(([^)]*)\)/.exec(sql) ?? [];
  const [, updated = ''] = /^UPDATE "\w+" SET (.*?) WHERE\b/.exec(sql) ?? [];
  const columns = (inserted || updated).split(',').map((name) => name.replace(/=.*/, '').trim());
  return binds.some((row) =>
    row.some(
      (value, i) =>
        typeof value === 'string' &&
        Buffer.byteLength(value) > LONGEST_TEXT_BYTES &&
        !new RegExp(`^${CLOBS}$`).test(columns[i] ?? ''),
    ),
  );
}

function unquoted(sql: string): string {
  return sql.replace(/'[^']*'/g, "' '");
}
/** Without texts and quoted names. */
function bare(sql: string): string {
  return unquoted(sql)
    .replace(/"[^"]*"/g, ' ')
    .replace(/' '/g, ' ');
}
function count(sql: string, pattern: RegExp): number {
  return (bare(sql).match(pattern) ?? []).length;
}
