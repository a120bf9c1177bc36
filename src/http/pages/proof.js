// The window that asks who is at the keyboard.
import { words } from './page.js';
import { complain, find, on } from './forms.js';
import { showPasskey, usable } from './passkey.js';
import { asked, mutate } from './session.js';

const dialog = find('proof');
const form = find('proof-form');
const field = find('proof-value');

const KINDS = {
  TWO_FACTOR_CODE: { name: 'twoFactorCode', label: 'anyCode', type: 'text', autocomplete: 'one-time-code' },
  PASSWORD: { name: 'password', label: 'password', type: 'password', autocomplete: 'current-password' },
};

/**
 * Asks for one of `methods` and hands it to `work` as a `ConfirmIdentityInput`, until `work` has no errors
 * to give. Gives false where the person leaves it at that, or has to sign in anew.
 */
export function prove(methods, intro, work) {
  const kind = KINDS[methods.find((method) => method in KINDS)];
  const passkey = find('proof-passkey');
  find('proof-intro').textContent = intro || (kind || methods.includes('PASSKEY') ? words.proofIntro : words.proofAnew);
  form.hidden = !kind;
  if (kind) {
    const { name, label, type, autocomplete } = kind;
    Object.assign(field, { name, type, autocomplete, value: '' });
    find('proof-label').textContent = words[label];
  }
  passkey.hidden = !methods.includes('PASSKEY') || !usable;
  find('proof-anew').hidden = !methods.includes('SIGN_IN');
  complain(form, []);
  complain(passkey, []);

  return new Promise((resolve) => {
    let proved = false;
    const done = (errors) => {
      if (errors.length > 0) return errors;
      proved = true;
      return dialog.close();
    };
    on(form, async () => {
      const errors = done(await work({ [kind.name]: field.value }));
      if (kind.type === 'text') field.value = '';
      return errors;
    });
    on(passkey.querySelector('button'), async () => {
      const { errors, shown } = await showPasskey();
      return done(shown ? await work({ passkey: shown }) : errors);
    });
    find('proof-cancel').onclick = () => dialog.close();
    dialog.onclose = () => {
      field.value = '';
      resolve(proved);
    };
    dialog.showModal();
  });
}

/** What is to be done by who can only sign in anew. */
export function onSignInAnew(work) {
  find('proof-anew').querySelector('button').onclick = () => {
    dialog.close();
    work();
  };
}

/** Runs a mutation and asks for the proof that it wants; null where the person gives none. */
export async function act(...mutation) {
  for (;;) {
    const payload = await mutate(...mutation);
    const methods = asked(payload);
    if (!methods) return payload;
    const reauthenticate = async (proof) => (await mutate('reauthenticate', proof)).errors;
    if (!(await prove(methods, '', reauthenticate))) return null;
  }
}
