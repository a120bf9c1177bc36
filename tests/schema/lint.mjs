// Lints the schema at the top, and one that must not pass, so that a linter that sees nothing does not pass either.
import { dirname, resolve } from 'node:path';

import { ESLint } from 'eslint';

const schema = resolve(import.meta.dirname, '../../schema.graphql');
process.env.SCHEMA = schema;
const eslint = new ESLint({
  cwd: dirname(schema),
  overrideConfigFile: resolve(import.meta.dirname, 'eslint.config.mjs'),
});
const [linted] = await eslint.lintFiles([schema]);
for (const { line, message, ruleId } of linted.messages) console.log(`${line}: ${message} (${ruleId})`);

const wrong = 'type wrong_name { a(X: Int): Int @deprecated }\n';
const [refused] = await eslint.lintText(wrong, { filePath: resolve(dirname(schema), 'wrong.graphql') });
const rules = ['naming-convention', 'require-deprecation-reason', 'require-description'];
const found = rules.filter((rule) => refused.messages.some(({ ruleId }) => ruleId === `@graphql-eslint/${rule}`));
console.log(`${linted.messages.length} findings, and ${found.join(', ')} where they belong`);
