import { type Static, Type } from '../../core/api.ts';

export const CsvConfig = Type.Object(
  {
    delimiter: Type.String({ pattern: '^[^"\\r\\n]$', default: ',', description: 'Between two fields' }),
    header: Type.Boolean({ default: true, description: 'Whether the first line names the columns' }),
    maxRows: Type.Integer({ minimum: 1, default: 100_000, description: 'Most rows, without the header' }),
    maxColumns: Type.Integer({ minimum: 1, default: 1000, description: 'Most fields in a row' }),
    maxFieldBytes: Type.Integer({ minimum: 1, default: 1024 * 1024, description: 'Largest field' }),
    guardFormulas: Type.Boolean({
      default: false,
      description: "Writes ' before text that a spreadsheet would take for a formula",
    }),
  },
  { additionalProperties: false },
);
export type CsvConfig = Static<typeof CsvConfig>;
