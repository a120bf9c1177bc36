// Opens the GraphiQL page of the server at BASE_URL as a newcomer would. Needs Chromium, whose path
// CHROMIUM may name; SCREENSHOT names a PNG file to write.
import assert from 'node:assert/strict';
import { buildClientSchema, getIntrospectionQuery, parse, validate } from 'graphql';
import { getVariableValues } from 'graphql/execution/values.js';
import { flows, tabs } from '../../playground/src/examples.js';
import { PASSWORD, mailTo, mutate, register } from './account.mjs';
import { graphql, inBrowser } from './browser.mjs';

const { SCREENSHOT } = process.env;
const examples = [...new Set(flows.flatMap(({ examples }) => examples))];

async function checkExamples(origin) {
  const schema = buildClientSchema(await graphql(origin, getIntrospectionQuery()));
  const names = examples.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length, 'two examples have one name');
  for (const { name, query, variables = '{}' } of examples) {
    const document = parse(query);
    const { variableDefinitions } = document.definitions[0];
    assert.equal(document.definitions[0].name.value, name);
    assert(query.startsWith('# '), `${name} says nothing about itself`);
    const problems = validate(schema, document);
    const values = getVariableValues(schema, variableDefinitions, JSON.parse(variables));
    for (const { message } of [...problems, ...(values.errors ?? [])]) {
      assert.fail(`example ${name} does not fit the schema: ${message}`);
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
  assert.equal(await page.locator('.graphiql-tab').count(), tabs.length, 'number of tabs');

  await write('.graphiql-query-editor', 'query Typed { viewer { isAuthenticated } }');
  // The name of the tab changes once the document is parsed; until then the old operation would run.
  await shows('.graphiql-tab', 'Typed');
  await page.locator('.graphiql-execute-button').click();
  await shows('.graphiql-response', '"isAuthenticated": false');

  await signInWithCookies(page, origin, { shows, write });
  await signInWithTheForm(page, origin, { shows, headers });

  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await shows('.graphiql-doc-explorer', 'query: Query');
  await shows('.graphiql-doc-explorer', 'mutation: Mutation');

  await page.getByRole('button', { name: 'Headers', exact: true }).click();
  await write(headers, '{ "Authorization": "Bearer pasted-token" }');
  await page.getByRole('tab', { name: 'Login', exact: true }).click();
  await shows('.graphiql-query-editor', 'mutation Login');
  await shows(headers, 'pasted-token');
  const kept = await page.evaluate(() => JSON.stringify(localStorage));
  assert(!kept.includes('pasted-token'), 'the token went into localStorage');

  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT });
}

/** Every flow by keyboard: sign in by the form, have the token under Headers, open an example, run it; sign out. */
async function signInWithTheForm(page, origin, { shows, headers }) {
  const pane = page.locator('.cardea-plugin');
  await page.getByRole('button', { name: 'Show Sign in' }).press('Enter');
  await pane.getByLabel('User name or mail address').fill('ada@example.org');
  await pane.getByLabel('Password').fill('Wrong-Horse-7');
  await page.keyboard.press('Enter');
  await shows('.cardea-plugin [role=alert]', 'Name or password is wrong.');
  await pane.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await shows('.cardea-plugin [role=status]', 'Signed in as Ada Lovelace (ada@example.org).');
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT.replace('.png', '-signed-in.png') });
  await page.getByRole('button', { name: 'Headers', exact: true }).press('Enter');
  await shows(headers, '"Authorization": "Bearer eyJ');

  await page.getByRole('button', { name: 'Show Examples' }).press('Enter');
  await pane.getByRole('button', { name: 'Sessions', exact: true }).press('Enter');
  await shows('.graphiql-query-editor', 'query Sessions');
  await shows('.graphiql-tab', 'Sessions');
  // The example opened with the focus in its editor.
  await page.keyboard.press('Control+Enter');
  await shows('.graphiql-response', '"current": true');
  await pane.getByRole('button', { name: 'Me', exact: true }).first().press('Enter');
  assert.equal(await page.locator('.graphiql-tab').count(), tabs.length + 1, 'Me is open already');
  await page.locator('.graphiql-execute-button').press('Enter');
  await shows('.graphiql-response', '"email": "ada@example.org"');
  if (SCREENSHOT) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: SCREENSHOT.replace('.png', `-${colorScheme}.png`) });
    }
    await page.emulateMedia({ colorScheme: 'light' });
  }

  const remembered = await page.evaluate(() => JSON.stringify({ ...sessionStorage }));
  assert(remembered.includes('query Sessions') && !remembered.includes('Bearer eyJ'), 'the history holds no token');
  await page.getByRole('button', { name: 'Show Sign in' }).press('Enter');
  await pane.getByRole('button', { name: 'Sign out' }).press('Enter');
  await pane.getByLabel('Password').waitFor();
  await shows(headers, '"Authorization": "Bearer "');
  await page.locator('.graphiql-execute-button').press('Enter');
  await shows('.graphiql-response', '"me": null');
}

/** Signs in so that the browser keeps the tokens, and uses the session without any header of one's own. */
async function signInWithCookies(page, origin, { shows, write }) {
  const email = 'ada@example.org';
  await register(origin, email, 'Ada Lovelace');
  const { links } = await mailTo(origin, email);
  const token = links[0].split('token=')[1];
  await mutate(origin, 'verifyEmail', 'VerifyEmailInput', { token }, 'result { __typename }');

  const run = async (name, document, answer) => {
    await write('.graphiql-query-editor', document);
    await shows('.graphiql-tab', name);
    await page.locator('.graphiql-execute-button').click();
    await shows('.graphiql-response', answer);
  };
  const input = `{ identifier: "${email}", password: "${PASSWORD}", tokenDelivery: COOKIE }`;
  const outcome = 'errors { message } result { ... on SignedIn { accessToken session { current } } }';
  await run('Enter', `mutation Enter { login(input: ${input}) { ${outcome} } }`, '"accessToken": null');
  await checkSubscription(page, origin, email, { shows, write });
  const kept = await page.evaluate(() => document.cookie);
  assert.equal(kept, '', 'scripts see no token');
  await run('Whoami', 'query Whoami { me { email } }', `"email": "${email}"`);
  await run('Leave', 'mutation Leave { logout { endedSessions } }', '"endedSessions": 1');
  await run('Nobody', 'query Nobody { me { email } }', '"me": null');
}

/** Follows the account's sessions over a WebSocket, which the cookies let in, while one ends elsewhere. */
async function checkSubscription(page, origin, email, { shows, write }) {
  await write('.graphiql-query-editor', 'subscription Follow { sessionRevoked { reason } }');
  await shows('.graphiql-tab', 'Follow');
  // Listens from the beginning: on a busy machine the frame is out before anybody waits for it.
  const subscribed = new Promise((resolve) => {
    page.once('websocket', (socket) => {
      socket.on('framesent', ({ payload }) => payload.includes('"subscribe"') && resolve(socket.url()));
    });
  });
  await page.locator('.graphiql-execute-button').click();
  // The sign-in takes far longer than the server needs to read this.
  assert.equal(await subscribed, `${origin.replace('http', 'ws')}/graphql`);
  const elsewhere = await mutate(
    origin,
    'login',
    'LoginInput',
    { identifier: email, password: PASSWORD },
    'result { ... on SignedIn { accessToken } }',
  );
  const { accessToken } = elsewhere.result;
  await graphql(origin, 'mutation { logout { endedSessions } }', {}, accessToken);
  await shows('.graphiql-response', '"reason": "LOGOUT"');
  if (SCREENSHOT) await page.screenshot({ path: SCREENSHOT.replace('.png', '-subscription.png') });
  await page.locator('.graphiql-execute-button').click();
}

await inBrowser('playground', async (page, origin, seen) => {
  await checkExamples(origin);
  await checkPage(page, origin, seen);
  return `${examples.length} examples`;
});
