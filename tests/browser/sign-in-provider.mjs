// Signs in at the page /sign-in of the server at BASE_URL with the real OpenID provider at ISSUER: as a
// newcomer, with a second step, and to link the provider to an account. Needs Chromium.
import assert from 'node:assert/strict';
import { PASSWORD, mutate, picture, signIn } from './account.mjs';
import { graphql, inBrowser } from './browser.mjs';
import { totp } from './factors.mjs';
import { startProvider } from './provider.mjs';
import { code, open, password, press, sees, signOut } from './sign-in-page.mjs';

const { ISSUER } = process.env;

/** Answers the two questions of the provider. */
async function agree(page, login) {
  await page.getByLabel('Who are you?').fill(login);
  await press(page, 'Sign in');
  await page.getByRole('heading', { name: 'Allow Cardea' }).waitFor();
  await press(page, 'Allow');
}

/** Switches the second factor of an account on by the API; gives the recovery codes. */
async function secondFactor(origin, identifier) {
  const { accessToken } = await signIn(origin, identifier, PASSWORD);
  const begin = 'mutation { enableTwoFactor { setup { secret } } }';
  const { enableTwoFactor } = await graphql(origin, begin, {}, accessToken);
  const input = { code: totp(enableTwoFactor.setup.secret, Date.now()) };
  const type = 'ConfirmTwoFactorInput';
  return (await mutate(origin, 'confirmTwoFactor', type, input, 'recoveryCodes', accessToken)).recoveryCodes;
}

await inBrowser('sign-in-provider', async (page, origin, seen, another) => {
  assert(ISSUER, 'ISSUER is not set');
  const stop = await startProvider(ISSUER, origin);
  const start = new URL('/sign-in', origin).href;
  try {
    await page.goto(start);
    await picture(page, 'provider-begin');
    await press(page, 'Sign in with Acme');
    await agree(page, 'ada');
    await sees(page, 'ada@example.org');
    assert.equal(page.url(), start);
    assert.equal(await page.evaluate(() => JSON.stringify(sessionStorage)), '{}');
    await picture(page, 'provider-account');
    // The only way in.
    await press(page, 'Unlink: Acme');
    await sees(page, 'This is the only way into your account.');
    await picture(page, 'provider-protected');
    await signOut(page);

    // The person says no, and can begin again.
    const german = await another({ locale: 'de-AT' });
    await german.goto(start);
    await press(german, 'Mit Acme anmelden');
    await press(german, 'Cancel');
    await sees(german, 'Du hast die Anmeldung nicht erlaubt.');
    await picture(german, 'provider-denied-de');
    await german.getByRole('link', { name: 'Zurück zur Anmeldung' }).click();
    await german.waitForURL(start);

    // Linking; and then the provider asks nothing, but the second factor is asked for.
    const bob = await another();
    await open(origin, 'bob@example.com', 'Bob');
    await bob.goto(start);
    await password(bob, 'bob@example.com');
    await press(bob, 'Link Acme');
    await agree(bob, 'robert');
    await sees(bob, 'robert Lovelace');
    assert.equal(bob.url(), start);
    const codes = await secondFactor(origin, 'bob@example.com');
    await bob.reload();
    await sees(bob, 'Your session has ended.').catch(() => sees(bob, 'Sign in with Acme'));
    await press(bob, 'Sign in with Acme');
    await bob.getByRole('heading', { name: 'One more step' }).waitFor();
    await press(bob, 'Use a recovery code');
    await code(bob, codes.pop());
    await sees(bob, 'On. 9 recovery codes are left.');
    await press(bob, 'Unlink: Acme');
    await bob.getByRole('button', { name: 'Link Acme' }).waitFor();
  } finally {
    stop();
  }
  seen.outside = seen.outside.filter((url) => !url.startsWith(`${ISSUER}/`));
  // The browser notes that the session which the second factor ended was refused.
  for (const problem of seen.problems.splice(0)) assert.match(problem, /401 \(Unauthorized\) \S+\/graphql$/);
  return 'a newcomer, refused, linked and with a second step';
});
