// What an account is signed in to with: the second factor, passkeys, providers.
import { language, words } from './page.js';
import { complain, find, make, on } from './forms.js';
import { makePasskey, usable } from './passkey.js';
import { act, prove } from './proof.js';
import { goTo } from './provider.js';
import { picture } from './qr.js';
import { asked, mutate } from './session.js';

/** Shows one part beside the others, or with nothing all but the two that come and go. */
function only(id) {
  for (const part of ['factor', 'passkeys', 'providers']) find(part).hidden = Boolean(id);
  for (const part of ['setup', 'codes']) find(part).hidden = part !== id;
  if (id) find(id).querySelector('h2').focus();
}

/** Runs a mutation that names its own proof; gives its payload, or null where the person gives none. */
async function proved(passkeys, field, intro) {
  const methods = ['TWO_FACTOR_CODE', ...(passkeys.length > 0 ? ['PASSKEY'] : [])];
  let payload = null;
  const done = await prove(methods, intro, async (proof) => {
    payload = await mutate(field, proof);
    if (!asked(payload)) return payload.errors;
    // The session needs a proof as well, where the last one is a while ago; a proof counts once.
    const { errors } = await mutate('reauthenticate', proof);
    return errors.length > 0 ? errors : [{ code: 'ONCE_MORE' }];
  });
  return done ? payload : null;
}

/** Shows recovery codes, which nobody can see again, until the person has kept them. */
function showCodes(codes, reload) {
  only('codes');
  find('codes').querySelector('ul').replaceChildren(...codes.map((code) => make('li', {}, make('code', {}, code))));
  const copy = find('copy');
  copy.hidden = !navigator.clipboard;
  copy.textContent = words.copy;
  copy.onclick = async () => {
    await navigator.clipboard.writeText(codes.join('\n'));
    copy.textContent = words.copied;
  };
  find('kept').onclick = () => {
    find('codes').querySelector('ul').replaceChildren();
    reload();
  };
}

/** Has a device show its first code. */
function showSetup({ otpauthUri, secret }, reload) {
  only('setup');
  find('qr').replaceChildren(picture(otpauthUri, words.qr) ?? '');
  find('secret').textContent = secret.match(/.{1,4}/g).join(' ');
  const [form, code] = [find('setup-form'), find('first-code')];
  code.value = '';
  complain(form, []);
  const forget = () => {
    find('qr').replaceChildren();
    find('secret').textContent = '';
  };
  on(form, async () => {
    const payload = await act('confirmTwoFactor', { code: code.value });
    code.value = '';
    if (!payload || payload.errors.length > 0) return payload?.errors;
    forget();
    return showCodes(payload.recoveryCodes, reload);
  });
  form.querySelector('.cancel').onclick = () => {
    forget();
    only();
  };
}

function showFactor({ user, twoFactorOwed }, reload) {
  const { enabled, recoveryCodesLeft } = user?.twoFactor ?? { enabled: false };
  const state = enabled ? words.factorOn(recoveryCodesLeft) : twoFactorOwed ? words.factorOwed : words.factorOff;
  find('factor-state').textContent = state;
  find('set-up').textContent = enabled ? words.setUpAnother : words.setUp;
  find('set-up').className = enabled ? 'second' : '';
  find('new-codes').hidden = !enabled;
  // Where one is compulsory, another one must be left.
  const needed = user?.twoFactor.compulsory && user.passkeys.length === 0;
  find('switch-off').hidden = !enabled || needed;
  on(find('set-up'), async () => {
    const payload = await act('enableTwoFactor');
    if (!payload || payload.errors.length > 0) return payload?.errors;
    return showSetup(payload.setup, reload);
  });
  on(find('new-codes'), async () => {
    const payload = await proved(user.passkeys, 'regenerateRecoveryCodes', words.newCodesIntro);
    return payload && showCodes(payload.recoveryCodes, reload);
  });
  on(find('switch-off'), async () => {
    const payload = await proved(user.passkeys, 'disableTwoFactor', words.switchOffIntro);
    return payload && reload();
  });
}

const day = (instant) => new Intl.DateTimeFormat(language, { dateStyle: 'medium' }).format(new Date(instant));

const moment = (instant) =>
  new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short' }).format(new Date(instant));

/** A line of a list with a button at its end, which takes the thing out of the list. */
function line(text, details, label, remove, reload) {
  const button = make('button', { type: 'button', className: 'link', textContent: label, ariaLabel: `${label}: ${text}` });
  const item = make('li', {}, make('span', {}, text, make('small', {}, details)), button);
  on(button, async () => {
    const payload = await remove();
    return payload && (payload.errors.length > 0 ? payload.errors : reload());
  });
  return item;
}

/** Says when the account will be erased, if that was asked for. */
function showErasure(user, reload) {
  find('erasure').hidden = !user?.erasesAt;
  if (!user?.erasesAt) return;
  find('erases-at').textContent = words.erasesAt(moment(user.erasesAt));
  on(find('keep'), async () => {
    const { errors } = await mutate('cancelErasure');
    return errors.length > 0 ? errors : reload();
  });
}

function showPasskeys(passkeys, reload) {
  const list = find('passkeys').querySelector('.list');
  const lines = passkeys.map(({ id, name, createdAt, lastUsedAt }) => {
    const details = lastUsedAt ? words.passkeyUsed(day(createdAt), day(lastUsedAt)) : words.passkeyAdded(day(createdAt));
    const remove = () => act('removePasskey', { passkeyId: id });
    return line(name, details, words.remove, remove, reload);
  });
  // After those that are in the page; what it says of a mistake belongs to the list, too.
  list.replaceChildren(...lines);
  const form = find('passkey-form');
  find('passkeys').hidden = !usable && passkeys.length === 0;
  form.hidden = !usable;
  const name = find('passkey-name');
  on(form, async () => {
    const begun = await act('startPasskeyRegistration');
    if (!begun || begun.errors.length > 0) return begun?.errors;
    const { errors, made } = await makePasskey(begun);
    if (!made) return errors;
    const input = { ...made, name: name.value };
    const payload = await act('finishPasskeyRegistration', input);
    if (!payload || payload.errors.length > 0) return payload?.errors;
    name.value = '';
    return reload();
  });
}

function showProviders(linked, providers, reload) {
  const section = find('providers');
  section.hidden = linked.length === 0 && providers.length === 0;
  const called = (slug) => providers.find((provider) => provider.slug === slug)?.displayName ?? slug;
  const lines = linked.map(({ id, provider, displayName, linkedAt }) => {
    const details = [displayName, words.linked(day(linkedAt))].filter(Boolean).join(' · ');
    const remove = () => act('unlinkAccount', { linkedAccountId: id });
    return line(called(provider), details, words.unlink, remove, reload);
  });
  section.querySelector('.list').replaceChildren(...lines);
  const others = providers.filter(({ slug }) => !linked.some(({ provider }) => provider === slug));
  const buttons = others.map(({ slug, displayName }) => {
    const button = make('button', { type: 'button', className: 'second', textContent: words.link(displayName) });
    return button;
  });
  section.querySelector('.ways').replaceChildren(...buttons);
  others.forEach(({ slug }, i) => on(buttons[i], () => goTo(slug, { link: true }, act)));
}

/** Shows the account of `viewer`; `reload` shows it anew. */
export function showAccount(viewer, providers, reload) {
  const { user, twoFactorOwed } = viewer;
  find('name').textContent = user?.fullName ?? '';
  find('address').textContent = user?.email ?? '';
  only();
  showErasure(user, reload);
  showFactor(viewer, reload);
  // Who owes a second factor may set one up, and nothing else; a passkey is one.
  showPasskeys(user?.passkeys ?? [], reload);
  if (twoFactorOwed) find('providers').hidden = true;
  else showProviders(user.linkedAccounts, providers, reload);
}
