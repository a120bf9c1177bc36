// Accounts as the browser tests need them: opened and used through the API, mailed to through the inbox.
import assert from 'node:assert/strict';
import path from 'node:path';
import { graphql } from './browser.mjs';

const { SCREENSHOTS } = process.env;

export const PASSWORD = 'Correct-Horse-7';

/** Takes pictures of a page, light and dark, wide and narrow. SCREENSHOTS names a folder for them. */
export async function picture(page, name) {
  if (!SCREENSHOTS) return;
  const size = page.viewportSize();
  for (const [form, width, height] of [['wide', 1280, 800], ['narrow', 390, 844]]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: path.join(SCREENSHOTS, `${name}-${form}-${colorScheme}.png`), fullPage: true });
    }
  }
  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: 'light' });
}

/** Runs a mutation with its input; gives its payload, which has no errors. */
export async function mutate(origin, name, type, input, selection, accessToken) {
  const mutation = `mutation($input: ${type}!) { ${name}(input: $input) { errors { message } ${selection} } }`;
  const { [name]: payload } = await graphql(origin, mutation, { input }, accessToken);
  assert.deepEqual(payload.errors, [], name);
  return payload;
}

export function register(origin, email, fullName) {
  return mutate(origin, 'register', 'RegisterInput', { email, fullName, password: PASSWORD }, '');
}

/** What signing in leads to: the name of the type, and for a session its token and all sessions there are. */
export async function signIn(origin, identifier, password = PASSWORD) {
  const selection = 'result { __typename ... on SignedIn { accessToken } }';
  const { result } = await mutate(origin, 'login', 'LoginInput', { identifier, password }, selection);
  if (result.__typename !== 'SignedIn') return result;
  const { sessions } = await graphql(origin, '{ sessions { nodes { id } } }', {}, result.accessToken);
  return { ...result, sessions: sessions.nodes };
}

/** Whether a session is still there. */
export async function lives(origin, accessToken) {
  const response = await fetch(new URL('/graphql', origin), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${accessToken}` },
    body: JSON.stringify({ query: '{ me { id } }' }),
  });
  return response.ok;
}

/** The newest mail to an address with a link to this page, or with this subject, once it is there. */
export async function mailTo(origin, email, what = '') {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline) {
    const response = await fetch(new URL('/inbox/messages.json', origin));
    const fits = ({ to, subject, links }) =>
      to === email && (subject.includes(what) || links.some((link) => link.includes(what)));
    const mail = (await response.json()).find(fits);
    if (mail) return mail;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail(`no mail to ${email} about ${what}`);
}

/** Fails unless the focus is on the outcome, where a screen reader reads on. */
export async function outcomeHasFocus(page) {
  const focused = await page.evaluate(() => document.activeElement?.id);
  assert.equal(focused, 'outcome');
}
