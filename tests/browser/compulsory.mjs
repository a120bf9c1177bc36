// Signs in at the page /sign-in of a server at BASE_URL whose accounts must have a second factor: who has none
// is led to set one up, by an app or with a passkey. Needs Chromium, whose path CHROMIUM may name.
import assert from 'node:assert/strict';
import { PASSWORD, picture } from './account.mjs';
import { inBrowser } from './browser.mjs';
import { authenticator } from './factors.mjs';
import { open, password, press, sees, setUp } from './sign-in-page.mjs';

await inBrowser('compulsory', async (page, origin, seen, another) => {
  const [ada, bob] = ['ada@example.org', 'bob@example.org'];
  const at = await open(origin, ada, 'Ada Lovelace');
  await page.goto(new URL('/sign-in', origin).href);
  await password(page, ada);
  await sees(page, 'Your account must have a second factor.');
  assert.equal(await page.getByText(ada).count(), 0, 'the account is shown to nobody');
  await picture(page, 'compulsory');
  await setUp(page, await another(), at);
  await sees(page, ada);

  await open(origin, bob, 'Bob');
  const other = await another({ locale: 'de-AT' });
  const cdp = await other.context().newCDPSession(other);
  await cdp.send('WebAuthn.enable');
  await authenticator(cdp, 'internal');
  await other.goto(new URL('/sign-in', origin).href);
  await other.getByLabel('Mailadresse oder Benutzername').fill(bob);
  await other.getByLabel('Passwort', { exact: true }).fill(PASSWORD);
  await press(other, 'Anmelden');
  await sees(other, 'Dein Konto muss einen zweiten Faktor haben.');
  await picture(other, 'compulsory-de');
  await other.getByLabel('Name für einen neuen Passkey').fill('Telefon');
  await press(other, 'Hinzufügen');
  await sees(other, bob);
  await sees(other, 'Telefon');
  return 'by an app and with a passkey';
});
