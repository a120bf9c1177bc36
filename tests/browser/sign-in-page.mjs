// What is done at the page /sign-in, as a person would.
import assert from 'node:assert/strict';
import jsQR from 'jsqr';
import { PASSWORD, mailTo, mutate, picture, register } from './account.mjs';
import { serverTime, totp } from './factors.mjs';

/** Opens an account whose address is proved; gives the time by the clock of the server. */
export async function open(origin, email, fullName) {
  await register(origin, email, fullName);
  const { links } = await mailTo(origin, email);
  const token = links[0].split('token=')[1];
  const selection = 'result { ... on SignedIn { accessToken } }';
  const { result } = await mutate(origin, 'verifyEmail', 'VerifyEmailInput', { token }, selection);
  return serverTime(result.accessToken);
}

export const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
export const sees = (page, text) => page.getByText(text).locator('visible=true').first().waitFor();

/** Does the first step with a password. */
export async function password(page, identifier, secret = PASSWORD) {
  await page.getByLabel('Mail address or user name').fill(identifier);
  await page.getByLabel('Password', { exact: true }).fill(secret);
  await press(page, 'Sign in');
}

export async function signOut(page) {
  await press(page, 'Sign out');
  await sees(page, 'You are signed out.');
}

/** Does the second step with a code. */
export async function code(page, value) {
  await page.getByRole('heading', { name: 'One more step' }).waitFor();
  await page.locator('#code').fill(value);
  await press(page, 'Go on');
}

/** What a QR code says that the page draws, by the pixels on the screen. */
async function scanned(page, blank) {
  const png = await page.locator('#qr svg').screenshot();
  const { data, width, height } = await blank.evaluate(async (png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
    canvas.drawImage(image, 0, 0);
    const { data, width, height } = canvas.getImageData(0, 0, image.width, image.height);
    return { data: [...data], width, height };
  }, png.toString('base64'));
  return jsQR(Uint8ClampedArray.from(data), width, height)?.data;
}

/** Switches the second factor on; gives the secret and the recovery codes. */
export async function setUp(page, blank, at) {
  await press(page, 'Set up an authenticator app');
  await page.locator('#qr svg').waitFor();
  const secret = (await page.locator('#secret').innerText()).replaceAll(' ', '');
  const uri = await scanned(page, blank);
  assert.match(uri, /^otpauth:\/\/totp\//);
  assert(uri.includes(`secret=${secret}`), uri);
  await picture(page, 'sign-in-setup');
  const field = page.getByLabel('Code that the app shows');
  await field.fill('000000');
  await press(page, 'Switch it on');
  await sees(page, 'The code is wrong or was used before.');
  assert(await field.evaluate((field) => field === document.activeElement), 'the field has the focus');
  await picture(page, 'sign-in-setup-refused');
  await field.fill(totp(secret, at - 30_000));
  await press(page, 'Switch it on');
  await sees(page, 'Each of these lets you in once');
  const codes = await page.locator('#codes li').allInnerTexts();
  assert.equal(codes.length, 10);
  await picture(page, 'sign-in-codes');
  await press(page, 'I have kept them');
  await sees(page, 'On. 10 recovery codes are left.');
  assert.equal(await page.locator('#secret').textContent(), '', 'the secret is out of the page');
  return { secret, codes };
}
