// Writes src/gql: the types of the server's schema and a typed document for each operation in
// src/operations.graphql. It fails where an operation does not fit the schema. The generator's command line would
// do the same with a file of settings; it brings 240 packages along, and this needs few.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { codegen } from '@graphql-codegen/core';
import { preset } from '@graphql-codegen/client-preset';
import { buildSchema, parse } from 'graphql';

const sources = { schema: '../../schema.graphql', operations: 'src/operations.graphql' };
const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');

const schemaAst = buildSchema(read(sources.schema));
const outputs = await preset.buildGeneratesSection({
  baseOutputDir: 'src/gql/',
  schema: parse(read(sources.schema)),
  schemaAst,
  documents: [
    { location: sources.operations, document: parse(read(sources.operations)), rawSDL: read(sources.operations) },
  ],
  presetConfig: { fragmentMasking: false },
  plugins: [],
  pluginMap: {},
  pluginContext: {},
  config: {
    useTypeImports: true,
    enumType: 'string-literal',
    strictScalars: true,
    // As they travel: texts, except for JSON.
    scalars: { Date: 'string', DateTime: 'string', EmailAddress: 'string', JSON: 'unknown', URL: 'string', UUID: 'string' },
  },
});

mkdirSync(new URL('src/gql/', import.meta.url), { recursive: true });
for (const output of outputs) {
  writeFileSync(new URL(output.filename, import.meta.url), await codegen({ ...output, schemaAst }));
}
