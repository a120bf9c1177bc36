// Signs in at the server at BASE_URL with the real OpenID provider at ISSUER, with every redirect in the
// browser: as a newcomer, again, after a refusal, in another tab, and to link the provider to an account.
import assert from 'node:assert/strict';
import { mailTo, picture, register, signIn } from './account.mjs';
import { inBrowser } from './browser.mjs';
import { startProvider } from './provider.mjs';

const { ISSUER } = process.env;

const START = `mutation($input: StartOAuthSignInInput!) { startOAuthSignIn(input: $input) {
  errors { message } authorizationUrl state } }`;

/** What a front end does when its button is pressed: begins, keeps the secret in the tab, and goes. */
async function begin(page, origin, { link = false, keeps = true } = {}) {
  await page.goto(new URL('/forgot-password', origin).href);
  const body = JSON.stringify({
    query: START,
    variables: { input: { provider: 'acme', redirectUri: `${origin}/oauth/callback`, link } },
  });
  await page.evaluate(async ([body, keeps]) => {
    const headers = { 'content-type': 'application/json', 'graphql-require-preflight': '1' };
    const response = await fetch('/graphql', { method: 'POST', headers, body });
    const { data } = await response.json();
    const { errors, authorizationUrl, state } = data.startOAuthSignIn;
    if (errors.length > 0) throw new Error(errors[0].message);
    if (keeps) sessionStorage.setItem('cardea-oauth', JSON.stringify({ provider: 'acme', state }));
    location.assign(authorizationUrl);
  }, [body, keeps]);
  await page.waitForURL((url) => url.origin !== origin || url.pathname === '/oauth/callback');
}

/** Answers the two questions of the provider. */
async function agree(page, login) {
  await page.getByLabel('Who are you?').fill(login);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Allow Cardea' }).waitFor();
  await page.getByRole('button', { name: 'Allow' }).click();
}

async function says(page, text) {
  await page.getByRole('status').getByText(text).waitFor();
  assert.equal(new URL(page.url()).search, '', 'the code is out of the address');
  assert.equal(new URL(page.url()).hash, '');
  assert.equal(await page.evaluate(() => sessionStorage.getItem('cardea-oauth')), null);
}

/** Who is signed in in the browser of this page, by its cookies. */
async function me(page) {
  const query = '{ me { id email linkedAccounts { provider displayName } } }';
  return page.evaluate(async (body) => {
    const headers = { 'content-type': 'application/json', 'graphql-require-preflight': '1' };
    const response = await fetch('/graphql', { method: 'POST', headers, body });
    return (await response.json()).data.me;
  }, JSON.stringify({ query }));
}

await inBrowser('sign-in with a provider', async (page, origin, seen, open) => {
  assert(ISSUER, 'ISSUER is not set');
  const stop = await startProvider(ISSUER, origin);
  try {
    await begin(page, origin);
    await picture(page, 'provider');
    await agree(page, 'ada');
    await says(page, 'You are signed in as ada Lovelace.');
    await picture(page, 'oauth-done');
    const ada = await me(page);
    assert.equal(ada.email, 'ada@example.org');
    assert.deepEqual(ada.linkedAccounts, [{ provider: 'acme', displayName: 'ada Lovelace' }]);

    // The provider remembers the person and asks nothing; the account is the same one.
    await begin(page, origin);
    await says(page, 'You are signed in as ada Lovelace.');
    assert.equal((await me(page)).id, ada.id);

    // Another browser, in German: the person says no, and nothing has happened.
    const german = await open({ locale: 'de-AT' });
    await begin(german, origin);
    await german.getByRole('button', { name: 'Cancel' }).click();
    await says(german, 'Du hast die Anmeldung nicht erlaubt.');
    await picture(german, 'oauth-denied-de');
    assert.equal((await german.context().cookies(origin)).length, 0);

    // The address to which the provider leads is worth nothing in a tab that did not begin: an attacker
    // signs in, keeps the address back, and leads somebody else there.
    const victim = await open();
    let kept;
    german.on('request', (request) => {
      if (request.url().includes('/oauth/callback?code=')) kept = request.url();
    });
    await begin(german, origin, { keeps: false });
    await agree(german, 'eve');
    await says(german, 'Diese Anmeldung hat nicht in diesem Fenster begonnen.');
    await victim.goto(kept);
    await says(victim, 'This sign-in did not begin in this tab.');
    await picture(victim, 'oauth-elsewhere');
    assert.equal((await victim.context().cookies(origin)).length, 0);

    // Linking: an account with a password and another address, signed in in a browser of its own.
    await register(origin, 'bob@example.com', 'Bob');
    const { links } = await mailTo(origin, 'bob@example.com');
    const bob = await open();
    await bob.goto(links[0]);
    await bob.getByRole('button', { name: 'Confirm my address' }).click();
    await bob.getByRole('status').getByText('Your address is confirmed.').waitFor();
    const query = 'mutation($input: LoginInput!) { login(input: $input) { errors { message } } }';
    const input = { identifier: 'bob@example.com', password: 'Correct-Horse-7', tokenDelivery: 'COOKIE' };
    await bob.evaluate(
      (body) =>
        fetch('/graphql', {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'graphql-require-preflight': '1' },
          body,
        }),
      JSON.stringify({ query, variables: { input } }),
    );
    await begin(bob, origin, { link: true });
    await agree(bob, 'robert');
    await says(bob, 'You are signed in as Bob.');
    const linked = await me(bob);
    assert.equal(linked.email, 'bob@example.com');
    assert.deepEqual(linked.linkedAccounts, [{ provider: 'acme', displayName: 'robert Lovelace' }]);
    await signIn(origin, 'bob@example.com');
  } finally {
    stop();
  }
  seen.outside = seen.outside.filter((url) => !url.startsWith(`${ISSUER}/`));
  return 'a newcomer, again, refused, stolen and linked';
});
