// Opens the GraphiQL page of the server at BASE_URL as a newcomer would. Needs Chromium, whose path
// CHROMIUM may name; SCREENSHOT names a PNG file to write.
import assert from 'node:assert/strict';
import { buildClientSchema, getIntrospectionQuery, parse, validate } from 'graphql';
import { getVariableValues } from 'graphql/execution/values.js';
import { chromium } from 'playwright-core';
import { examples } from '../../playground/src/examples.js';

const { BASE_URL, CHROMIUM = '/usr/bin/chromium', SCREENSHOT } = process.env;

async function checkExamples(origin) {
  const response = await fetch(new URL('/graphql', origin), {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'graphql-require-preflight': '1' },
    body: JSON.stringify({ query: getIntrospectionQuery() }),
  });
  const { data } = await response.json();
  assert(data, `introspection gave no data, status ${response.status}`);
  const schema = buildClientSchema(data);
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

async function checkPage(page, origin) {
  const problems = [];
  const outside = [];
  let requests = 0;
  const note = (url) => {
    requests += 1;
    const { origin: target, protocol, host } = new URL(url);
    const same = target === origin || (protocol.startsWith('ws') && host === new URL(origin).host);
    if (!same && protocol !== 'data:' && protocol !== 'blob:') outside.push(url);
  };
  page.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`${message.text()} ${message.location().url}`);
  });

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
  assert.deepEqual(problems, [], 'errors in the console');
  assert.deepEqual(outside, [], 'requests outside the origin');
  return requests;
}

let browser;
try {
  assert(BASE_URL, 'BASE_URL is not set, e.g. to http://127.0.0.1:8000');
  const { origin } = new URL(BASE_URL);
  await checkExamples(origin);
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const requests = await checkPage(page, origin);
  console.log(`playground: ok, ${examples.length} examples, ${requests} requests, all to ${origin}`);
} catch (error) {
  console.error(`playground: ${error.message}${error.cause ? ` (${error.cause.message})` : ''}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
}
