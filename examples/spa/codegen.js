// Writes src/gql: the types of the server's schema and a typed document for each operation in
// src/operations.graphql. It fails where an operation does not fit the schema. With `--trusted` the page knows its
// operations by their hashes alone, and src/gql/persisted-documents.json has the texts, for the server. The generator's
// command line would do the same with a file of settings; it brings 240 packages along, and this needs few.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { codegen } from '@graphql-codegen/core';
import { preset } from '@graphql-codegen/client-preset';
import { formatDocument } from '@urql/core';
import { buildSchema, parse } from 'graphql';

const sources = { schema: '../../schema.graphql', operations: 'src/operations.graphql' };
const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
const trusted = process.argv.includes('--trusted');

const schemaAst = buildSchema(read(sources.schema));
const operations = read(sources.operations);
// Adds each `__typename` that urql's cache goes by: to a document that is known by its hash alone urql cannot.
const document = formatDocument(parse(operations));
const outputs = await preset.buildGeneratesSection({
  baseOutputDir: 'src/gql/',
  schema: parse(read(sources.schema)),
  schemaAst,
  documents: [{ location: sources.operations, document, rawSDL: operations }],
  presetConfig: {
    fragmentMasking: false,
    persistedDocuments: trusted && {
      mode: 'replaceDocumentWithHash',
      hashPropertyName: 'documentId',
      hashAlgorithm: 'sha256',
    },
  },
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
// The list of texts waits for the typed documents, so all at once.
const write = async (output) => {
  const content = await codegen({ ...output, schemaAst });
  // Where urql looks for it.
  const known = content.replaceAll(/\{"__meta__":\{("documentId":"[^"]+")\}\}/g, '{"kind":"Document","definitions":[],$1}');
  writeFileSync(new URL(output.filename, import.meta.url), known);
};
await Promise.all(outputs.map(write));
