// Uses the API of the server at BASE_URL from pages of other origins, of which the server lists one: what
// the browser lets through is the answer. LISTED and OTHER are the addresses of two front ends; that the
// tests serve them matters: Playwright answers preflights by itself where it makes pages up. Needs
// Chromium, whose path CHROMIUM may name.
import assert from 'node:assert/strict';
import { inBrowser } from './browser.mjs';

const { LISTED, OTHER } = process.env;

/** Asks as the page does; gives what the page may know of the answer, or nothing. */
function ask(page, origin, method, headers) {
  const url = new URL('/graphql', origin);
  const body = method === 'POST' ? JSON.stringify({ query: '{ me { id } }' }) : undefined;
  if (!body) url.searchParams.set('query', '{ __typename }');
  const init = { method, headers, body, credentials: 'include' };
  return page.evaluate(
    async ([url, init]) => {
      const response = await fetch(url, init).catch(() => null);
      if (!response) return null;
      const names = ['x-request-id', 'www-authenticate', 'vary'];
      const readable = names.filter((name) => response.headers.has(name));
      return { status: response.status, readable, ...(await response.json()) };
    },
    [url.href, init],
  );
}

await inBrowser('cors', async (page, origin, seen) => {
  const json = { 'content-type': 'application/json' };
  const plain = { accept: 'application/graphql-response+json' };
  const full = { ...json, ...plain, authorization: 'Bearer x', 'graphql-require-preflight': '1' };

  await page.goto(`${LISTED}/`);
  const got = await ask(page, origin, 'GET', plain);
  assert.deepEqual(got, { status: 200, readable: ['x-request-id'], data: { __typename: 'Query' } });
  const refused = await ask(page, origin, 'POST', full);
  assert.equal(refused.status, 401);
  assert.equal(refused.errors[0].extensions.code, 'UNAUTHENTICATED');
  assert.deepEqual(refused.readable, ['x-request-id', 'www-authenticate']);
  assert.equal(await ask(page, origin, 'DELETE', plain), null, 'a method that is not offered');
  assert.equal(await ask(page, origin, 'GET', { 'x-other': '1' }), null, 'a header that is not offered');

  await page.goto(`${OTHER}/`);
  assert.equal(await ask(page, origin, 'GET', plain), null, 'read by another origin');
  assert.equal(await ask(page, origin, 'POST', full), null, 'sent by another origin');

  // The pages themselves, and what the browser says of what it held back.
  assert.deepEqual(seen.outside.splice(0), [`${LISTED}/`, `${OTHER}/`]);
  const held = seen.problems.map((problem) => /Access-Control-Allow-\w+/.exec(problem)?.[0]);
  const expected = ['Methods', 'Headers', 'Origin', 'Origin'].map((name) => `Access-Control-Allow-${name}`);
  assert.deepEqual(held.filter(Boolean), expected, seen.problems.join('\n'));
  seen.problems.length = 0;
  return 'one origin let in, one kept out';
});
