// Opens the GraphiQL page of the server at BASE_URL as a newcomer would. Needs Chromium, whose path
// CHROMIUM may name; SCREENSHOT names a PNG file to write.
import assert from 'node:assert/strict';
import { buildClientSchema, getIntrospectionQuery, parse, validate } from 'graphql';
import { getVariableValues } from 'graphql/execution/values.js';
import { examples } from '../../playground/src/examples.js';
import { graphql, inBrowser } from './browser.mjs';

const { SCREENSHOT } = process.env;

async function checkExamples(origin) {
  const schema = buildClientSchema(await graphql(origin, getIntrospectionQuery()));
  for (const { query, variables = '{}' } of examples) {
    const document = parse(query);
    const { name, variableDefinitions } = document.definitions[0];
    const problems = validate(schema, document);
    const values = getVariableValues(schema, variableDefinitions, JSON.parse(variables));
    for (const { message } of [...problems, ...(values.errors ?? [])]) {
      assert.fail(`example ${name.value} does not fit the schema: ${message}`);
    }
  }
}

async function checkPage(page, origin, { problems, outside }) {
  /** Waits until the element shows the text; Monaco puts no-break spaces in the place of spaces. */
  const shows = async (selector, text) => {
    const texts = () => page.locator(selector).allInnerTexts();
    const deadline = Date.now() + 30_000;
    while (!(await texts()).join('\n').replaceAll('\u00a0', ' ').includes(text)) {
      if (Date.now() > deadline) {
        assert.fail(`${selector} does not show ${text}, but: ${await texts()}; console: ${problems}; outside: ${outside}`);
      }
      await page.waitForTimeout(50);
    }
  };
  // Monaco closes brackets by itself and puts them around a selection, which `type`, or a selection
  // that is still there, would trip over.
  const write = async (editor, text) => {
    await page.locator(`${editor} .view-lines`).click();
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.press('Delete');
    await page.keyboard.insertText(text);
    await page.keyboard.press('Escape');
  };
  const headers = '.graphiql-editor-tool .graphiql-editor:not(.hidden)';

  const response = await page.goto(origin);
  assert.equal(response.status(), 200, 'status of the page');
  assert.equal(await page.title(), 'Cardea · GraphiQL');
  await shows('.graphiql-query-editor', 'query Welcome');
  assert.equal(await page.locator('.graphiql-tab').count(), examples.length, 'number of tabs');

  await write('.graphiql-query-editor', 'query Typed { viewer { isAuthenticated } }');
  // The name of the tab changes once the document is parsed; until then the old operation would run.
  await shows('.graphiql-tab', 'Typed');
  await page.locator('.graphiql-execute-button').click();
  await shows('.graphiql-response', '"isAuthenticated": false');

  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await shows('.graphiql-doc-explorer', 'query: Query');
  await shows('.graphiql-doc-explorer', 'mutation: Mutation');

  await page.getByRole('button', { name: 'Headers', exact: true }).click();
  await shows(headers, '"Authorization": "Bearer "');
  await write(headers, '{ "Authorization": "Bearer pasted-token" }');
  await page.getByRole('tab', { name: 'Login', exact: true }).click();
  await shows('.graphiql-query-editor', 'mutation Login');
  await shows(headers, 'pasted-token');
  const kept = await page.evaluate(() => JSON.stringify(localStorage));
  assert(!kept.includes('pasted-token'), 'the token went into localStorage');

  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT });
}

await inBrowser('playground', async (page, origin, seen) => {
  await checkExamples(origin);
  await checkPage(page, origin, seen);
  return `${examples.length} examples`;
});
