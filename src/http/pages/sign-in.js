// Signs people in, and shows them what they sign in with. For front-end developers it is an example of all
// of that, with cookies.
import { finish, words } from './page.js';
import { complain, find, make, on } from './forms.js';
import { askNoMore, offersInField, showPasskey, usable } from './passkey.js';
import { onSignInAnew } from './proof.js';
import { mutate, query } from './session.js';
import { goTo } from './provider.js';
import { showAccount } from './account.js';

const cookies = { tokenDelivery: 'COOKIE' };
const remembered = () => ({ rememberMe: find('remember').checked });

/** Shows one part of the page, and says something above it. */
function view(id, title, text, ...more) {
  askNoMore();
  for (const part of ['begin', 'second', 'account']) find(part).hidden = part !== id;
  const heading = document.querySelector('h1');
  heading.textContent = title;
  document.title = title;
  for (const said of document.querySelectorAll('#outcome, ul.bad')) said.replaceChildren();
  if (text) finish(text, '', ...more);
  else heading.focus();
}

/** Goes on with what a sign-in led to; gives the errors where it led to none. */
async function arrive({ errors, result }) {
  if (errors.length > 0) return errors;
  find('password').value = '';
  if (result.__typename === 'TwoFactorRequired') return secondStep(result);
  if (result.__typename === 'SignedIn') return open();
  if (result.__typename === 'PasswordExpired') {
    const href = `reset-password#token=${encodeURIComponent(result.resetToken)}`;
    return view('', words.title, words.expired, make('p', {}, make('a', { href, textContent: words.newPassword })));
  }
  const again = make('button', { type: 'button', className: 'link', textContent: words.mailAgain });
  const email = find('identifier').value.trim();
  const place = make('div', {}, again, make('ul', { className: 'bad' }));
  on(again, async () => {
    const { errors } = await mutate('resendVerification', { email });
    if (errors.length > 0) return errors;
    return finish(words.mailed, 'good');
  });
  return view('begin', words.title, words.unverified, ...(email ? [place] : []));
}

/** The second step of a sign-in. */
function secondStep({ challengeToken, methods }) {
  view('second', words.second);
  const [form, passkey] = [find('code-form'), find('second-passkey')];
  form.hidden = !methods.some((method) => method !== 'PASSKEY');
  find('recovery').parentElement.hidden = !methods.includes('RECOVERY_CODE') || !methods.includes('TOTP');
  passkey.hidden = !methods.includes('PASSKEY') || !usable;
  const code = find('code');
  let byRecovery = false;
  const recovery = (used) => {
    byRecovery = used;
    complain(form, []);
    form.querySelector('p').textContent = used ? words.recoveryIntro : words.codeIntro;
    document.querySelector('label[for=code]').textContent = used ? words.recoveryCode : words.code;
    find('recovery').textContent = used ? words.useCode : words.useRecovery;
    Object.assign(code, { value: '', inputMode: used ? 'text' : 'numeric', autocomplete: used ? 'off' : 'one-time-code' });
    find('recovery').onclick = () => recovery(!used);
    code.focus();
  };
  recovery(!methods.includes('TOTP'));
  find('trust').checked = false;
  // Past its end, or after too many tries, the sign-in has to begin anew.
  const proceed = async (payload) => {
    const over = payload.errors.some(({ code, path }) => code === 'TOKEN_REJECTED' && path?.at(-1) === 'challengeToken');
    if (over) return begin(words.over);
    return arrive(payload);
  };
  on(form, async () => {
    const input = { challengeToken, code: code.value, trustDevice: find('trust').checked };
    const payload = await mutate('verifyTwoFactor', input);
    if (payload.errors.length > 0) code.value = '';
    const told = (error) => (byRecovery && error.path?.at(-1) === 'code' ? { ...error, path: ['recoveryCode'] } : error);
    return proceed({ ...payload, errors: payload.errors.map(told) });
  });
  on(passkey.querySelector('button'), async () => {
    const { errors, shown } = await showPasskey(challengeToken);
    if (!shown) return proceed({ errors });
    return proceed(await mutate('finishPasskeySignIn', { ...shown, ...cookies }));
  });
}

/** Signs in with a passkey alone. */
async function byPasskey({ errors, shown }) {
  if (!shown) return errors;
  const input = { ...shown, ...remembered(), ...cookies };
  return arrive(await mutate('finishPasskeySignIn', input));
}

/** Has the browser offer passkeys in the list under the name. Where it does not, the button says why. */
async function offerPasskeys() {
  find('identifier').onfocus = null;
  if (!(await offersInField()) || find('begin').hidden) return;
  const { shown } = await showPasskey(undefined, 'conditional');
  if (shown) complain(find('passkey'), (await byPasskey({ shown })) ?? []);
}

/** The first step. */
function begin(text) {
  view('begin', words.title, text);
  find('password').value = '';
  find('identifier').onfocus = offerPasskeys;
}

function wire({ providers }) {
  on(find('password-form'), async () => {
    const [identifier, password] = [find('identifier').value.trim(), find('password').value];
    return arrive(await mutate('login', { identifier, password, ...remembered(), ...cookies }));
  });
  on(find('passkey'), async () => byPasskey(await showPasskey()));
  find('passkey').hidden = !usable;
  const buttons = providers.map(({ slug, displayName }) => {
    const button = make('button', { type: 'button', className: 'second', textContent: words.withProvider(displayName) });
    on(button, () => goTo(slug, remembered()));
    return button;
  });
  find('passkey').after(...buttons);
  find('ways').hidden = !usable && providers.length === 0;
  find('back').onclick = () => begin();
  onSignInAnew(signOut);
  addEventListener('signed-out', () => {
    find('proof').close();
    begin(words.ended);
  });
  on(find('sign-out'), signOut);
}

async function signOut() {
  const { errors } = await mutate('logout');
  if (errors.length > 0) return errors;
  return begin(words.signedOut);
}

/** Shows the account of who is signed in, and the first step to everybody else. */
async function open(first = false) {
  const data = await query('account');
  if (!data) return first ? finish(words.unreachable, 'bad') : [{ code: 'UNREACHABLE' }];
  const { viewer, authOptions } = data;
  if (first) wire(authOptions);
  if (!viewer.user && !viewer.twoFactorOwed) return begin();
  view('account', words.account);
  return showAccount(viewer, authOptions.providers, open);
}

// A sign-in with a provider that waits for the second step; the page where the provider led back left it.
const kept = sessionStorage.getItem('cardea-second-step');
sessionStorage.removeItem('cardea-second-step');
await open(true);
if (kept) secondStep(JSON.parse(kept));
