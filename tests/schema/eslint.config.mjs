// What the schema is linted for: the recommended rules and those of Relay, without these.
import graphql from '@graphql-eslint/eslint-plugin';

const { rules: recommended } = graphql.configs['flat/schema-recommended'];
const { rules: relay } = graphql.configs['flat/schema-relay'];

export default [
  {
    files: ['**/*.graphql'],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema: process.env.SCHEMA } },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { '@graphql-eslint': graphql },
    rules: {
      ...recommended,
      ...relay,
      // The printer writes what fits into a line as a line, and else as a block.
      '@graphql-eslint/description-style': 'off',
      // `username` is a word, and not a name of a user's.
      '@graphql-eslint/no-typename-prefix': 'off',
      // Payloads, pages, counts and settings are nothing that a client looks up or caches by an id.
      '@graphql-eslint/strict-id-in-types': 'off',
      // Pages have their objects as `nodes` as well, and short lists are no pages.
      '@graphql-eslint/relay-edge-types': [
        'error',
        { listTypeCanWrapOnlyEdgeType: false, shouldImplementNode: false, withEdgeSuffix: true },
      ],
      // Beside those: inputs have names of their own, what changes something answers with an object, and exactly one
      // field cannot be compulsory. Until when something deprecated stays is in its reason (tests/it/compatibility.rs):
      // the rule for that wants an argument that `@deprecated` does not have.
      '@graphql-eslint/input-name': [
        'error',
        { caseSensitiveInputType: false, checkInputType: false, checkMutations: true, checkQueries: false },
      ],
      '@graphql-eslint/no-scalar-result-type-on-mutation': 'error',
      '@graphql-eslint/require-nullable-fields-with-oneof': 'error',
    },
  },
];
