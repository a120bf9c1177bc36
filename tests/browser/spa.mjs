// Takes people through the pages of examples/spa at BASE_URL, built and served, before the server at SERVER: as somebody
// without an account, with one, with a second factor, and as the administrator root@example.org, in light and in dark.
// NOW is the time of the server, `POST /test/later` lets twenty minutes go by there. Needs Chromium, whose path CHROMIUM
// may name; SCREENSHOTS names a folder for PNG files of every step.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PASSWORD, mailTo, picture, signIn } from './account.mjs';
import { inBrowser } from './browser.mjs';
import { totp } from './factors.mjs';

const { SERVER, NOW, ADMIN_PASSWORD } = process.env;
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

await inBrowser('spa', async (page, origin, seen, another) => {
  const at = (place) => new URL(place, origin).href;
  const ada = 'ada@example.org';
  let now = Number(NOW);
  let checks = 0;
  let place = page;

  const press = (name) => place.getByRole('button', { name, exact: true }).click();
  const heading = (name) => place.getByRole('heading', { name, level: 1 }).waitFor();
  const sees = (text) => place.getByText(text).first().waitFor();
  const told = (text) => place.getByRole('status').filter({ hasText: text }).first().waitFor();
  const field = (label) => place.getByLabel(label, { exact: false });
  const focused = (selector) => place.waitForFunction((selector) => document.activeElement?.matches(selector), selector);

  /** Nothing that axe finds fault with, in light and in dark; and pictures of both. */
  const look = async (name) => {
    await place.evaluate(axe);
    for (const colorScheme of ['light', 'dark']) {
      await place.emulateMedia({ colorScheme });
      const { violations } = await place.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
      assert.deepEqual(found, [], `${name}, ${colorScheme}`);
      checks += 1;
    }
    await place.emulateMedia({ colorScheme: 'light' });
    await picture(place, `spa-${name}`);
  };

  const signInAt = async (identifier, password) => {
    await heading('Sign in');
    await field('Mail address or user name').fill(identifier);
    await field('Password').fill(password);
    await press('Sign in');
  };

  // Whoever opens the example is led to sign in, by keyboard, too.
  await page.goto(at('/'));
  await heading('Sign in');
  await page.keyboard.press('Tab');
  await focused('.skip');
  await look('sign-in');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await heading('Open an account');
  await focused('h1');

  // Every field tells by itself what is wrong with it; the first one has the focus.
  await field('Mail address').fill('ada at example');
  await field('Password').fill('short');
  await press('Register');
  const [name, address, password] = ['Your name', 'Mail address', 'Password'].map(field);
  for (const wrong of [name, address, password]) {
    await wrong.and(page.locator('[aria-invalid=true]')).waitFor();
    const [reason] = (await wrong.getAttribute('aria-describedby')).split(' ').slice(-1);
    assert.notEqual(await page.locator(`[id="${reason}"]`).innerText(), '');
  }
  assert(await name.evaluate((field) => field === document.activeElement), 'the first wrong field has the focus');
  await look('register-refused');
  await name.fill('Ada Lovelace');
  await address.fill(ada);
  await password.fill(PASSWORD);
  await press('Register');
  await heading('Look into your mail');
  await focused('h1');
  await look('look-into-your-mail');

  // Signing in before the address is proved leads to the same advice.
  await page.getByRole('link', { name: 'Sign in' }).last().click();
  await signInAt(ada, PASSWORD);
  await heading('Look into your mail');
  await press('Send the mail again');
  await told('Another mail is on its way.');

  const { links } = await mailTo(SERVER, ada, at('/verify-email#token='));
  await page.goto('about:blank');
  await page.goto(links[0]);
  await heading('Confirm your address');
  assert.equal(page.url(), at('/verify-email'), 'the token is out of the address');
  assert.equal((await signIn(SERVER, ada)).__typename, 'EmailVerificationRequired');
  await look('verify');
  await press('Confirm my address');
  await heading('Your profile');
  await told('Your address is confirmed. Welcome, Ada Lovelace.');
  await focused('h1');
  await look('verified');
  await page.goto('about:blank');
  await page.goto(links[0]);
  await sees('You are signed in as Ada Lovelace.');
  await press('Confirm my address');
  await page.getByRole('alert').waitFor();
  await focused('[role=alert]');
  await look('verify-refused');
  await press('Sign out');
  await told('You are signed out.');

  await signInAt(ada, 'Wrong-Horse-7');
  await page.getByRole('alert').waitFor();
  await focused('[role=alert]');
  await look('sign-in-refused');
  await signInAt(ada, PASSWORD);
  await heading('Your profile');
  await told('Welcome, Ada Lovelace.');
  await focused('h1');
  const seenByScripts = await page.evaluate(() => document.cookie + JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  assert.equal(seenByScripts, '[{},{}]', 'no script can take a token');

  // The profile: refused field by field, then saved.
  await field('Name').first().fill('A');
  await field('User name').fill('ada lovelace');
  await field('About you').fill('x'.repeat(501));
  await field('Time zone').fill('Europe/Nowhere');
  await press('Save');
  const refused = page.locator('[aria-invalid=true]');
  await refused.nth(3).waitFor();
  assert.equal(await refused.count(), 4);
  await sees('At most 500 characters.');
  await focused('[name=fullName]');
  await look('profile-refused');
  await field('Name').first().fill('Ada King');
  await field('User name').fill('ada');
  await field('About you').fill('Notes on the Analytical Engine.');
  await field('Time zone').fill('Europe/London');
  await field('Born on').fill('1985-12-10');
  await press('Save');
  await told('Saved.');
  await page.locator('.who').getByText('Ada King').waitFor();
  assert.equal(await refused.count(), 0);
  await page.reload();
  await heading('Your profile');
  assert.equal(await field('Born on').inputValue(), '1985-12-10');
  assert.equal(await field('About you').inputValue(), 'Notes on the Analytical Engine.');
  assert.equal(await page.getByRole('link', { name: 'Roles' }).count(), 0);
  await look('profile');
  await page.goto(at('/roles'));
  await heading('There is no such page');

  // Twenty minutes on the access token is over, and nobody notices.
  const later = async () => {
    await fetch(at('/test/later'), { method: 'POST' });
    now += 20 * 60_000;
  };
  await later();
  await page.getByRole('link', { name: 'Security' }).click();
  await heading('Second factor');
  await sees('Off. With one');
  const stale = seen.problems.splice(0);
  assert(stale.every((problem) => /status of 401 .*\/graphql$/s.test(problem)), stale.join('\n'));
  assert(stale.length > 0, 'the access token was over');

  // The sign-in is not recent any more: a proof is asked for, and what was begun goes on.
  await press('Set up an app');
  const dialog = page.getByRole('dialog', { name: 'Is it still you?' });
  await dialog.waitFor();
  await look('proof');
  await page.keyboard.press('Escape');
  await sees('Nothing was changed');
  await press('Set up an app');
  await dialog.getByLabel('Your password').fill('Wrong-Horse-7');
  await dialog.getByRole('button', { name: 'Go on' }).click();
  await dialog.locator('[aria-invalid=true]').waitFor();
  await dialog.getByLabel('Your password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Go on' }).click();
  await heading('Set up your app');
  const secret = (await page.locator('.secret').innerText()).replaceAll(' ', '');
  const uri = await page.getByRole('link', { name: 'open it there' }).getAttribute('href');
  assert(uri.startsWith('otpauth://totp/') && uri.includes(`secret=${secret}`), uri);
  await look('second-factor-setup');
  await field('Code that the app shows').fill('000000');
  await press('Switch it on');
  await page.locator('[name=code][aria-invalid=true]').waitFor();
  await focused('[name=code]');
  await field('Code that the app shows').fill(totp(secret, now - 30_000));
  await press('Switch it on');
  await heading('Your recovery codes');
  const codes = await page.locator('.codes li').allInnerTexts();
  assert.equal(codes.length, 10);
  await look('recovery-codes');
  await press('I have kept them');
  await sees('10 recovery codes are left.');
  await look('second-factor');

  // Another browser: it is asked for the code, and is ended from the first.
  const other = await another({ userAgent: 'Mozilla/5.0 (Windows NT 10.0) Firefox/140.0' });
  place = other;
  await other.goto(at('/sign-in'));
  await signInAt('ada', PASSWORD);
  await heading('One more step');
  await field('Code from your app').fill('000000');
  await press('Go on');
  await other.locator('[name=code][aria-invalid=true]').waitFor();
  await look('second-step-refused');
  await field('Code from your app').fill(totp(secret, now));
  await press('Go on');
  await heading('Your profile');

  place = page;
  await page.getByRole('link', { name: 'Sessions' }).click();
  await heading('Where you are signed in');
  await sees('Firefox on Windows');
  assert.equal(await page.getByRole('listitem').count(), 2);
  await look('sessions');
  await page.getByRole('button', { name: 'End this one: Firefox on Windows' }).click();
  await told('Firefox on Windows is signed out.');
  await page.getByRole('listitem').nth(1).waitFor({ state: 'detached' });
  await focused('ul');

  place = other;
  await other.getByRole('link', { name: 'Sessions' }).click();
  await heading('Sign in');
  const ended = seen.problems.splice(0);
  assert(ended.every((problem) => /status of 401 .*\/graphql$/s.test(problem)), ended.join('\n'));
  assert.deepEqual(await other.context().cookies(), [], 'cookies of a session that is over are taken away');

  // A recovery code does, too; and off it goes.
  await signInAt(ada, PASSWORD);
  await heading('One more step');
  await field('Code from your app').fill(codes[0]);
  await press('Go on');
  await heading('Your profile');
  await other.getByRole('link', { name: 'Security' }).click();
  await sees('9 recovery codes are left.');
  await field('Code from your app').fill(totp(secret, now + 30_000));
  await press('Switch it off');
  await told('The second factor is off.');
  await sees('Off. With one');
  await press('Sign out');
  await heading('Sign in');
  await told('You are signed out.');
  assert.deepEqual(await other.context().cookies(), []);

  // An administrator must have a second factor, and hands out roles with one.
  await signInAt('root@example.org', ADMIN_PASSWORD);
  await sees('Your account must have a second factor.');
  assert.equal(await other.getByRole('navigation').getByRole('link').count(), 0);
  await look('second-factor-owed');
  await press('Set up an app');
  const rootSecret = (await other.locator('.secret').innerText()).replaceAll(' ', '');
  await field('Code that the app shows').fill(totp(rootSecret, now - 30_000));
  await press('Switch it on');
  await heading('Your recovery codes');
  await press('I have kept them');
  await heading('Your profile');
  await other.getByRole('link', { name: 'Roles' }).click();
  await heading('Roles');
  const of = (name) => other.locator('.list > li').filter({ hasText: name });
  await of('Ada King').waitFor();
  await look('roles');
  await other.getByLabel('Another role for Ada King').selectOption('moderator');
  await of('Ada King').getByRole('button', { name: 'Give' }).click();
  await told('Ada King has the role moderator now.');
  await other.getByRole('button', { name: 'Take the role moderator from Ada King' }).waitFor();
  await other.getByRole('button', { name: 'Take the role admin from Root' }).click();
  await of('Root').getByRole('alert').waitFor();
  await look('roles-refused');
  await other.getByLabel('Find accounts').fill('king');
  await press('Find');
  await of('Root').waitFor({ state: 'detached' });
  await later();
  await other.getByRole('button', { name: 'Take the role moderator from Ada King' }).click();
  const again = other.getByRole('dialog', { name: 'Is it still you?' });
  await again.getByLabel('Code from your app').fill(totp(rootSecret, now));
  await again.getByRole('button', { name: 'Go on' }).click();
  await told('Ada King has the role moderator no more.');
  const over = seen.problems.splice(0);
  assert(over.every((problem) => /status of 401 .*\/graphql$/s.test(problem)), over.join('\n'));
  seen.outside = seen.outside.filter((url) => !url.startsWith(`${SERVER}/graphql`));
  return `every flow, ${checks} looks by axe`;
});
