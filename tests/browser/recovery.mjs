// Walks the ways back into an account at the server at BASE_URL through the pages behind mailed links, in
// English and in German: a forgotten password, an address changed and changed back, a closed account.
// Needs Chromium, whose path CHROMIUM may name; SCREENSHOTS names a folder for PNG files of every step.
import assert from 'node:assert/strict';
import { lives, mailTo, mutate, outcomeHasFocus, picture, register, signIn } from './account.mjs';
import { graphql, inBrowser } from './browser.mjs';

const EMAIL = 'ada@example.org';
const OTHER_EMAIL = 'ada@example.net';
const PASSWORD = 'Shiny-Marble-42';

const sees = (page, text) => page.getByText(text).first().waitFor();

/** Opens a link in a page that may show the same page for another token. */
async function follow(page, link) {
  await page.goto('about:blank');
  await page.goto(link);
  await page.locator('main').waitFor();
  assert(!page.url().includes('#'), 'the token is out of the address');
}

/** Presses the one button of a page and waits for what it says. */
async function press(page, button, text) {
  await page.getByRole('button', { name: button }).click();
  await page.getByRole('status').getByText(text).waitFor();
  await outcomeHasFocus(page);
}

async function verify(origin, german) {
  await register(origin, EMAIL, 'Ada Lovelace');
  const { links } = await mailTo(origin, EMAIL);
  await follow(german, links[0]);
  assert.equal(await german.title(), 'Bestätige deine Adresse');
  assert.equal(await german.locator('html').getAttribute('lang'), 'de');
  await picture(german, 'verify-de');
  await press(german, 'Meine Adresse bestätigen', 'Du kannst dich jetzt anmelden.');
  await picture(german, 'verify-done-de');
}

/** Asks for a link on the page; the answer is the same for an address that nobody has. */
async function forgot(origin, english, german) {
  for (const [page, label, refusal, button, answer] of [
    [german, 'Mailadresse', 'Das ist keine Mailadresse.', 'Link zusenden', 'Gibt es ein Konto mit der Adresse '],
    [english, 'Mail address', 'Not a mail address.', 'Mail me a link', 'If there is an account with the address '],
  ]) {
    await page.goto(new URL('/forgot-password', origin).href);
    const field = page.getByLabel(label);
    assert.equal(await field.getAttribute('autocomplete'), 'email');
    await picture(page, `forgot-${label}`);
    await field.fill('ada at home');
    await page.getByRole('button', { name: button }).click();
    await sees(page, refusal);
    assert.equal(await field.getAttribute('aria-invalid'), 'true');
    assert(await field.evaluate((field) => field === document.activeElement), 'the field has the focus');
    await picture(page, `forgot-refused-${label}`);
    for (const email of ['nobody@example.org', EMAIL]) {
      await field.fill(email);
      await press(page, button, answer + email);
      assert.equal(await field.getAttribute('aria-invalid'), null);
      assert.equal(await page.locator('#errors li').count(), 0);
    }
    await picture(page, `forgot-done-${label}`);
  }
}

async function reset(origin, english, german) {
  const { accessToken } = await signIn(origin, EMAIL);
  // Both pages have asked: the newer link counts.
  const mailed = async () => (await mailTo(origin, EMAIL, '/reset-password#token=')).links[0];
  let link = await mailed();
  await follow(english, link);
  const field = english.getByLabel('New password', { exact: true });
  assert.equal(await field.getAttribute('autocomplete'), 'new-password');
  await sees(english, '8 to 128 characters');
  await picture(english, 'reset');

  // The list follows what is typed.
  const held = english.locator('#rules .held');
  assert.equal(await held.count(), 0);
  await field.fill('sh');
  assert.match((await held.allInnerTexts()).join(), /^A lower-case letter/);
  assert.equal(await held.count(), 1);
  await field.fill('passw0rD!');
  assert.equal(await held.count(), 5);
  await english.getByRole('button', { name: 'Show the password' }).click();
  assert.equal(await field.getAttribute('type'), 'text');
  await picture(english, 'reset-typed');

  // What only the server knows, and then everything at once.
  const submit = english.getByRole('button', { name: 'Set the password' });
  await submit.click();
  await sees(english, 'Not a common password or one known from breaches');
  assert.equal(await field.getAttribute('type'), 'password', 'it is hidden where it is sent');
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  await picture(english, 'reset-refused');
  await field.fill('Ada');
  await submit.click();
  await sees(english, 'Between 8 and 128 characters.');
  const refusals = await english.locator('#errors li').allInnerTexts();
  assert.deepEqual(refusals.slice(0, 3), [
    'Between 8 and 128 characters.',
    'At least one digit.',
    'At least one character that is neither letter nor digit.',
  ]);
  assert(await lives(origin, accessToken), 'nothing has happened yet');

  // In German, too, with the same link: a refusal did not use it up.
  await follow(german, link);
  const feld = german.getByLabel('Neues Passwort', { exact: true });
  await feld.fill('Ada');
  await german.getByRole('button', { name: 'Passwort setzen' }).click();
  await sees(german, 'Zwischen 8 und 128 Zeichen.');
  assert.equal(await german.locator('#errors [lang]').count(), 0, 'all of it is in German');
  await picture(german, 'reset-refused-de');

  await field.fill(PASSWORD);
  await press(english, 'Set the password', 'Every session of your account has ended');
  assert.equal(await submit.isVisible(), false);
  await picture(english, 'reset-done');
  assert.equal(await lives(origin, accessToken), false);
  await signIn(origin, EMAIL, PASSWORD);

  await feld.fill(PASSWORD);
  await press(german, 'Passwort setzen', 'Dieser Link ist unbekannt, verbraucht oder abgelaufen.');
  await picture(german, 'reset-rejected-de');
  await german.getByRole('link', { name: 'Neuen Link anfordern' }).click();
  await sees(german, 'Passwort vergessen?');
}

/** Signs the browser itself in, with cookies, which the pages must not trip over. */
async function signInHere(page, identifier, password) {
  const query = 'mutation($input: LoginInput!) { login(input: $input) { errors { message } } }';
  const variables = { input: { identifier, password, tokenDelivery: 'COOKIE' } };
  const errors = await page.evaluate(async (body) => {
    const headers = { 'content-type': 'application/json', 'graphql-require-preflight': '1' };
    const response = await fetch('/graphql', { method: 'POST', headers, body });
    const { data } = await response.json();
    return data.login.errors;
  }, JSON.stringify({ query, variables }));
  assert.deepEqual(errors, []);
  assert.equal((await page.context().cookies()).length, 2);
}

async function changeAddress(origin, english, german) {
  const { accessToken } = await signIn(origin, EMAIL, PASSWORD);
  const input = { newEmail: OTHER_EMAIL };
  await mutate(origin, 'requestEmailChange', 'RequestEmailChangeInput', input, 'accepted', accessToken);
  const { links } = await mailTo(origin, OTHER_EMAIL, '/confirm-email-change#token=');
  await follow(english, links[0]);
  await picture(english, 'change');
  await signInHere(english, EMAIL, PASSWORD);
  await press(english, 'Use this address for the account', 'Your account has this address now.');
  await english.getByRole('link', { name: 'Set a new password' }).waitFor();
  await picture(english, 'change-done');
  await signIn(origin, OTHER_EMAIL, PASSWORD);

  const undo = await mailTo(origin, EMAIL, '/confirm-email-change#token=');
  await follow(german, undo.links[0]);
  await picture(german, 'change-de');
  await press(german, 'Diese Adresse für das Konto verwenden', 'Dein Konto hat jetzt diese Adresse.');
  await picture(german, 'change-done-de');
  // It took the password away, which the thief of an account may have set, and mailed a link for a new one.
  const again = await mailTo(origin, EMAIL, 'was restored');
  const token = again.links[0].split('token=')[1];
  await mutate(origin, 'resetPassword', 'ResetPasswordInput', { token, newPassword: PASSWORD }, '');
  await signIn(origin, EMAIL, PASSWORD);

  await follow(english, links[0]);
  await press(english, 'Use this address for the account', 'This link is unknown, used up or past its end.');
  await picture(english, 'change-rejected');
}

/** Opens a closed account, at first without a connection. */
async function reopen(origin, english, german, seen) {
  const { accessToken } = await signIn(origin, EMAIL, PASSWORD);
  const input = { password: PASSWORD };
  await mutate(origin, 'deactivateAccount', 'ConfirmIdentityInput', input, '', accessToken);
  const { links } = await mailTo(origin, EMAIL, '/reactivate-account#token=');
  await follow(german, links[0]);
  await picture(german, 'reactivate-de');
  assert.equal(await lives(origin, accessToken), false);

  await german.route('**/graphql', (route) => route.abort());
  await press(german, 'Mein Konto wieder öffnen', 'Das hat gerade nicht geklappt.');
  await picture(german, 'reactivate-offline-de');
  assert.match(seen.problems.splice(0).join(), /ERR_FAILED \S+\/graphql$/);
  await german.unroute('**/graphql');
  await press(german, 'Mein Konto wieder öffnen', 'Dein Konto ist wieder offen.');
  await picture(german, 'reactivate-done-de');
  await signIn(origin, EMAIL, PASSWORD);

  await follow(english, links[0]);
  await picture(english, 'reactivate');
  await press(english, 'Open my account again', 'This link is unknown, used up or past its end.');
}

/** Asks for mails until the server has enough of it. */
async function tooOften(origin, page) {
  const mutation =
    'mutation($input: EmailInput!) { requestPasswordReset(input: $input) { errors { code } } }';
  for (let refused = false; !refused; ) {
    const { requestPasswordReset } = await graphql(origin, mutation, { input: { email: 'eve@example.org' } });
    refused = requestPasswordReset.errors.some(({ code }) => code === 'TOO_MANY_ATTEMPTS');
  }
  await page.goto(new URL('/forgot-password', origin).href);
  await page.getByLabel('Mailadresse').fill('eve@example.org');
  await press(page, 'Link zusenden', /Versuche es in \d+ (Sekunden|Minuten) noch einmal\./);
  await picture(page, 'forgot-too-often-de');
  assert(await page.getByRole('button', { name: 'Link zusenden' }).isEnabled());
}

/** Every language has the same texts, but for the refusals that the server says in English. */
async function sameTexts(page, origin) {
  await page.goto(new URL('/forgot-password', origin).href);
  const [english, ...others] = await page.evaluate(async () => {
    const shape = ([name, value]) => [name, typeof value === 'object' ? entries(value) : typeof value];
    const entries = ({ rules, ...value }) => Object.entries(value).map(shape);
    const { texts } = await import('/pages/texts.js');
    return Object.values(texts).map(entries);
  });
  for (const other of others) assert.deepEqual(other, english);
}

await inBrowser('recovery', async (english, origin, seen, open) => {
  const german = await open({ locale: 'de-AT' });
  await sameTexts(english, origin);
  await verify(origin, german);
  await forgot(origin, english, german);
  await reset(origin, english, german);
  await changeAddress(origin, english, german);
  await reopen(origin, english, german, seen);
  await tooOften(origin, german);
  for (const page of ['reset-password', 'confirm-email-change', 'reactivate-account', 'verify-email']) {
    await english.goto(new URL(page, origin).href);
    await sees(english, 'This link is incomplete.');
    assert.equal(await english.getByRole('button').count(), 0);
  }
  await picture(english, 'incomplete');
  return 'ways back in two languages';
});
