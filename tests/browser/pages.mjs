// Opens an account at the server at BASE_URL and confirms its address as a newcomer would: through
// the inbox page and the built-in page behind the mailed link. Needs Chromium, whose path CHROMIUM
// may name; SCREENSHOTS names a folder for PNG files of every step.
import assert from 'node:assert/strict';
import { mailTo, outcomeHasFocus, picture, register, signIn } from './account.mjs';
import { inBrowser } from './browser.mjs';

await inBrowser('pages', async (page, origin) => {
  const at = (place) => new URL(place, origin).href;
  const sees = (text) => page.getByText(text).first().waitFor();

  await page.goto(at('/inbox'));
  await sees('No mail yet.');
  await picture(page, 'inbox-empty');

  // A name that would be markup where it is not escaped.
  const email = 'ada@example.org';
  const name = 'Ada <b>Lovelace</b>';
  await register(origin, email, name);
  const mail = await mailTo(origin, email);
  assert.equal(mail.links.length, 1);
  assert(mail.links[0].startsWith(at('/verify-email#token=')), mail.links[0]);

  await page.goto(at('/inbox'));
  assert.equal(await page.title(), 'Cardea · Inbox');
  await page.getByRole('link', { name: mail.subject }).click();
  await page.getByRole('heading', { name: mail.subject }).waitFor();
  const text = await page.locator('pre').innerText();
  // A stranger's words have no place in a mail to an address that is not proved.
  assert(!text.includes('Lovelace') && text.includes(mail.links[0]), text);
  const framed = page.frameLocator('iframe');
  await framed.getByText('Hello,').waitFor();
  await framed.getByRole('link', { name: 'Confirm my address' }).waitFor();
  await picture(page, 'inbox-mail');

  await framed.getByRole('link', { name: 'Confirm my address' }).click();
  await page.waitForURL(at('/verify-email'));
  await sees('Press the button to confirm');
  const button = page.getByRole('button', { name: 'Confirm my address' });
  await button.waitFor();
  await picture(page, 'verify');
  assert.equal(page.url(), at('/verify-email'), 'the token is out of the address');
  // Somebody, or a mail scanner, merely opened the page.
  const isReady = await signIn(origin, email);
  assert.equal(isReady.__typename, 'EmailVerificationRequired');

  await button.click();
  await sees('Your address is confirmed.');
  assert.equal(await page.getByRole('link', { name: 'Sign in' }).getAttribute('href'), 'sign-in');
  assert.equal(await button.isVisible(), false);
  await picture(page, 'verify-done');
  await outcomeHasFocus(page);
  // The session that confirming opened has ended; this one is alone.
  const signedIn = await signIn(origin, email);
  assert.equal(signedIn.sessions.length, 1);

  // The link works once; `goto` alone would not load a page again whose fragment alone differs.
  await page.goto('about:blank');
  await page.goto(mail.links[0]);
  await button.click();
  await sees('This link is unknown, used up or past its end.');
  await picture(page, 'verify-refused');

  await page.goto(at('/verify-email'));
  await sees('This link is incomplete.');
  assert.equal(await button.isVisible(), false);
  await picture(page, 'verify-broken');

  // Another mail beside the first: the owner is told, and there is nothing to follow.
  await register(origin, email, 'Eve');
  await mailTo(origin, email, 'You already have an account');
  await page.goto(at('/inbox'));
  await page.getByRole('link', { name: 'You already have an account' }).click();
  await framed.getByText('There is one already').waitFor();
  assert.equal(await framed.getByRole('link').count(), 0);
  await picture(page, 'inbox-two');
  return 'inbox and confirmation';
});
