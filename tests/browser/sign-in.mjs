// Signs in at the page /sign-in of the server at BASE_URL, which is to be a name and no number, and sets up
// everything that it offers: by password, with a second factor, a recovery code, on a trusted device, with a
// passkey. Needs Chromium, whose path CHROMIUM may name; SCREENSHOTS names a folder for PNG files.
import assert from 'node:assert/strict';
import jsQR from 'jsqr';
import { PASSWORD, mailTo, mutate, picture, register, signIn } from './account.mjs';
import { inBrowser } from './browser.mjs';
import { authenticator, totp } from './factors.mjs';
import { code, open, password, press, sees, setUp, signOut } from './sign-in-page.mjs';

const EMAIL = 'ada@example.org';
const NAME = 'Ada Lovelace';

/** Texts of all lengths, drawn and read. */
async function drawsWhatIsRead(page) {
  for (const length of [1, 14, 15, 42, 43, 62, 63, 84, 85, 106, 107, 122, 123, 152, 153, 180, 181, 213]) {
    const text = 'otpauth://totp/Cardea:ä%20Zß?secret='.repeat(8).slice(0, length);
    const short = Buffer.from(text).subarray(0, length).toString().replace(/\ufffd/g, '?');
    const rows = await page.evaluate(async (text) => (await import('/pages/qr.js')).modules(text), short);
    const [scale, margin] = [4, 4];
    const size = (rows.length + 2 * margin) * scale;
    const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
    for (let i = 0; i < size * size; i += 1) {
      const [x, y] = [i % size, Math.floor(i / size)].map((at) => Math.floor(at / scale) - margin);
      if (rows[y]?.[x]) pixels.fill(0, i * 4, i * 4 + 3);
    }
    assert.equal(jsQR(pixels, size, size)?.data, short, `a text of ${length} bytes`);
  }
  const none = await page.evaluate(async () => (await import('/pages/qr.js')).modules('x'.repeat(214)));
  assert.equal(none, null);
}

/** Until something is proved, answers a mutation as the server does when the last proof is too long ago. */
async function longAgo(page, field) {
  let proved = false;
  await page.route('**/graphql', async (route) => {
    const { documentId } = route.request().postDataJSON();
    if (!proved && documentId === `cardea:${field}`) {
      const extensions = { code: 'REAUTHENTICATION_REQUIRED', methods: ['TWO_FACTOR_CODE'] };
      return route.fulfill({ json: { data: { [field]: null }, errors: [{ message: 'Prove it.', extensions }] } });
    }
    const response = await route.fetch();
    proved ||= (await response.json()).data?.reauthenticate?.errors.length === 0;
    return route.fulfill({ response });
  });
}

/** An account that will be erased says so, and stays where its owner wants it to. */
async function erasing(page, origin, seen) {
  const { accessToken } = await signIn(origin, EMAIL);
  await mutate(origin, 'eraseAccount', 'ConfirmIdentityInput', { password: PASSWORD }, 'erasesAt', accessToken);
  // Whoever asks keeps the own session alone.
  await page.reload();
  await password(page, EMAIL);
  for (const problem of seen.problems.splice(0)) assert.match(problem, /401 \(Unauthorized\) \S+\/graphql$/);
  await sees(page, 'This account will be erased');
  await sees(page, 'Until then you can call that off.');
  await picture(page, 'sign-in-erasing');
  await press(page, 'Keep my account');
  await page.getByText('This account will be erased').waitFor({ state: 'hidden' });
  await sees(page, NAME);
}

async function passkeys(page, codes) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const laptop = await authenticator(cdp, 'internal');
  await longAgo(page, 'startPasskeyRegistration');
  await page.getByLabel('Name for a new passkey').fill('Laptop');
  await press(page, 'Add');
  const proof = page.getByRole('dialog', { name: 'Is it you?' });
  await proof.waitFor();
  await picture(page, 'sign-in-proof');
  await press(proof, 'Cancel');
  await proof.waitFor({ state: 'hidden' });
  assert.equal((await laptop.credentials()).length, 0);
  await press(page, 'Add');
  await proof.getByLabel('Code from the app').fill('nonsense');
  await press(proof, 'Go on');
  await sees(proof, 'The code is wrong or was used before.');
  await proof.getByLabel('Code from the app').fill(codes.pop());
  await press(proof, 'Go on');
  await sees(page.getByRole('listitem'), 'Laptop');
  assert.equal((await laptop.credentials()).length, 1);
  await page.unroute('**/graphql');
  await page.getByLabel('Name for a new passkey').fill('Laptop again');
  await press(page, 'Add');
  await sees(page, 'There is a passkey of this account on that device already.');
  await picture(page, 'sign-in-account');

  await laptop.present(false);
  await signOut(page);
  await laptop.present(true);
  await press(page, 'Sign in with a passkey');
  await sees(page, 'last used');

  // From the list under the name, where the browser has one; who is at an authenticator of Chromium's own
  // takes what is offered.
  await laptop.present(false);
  await signOut(page);
  await laptop.present(true);
  await page.getByLabel('Mail address or user name').focus();
  await sees(page, 'last used');
  await laptop.present(false);

  // As a second step, on a device that is trusted no more.
  await signOut(page);
  await page.context().clearCookies({ name: /device/ });
  await password(page, EMAIL);
  await page.getByRole('heading', { name: 'One more step' }).waitFor();
  await laptop.present(true);
  await picture(page, 'sign-in-second');
  await press(page, 'Use a passkey');
  await sees(page, NAME);
  return laptop;
}

async function change(page, codes) {
  const proof = page.getByRole('dialog', { name: 'Is it you?' });
  await longAgo(page, 'regenerateRecoveryCodes');
  await press(page, 'New recovery codes');
  await proof.getByLabel('Code from the app').fill(codes.pop());
  await press(proof, 'Go on');
  await sees(proof, 'A code counts once, and one more is needed');
  await picture(page, 'sign-in-once-more');
  await proof.getByLabel('Code from the app').fill(codes.pop());
  await press(proof, 'Go on');
  await sees(page, 'Each of these lets you in once');
  const [first] = await page.locator('#codes li').allInnerTexts();
  assert(!codes.includes(first));
  await page.unroute('**/graphql');
  await press(page, 'I have kept them');
  await sees(page, 'On. 10 recovery codes are left.');
  await press(page, 'Switch off');
  await press(proof, 'Use a passkey');
  await sees(page, 'Off. With a second factor');
  await press(page, 'Remove: Laptop');
  await page.getByText('Laptop').waitFor({ state: 'detached' });
}

/** What the page makes of answers that are rare. */
async function rare(page, origin) {
  await signOut(page);
  await register(origin, 'bob@example.org', 'Bob');
  await mailTo(origin, 'bob@example.org');
  await password(page, 'bob@example.org');
  await sees(page, 'Confirm your mail address first');
  await picture(page, 'sign-in-unverified');
  await press(page, 'Mail me the link again');
  await sees(page, 'A mail with a link is on its way.');

  const result = { __typename: 'PasswordExpired', resetToken: 'crs_token' };
  const json = { data: { login: { errors: [], result } } };
  await page.route('**/graphql', (route) => route.fulfill({ json }));
  await password(page, EMAIL);
  await sees(page, 'Your password is too old.');
  const link = page.getByRole('link', { name: 'Set a new password' });
  assert.equal(await link.getAttribute('href'), 'reset-password#token=crs_token');
  await picture(page, 'sign-in-expired');
  await page.unroute('**/graphql');

  await page.goto(new URL('/sign-in', origin).href);
  const error = { code: 'TOKEN_REJECTED', message: 'Begin anew.', path: ['input', 'challengeToken'] };
  const waits = { __typename: 'TwoFactorRequired', challengeToken: 'ctf_token', methods: ['TOTP', 'RECOVERY_CODE'] };
  await page.route('**/graphql', (route) => {
    const isFirst = route.request().postDataJSON().documentId === 'cardea:login';
    const login = { errors: [], result: waits };
    const verifyTwoFactor = { errors: [error], result: null };
    return route.fulfill({ json: { data: isFirst ? { login } : { verifyTwoFactor } } });
  });
  await password(page, EMAIL);
  await code(page, '123456');
  await sees(page, 'That took too long, or there were too many tries.');
  await page.unroute('**/graphql');
}

/** A session that was ended elsewhere, and one whose access token alone is over. */
async function ended(page, origin, seen) {
  await page.goto(new URL('/sign-in', origin).href);
  await password(page, EMAIL);
  await sees(page, NAME);
  const [access] = (await page.context().cookies()).filter(({ name }) => name.endsWith('access'));
  await page.context().addCookies([{ ...access, value: 'eyJ.no.good' }]);
  await page.reload();
  await sees(page, NAME);
  const { accessToken } = await signIn(origin, EMAIL);
  await mutate(origin, 'logoutAll', 'LogoutAllInput', {}, 'endedSessions', accessToken);
  await press(page, 'Set up an authenticator app');
  await sees(page, 'Your session has ended.');
  assert.deepEqual(await page.context().cookies(), []);
  // The browser notes the answers that said so.
  for (const problem of seen.problems.splice(0)) assert.match(problem, /401 \(Unauthorized\) \S+\/graphql$/);
}

await inBrowser('sign-in', async (page, origin, seen, another) => {
  const at = await open(origin, EMAIL, NAME);
  await page.goto(new URL('/sign-in', origin).href);
  await page.locator('main').waitFor();
  const autocomplete = (id) => page.locator(`#${id}`).getAttribute('autocomplete');
  assert.equal(await autocomplete('identifier'), 'username webauthn');
  assert.equal(await autocomplete('password'), 'current-password');
  assert.equal(await autocomplete('code'), 'one-time-code');
  await picture(page, 'sign-in');
  await drawsWhatIsRead(page);

  await password(page, EMAIL, 'Wrong-Horse-7');
  await sees(page, 'Name or password is wrong.');
  await picture(page, 'sign-in-refused');
  await password(page, EMAIL);
  await sees(page, NAME);
  assert.equal(await page.evaluate(() => document.cookie), '', 'scripts see no token');
  await page.reload();
  await sees(page, EMAIL);
  await picture(page, 'sign-in-new');
  await erasing(page, origin, seen);

  const { secret, codes } = await setUp(page, await another(), at);
  await signOut(page);
  await password(page, EMAIL);
  await code(page, '000000');
  await sees(page, 'The code is wrong or was used before.');
  await picture(page, 'sign-in-second-refused');
  await code(page, totp(secret, at));
  await sees(page, NAME);

  await signOut(page);
  await password(page, EMAIL);
  await press(page, 'Use a recovery code');
  await code(page, codes.pop().toLowerCase());
  await sees(page, 'On. 9 recovery codes are left.');

  await signOut(page);
  await password(page, EMAIL);
  await page.getByLabel('Trust this device').check();
  await code(page, totp(secret, at + 30_000));
  await sees(page, NAME);
  await signOut(page);
  await password(page, EMAIL);
  await sees(page, NAME);

  const laptop = await passkeys(page, codes);
  const german = await another({ locale: 'de-AT' });
  await german.goto(new URL('/sign-in', origin).href);
  await picture(german, 'sign-in-de');
  await german.getByLabel('Mailadresse oder Benutzername').fill(EMAIL);
  await german.getByLabel('Passwort', { exact: true }).fill(PASSWORD);
  await press(german, 'Anmelden');
  await sees(german, 'Noch ein Schritt');
  await picture(german, 'sign-in-second-de');
  await press(german, 'Wiederherstellungscode verwenden');
  await german.getByLabel('Wiederherstellungscode', { exact: true }).fill(codes.pop());
  await press(german, 'Weiter');
  await sees(german, 'Wiederherstellungscodes sind übrig');
  await picture(german, 'sign-in-account-de');
  await change(page, codes);
  await laptop.present(false);
  await rare(page, origin);
  await ended(page, origin, seen);
  return 'password, code, recovery code, trusted device and passkey';
});
