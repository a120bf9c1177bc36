// What the browser tests share: a Chromium, and an eye on everything that a page does.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const { BASE_URL, CHROMIUM = '/usr/bin/chromium' } = process.env;

/** Notes in `seen` what a page complains of, and every request, those outside `origin` apart. */
function watch(page, origin, seen) {
  const note = (url) => {
    seen.requests += 1;
    const { origin: target, protocol, host } = new URL(url);
    const same = target === origin || (protocol.startsWith('ws') && host === new URL(origin).host);
    if (!same && protocol !== 'data:' && protocol !== 'blob:') seen.outside.push(url);
  };
  page.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  page.on('pageerror', (error) => seen.problems.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') seen.problems.push(`${message.text()} ${message.location().url}`);
  });
  return page;
}

/**
 * Opens a page in Chromium and checks it. `check` gets the page, the origin of the server at BASE_URL,
 * what was seen so far, and how to open a page of a browser of its own (in another language, say); it
 * gives a line about how it went. Fails for anything in the console, and for any request outside the
 * origin, of any of the pages.
 */
export async function inBrowser(name, check) {
  let browser;
  try {
    assert(BASE_URL, 'BASE_URL is not set, e.g. to http://127.0.0.1:8000');
    const { origin } = new URL(BASE_URL);
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
    const seen = { problems: [], outside: [], requests: 0 };
    const viewport = { width: 1400, height: 900 };
    const open = async (options) => {
      const page = await browser.newPage({ viewport, ...options });
      // How long a busy machine takes is not what is tested.
      page.setDefaultTimeout(90_000);
      return watch(page, origin, seen);
    };
    const line = await check(await open(), origin, seen, open);
    assert.deepEqual(seen.problems, [], 'errors in the console');
    assert.deepEqual(seen.outside, [], 'requests outside the origin');
    console.log(`${name}: ok, ${line}, ${seen.requests} requests, all to ${origin}`);
  } catch (error) {
    console.error(`${name}: ${error.message}${error.cause ? ` (${error.cause.message})` : ''}`);
    process.exitCode = 1;
  } finally {
    await browser?.close();
  }
}

/** Sends a document to the server as a front end would; gives its data. */
export async function graphql(origin, query, variables, accessToken) {
  const headers = { 'content-type': 'application/json', accept: 'application/graphql-response+json' };
  if (accessToken) headers.authorization = `Bearer ${accessToken}`;
  const response = await fetch(new URL('/graphql', origin), {
    method: 'POST',
    headers,
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert(data && !errors, `status ${response.status}, ${JSON.stringify(errors)}`);
  return data;
}
