import type { Migration } from '../schema.ts';

/**
 * The first tables. Written down as they were then: what later versions think a record is does not change what this
 * migration makes.
 */
export const records: Migration = {
  name: '0001-records',
  async up(schema) {
    await schema.table('gantry_records', ({ text, long, integer }) => ({
      kind: { type: text(64), primaryKey: true },
      name: { type: text(200), primaryKey: true },
      // The name with ASCII letters in lower case, to be searched: engines differ in how they fold the others.
      folded: { type: text(200) },
      version: { type: integer },
      body: { type: long },
      changed_at: { type: integer },
      changed_by: { type: text(200) },
      revision: { type: integer },
    }));
    await schema.table('gantry_fields', ({ text }) => ({
      kind: { type: text(64), primaryKey: true },
      name: { type: text(200), primaryKey: true },
      field: { type: text(64), primaryKey: true },
      value: { type: text(200) },
    }));
    await schema.index('gantry_fields', 'gantry_fields_by_value', ['kind', 'field', 'value', 'name']);
    await schema.table('gantry_references', ({ text }) => ({
      kind: { type: text(64), primaryKey: true },
      name: { type: text(200), primaryKey: true },
      to_kind: { type: text(64), primaryKey: true },
      to_name: { type: text(200), primaryKey: true },
    }));
    await schema.index('gantry_references', 'gantry_references_by_target', ['to_kind', 'to_name']);
    await schema.table('gantry_claims', ({ text, long }) => ({
      // SHA-256 of the claim, in hexadecimal: a claim has any length, and an index does not.
      digest: { type: text(64), primaryKey: true },
      // A JSON string, which can hold what a text of some engines cannot.
      claim: { type: long },
      kind: { type: text(64) },
      name: { type: text(200) },
    }));
    await schema.index('gantry_claims', 'gantry_claims_by_record', ['kind', 'name']);
    await schema.table('gantry_changes', ({ text, long, integer }) => ({
      revision: { type: integer, primaryKey: true },
      action: { type: text(10) },
      kind: { type: text(64) },
      name: { type: text(200) },
      version: { type: integer },
      changed_at: { type: integer },
      changed_by: { type: text(200) },
      cid: { type: text(200), allowNull: true },
      // The record before and after; `before` is a reserved word here and there.
      was: { type: long, allowNull: true },
      became: { type: long, allowNull: true },
    }));
    await schema.index('gantry_changes', 'gantry_changes_by_record', ['kind', 'name', 'revision']);
    await schema.index('gantry_changes', 'gantry_changes_by_author', ['changed_by', 'revision']);
    await schema.index('gantry_changes', 'gantry_changes_by_time', ['changed_at']);
    await schema.index('gantry_changes', 'gantry_changes_by_cid', ['cid']);
    // One row, which every change locks: so revisions are given in the order in which changes become visible.
    await schema.table('gantry_counter', ({ integer }) => ({
      id: { type: integer, primaryKey: true },
      revision: { type: integer },
    }));
    await schema.add('gantry_counter', ['id', 'revision'], [1, 0]);
  },
};
