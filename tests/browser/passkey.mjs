// Signs in with passkeys at the server at BASE_URL, which is to be a name and no number: with authenticators
// that Chromium plays, and with the code of docs/PASSKEYS.md. OTHER is the address of a page of another origin
// on the same host. Needs Chromium, whose path CHROMIUM may name.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { PASSWORD, lives, mailTo, mutate, register, signIn } from './account.mjs';
import { graphql, inBrowser } from './browser.mjs';
import { authenticator, totp } from './factors.mjs';

const { OTHER } = process.env;
const EMAIL = 'ada@example.org';

/** The code in the documentation. */
async function documented() {
  const text = await readFile(new URL('../../docs/PASSKEYS.md', import.meta.url), 'utf8');
  return /```js\n(.*?)```/s.exec(text)[1];
}

/** Opens a page of the server, with the documented code in it. */
async function open(page, origin, code) {
  await page.goto(new URL('/forgot-password', origin).href);
  await page.evaluate(`(() => { ${code}; Object.assign(window, { api, addPasskey, signInWithPasskey, confirmWithPasskey }); })()`);
}

/** Calls a function of the page; gives its result, or the name or the code of what it threw. */
const call = (page, name, ...args) =>
  page.evaluate(
    async ([name, args]) => {
      try {
        return await window[name](...args);
      } catch (error) {
        return error instanceof DOMException ? error.name : error.message;
      }
    },
    [name, args],
  );

/** Switches the second factor of who is signed in in the page on. */
async function secondFactor(page) {
  const { setup } = await call(page, 'api', 'enableTwoFactor', '', {}, 'setup { secret expiresAt }');
  // By the clock of the server, which gives a quarter of an hour.
  const input = { code: totp(setup.secret, Date.parse(setup.expiresAt) - 15 * 60_000) };
  await call(page, 'api', 'confirmTwoFactor', 'ConfirmTwoFactorInput', input, 'recoveryCodes');
}

const signOut = (page) => page.context().clearCookies();

/** Takes a sign-in with `options` to its end from a page wherever it is; gives the code of the refusal. */
async function finishFrom(page, origin, change = {}) {
  const start = 'mutation { startPasskeySignIn { challengeToken options } }';
  const { startPasskeySignIn: begun } = await graphql(origin, start);
  const credential = await page.evaluate(async (options) => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    return (await navigator.credentials.get({ publicKey })).toJSON();
  }, { ...begun.options, ...change });
  const finish =
    'mutation($input: FinishPasskeySignInInput!) { finishPasskeySignIn(input: $input) { errors { code path } } }';
  const input = { challengeToken: begun.challengeToken, credential };
  const { finishPasskeySignIn } = await graphql(origin, finish, { input });
  return finishPasskeySignIn.errors.map(({ code, path }) => `${code} ${path}`).join();
}

await inBrowser('passkey', async (page, origin, seen) => {
  const code = await documented();
  await register(origin, EMAIL, 'Ada Lovelace');
  const { links } = await mailTo(origin, EMAIL);
  await mutate(origin, 'verifyEmail', 'VerifyEmailInput', { token: links[0].split('token=')[1] }, '');
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const phone = await authenticator(cdp, 'internal');

  await open(page, origin, code);
  assert.equal(await call(page, 'addPasskey', 'Phone'), 'UNAUTHENTICATED');
  const login = { identifier: EMAIL, password: PASSWORD, tokenDelivery: 'COOKIE' };
  await call(page, 'api', 'login', 'LoginInput', login, '');
  const added = await call(page, 'addPasskey', '  Phone ');
  assert.equal(added.name, 'Phone');
  assert.equal(await call(page, 'addPasskey', 'Phone again'), 'InvalidStateError', 'one for each authenticator');
  const [kept] = await phone.credentials();
  assert.equal(kept.rpId, 'localhost');
  assert(kept.isResidentCredential);
  await phone.present(false);
  const stick = await authenticator(cdp, 'usb');
  // Without the extension credProtect, which not every authenticator knows, this one answers to who knows the
  // id of the credential without verifying anybody.
  await page.evaluate(() => {
    const parse = PublicKeyCredential.parseCreationOptionsFromJSON.bind(PublicKeyCredential);
    PublicKeyCredential.parseCreationOptionsFromJSON = ({ extensions, ...options }) => parse(options);
  });
  assert.equal((await call(page, 'addPasskey', 'Stick')).name, 'Stick');
  await mailTo(origin, EMAIL, 'A passkey was added');
  const { accessToken } = await signIn(origin, EMAIL);
  const list = '{ me { passkeys { id name lastUsedAt } } }';
  const passkeys = async () => (await graphql(origin, list, {}, accessToken)).me.passkeys;
  assert.deepEqual((await passkeys()).map(({ name }) => name), ['Phone', 'Stick']);

  // Without a name, with the one and the other.
  for (const [present, absent] of [[phone, stick], [stick, phone]]) {
    await absent.present(false);
    await present.present(true);
    await signOut(page);
    const signedIn = await call(page, 'signInWithPasskey');
    assert.equal(signedIn.__typename, 'SignedIn');
    assert.equal(signedIn.user.email, EMAIL);
    assert.equal((await page.context().cookies()).length, 2);
  }
  assert((await passkeys()).every(({ lastUsedAt }) => lastUsedAt));

  // Not the owner: the authenticator gives nothing where it is asked to verify the person, as it always is;
  // and where a page asks for less, the server is not content.
  await signOut(page);
  await stick.verified(false);
  assert.equal(await call(page, 'signInWithPasskey'), 'NotAllowedError');
  const refused = 'TOKEN_REJECTED input,credential';
  const [{ credentialId }] = await stick.credentials();
  const id = Buffer.from(credentialId, 'base64').toString('base64url');
  const unverified = { userVerification: 'discouraged', allowCredentials: [{ type: 'public-key', id }] };
  assert.equal(await finishFrom(page, origin, unverified), refused);
  await stick.verified(true);
  assert.equal(await finishFrom(page, origin, { ...unverified, userVerification: 'required' }), '');

  // A page of another origin on the same host, for which the browser uses the same passkeys.
  await page.goto(OTHER);
  assert.equal(await finishFrom(page, origin), refused);
  assert.deepEqual(seen.outside.splice(0), [`${OTHER}/`]);

  // Removed, it opens nothing; the other one still does.
  await mutate(origin, 'removePasskey', 'RemovePasskeyInput', { passkeyId: added.id }, '', accessToken);
  await mailTo(origin, EMAIL, 'A passkey was removed');
  await open(page, origin, code);
  await stick.present(false);
  await phone.present(true);
  assert.equal(await call(page, 'signInWithPasskey'), 'TOKEN_REJECTED');
  await phone.present(false);
  await stick.present(true);
  assert.equal((await call(page, 'signInWithPasskey')).__typename, 'SignedIn');
  assert(await lives(origin, accessToken));

  // As the second step after the password, and as a proof of being there.
  await secondFactor(page);
  const type = 'LoginInput';
  const selection = 'result { __typename ... on TwoFactorRequired { challengeToken methods } }';
  const { result } = await call(page, 'api', 'login', type, login, selection);
  assert.deepEqual(result.methods, ['PASSKEY', 'TOTP', 'RECOVERY_CODE']);
  await signOut(page);
  const signedIn = await call(page, 'signInWithPasskey', result.challengeToken);
  assert.equal(signedIn.__typename, 'SignedIn');
  assert.equal(await call(page, 'signInWithPasskey', result.challengeToken), 'TOKEN_REJECTED');
  assert.equal(await call(page, 'confirmWithPasskey'), undefined);
  return 'two passkeys, alone and as a second step';
});
