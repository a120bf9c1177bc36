// Passkeys: what the browser's authenticators are asked, and what they answer.
import { mutate } from './session.js';

// Passkeys belong to names: at 127.0.0.1 or [::1] browsers make none.
const isNumber = /^\[|^[\d.]+$/.test(location.hostname);

/** Whether this browser can use passkeys here. */
export const usable = !isNumber && Boolean(globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON);

/** Why there is no answer, as an error that `messages` in the texts has words for. */
function failure({ name }) {
  const codes = { NotAllowedError: 'PASSKEY_DECLINED', InvalidStateError: 'PASSKEY_HELD', SecurityError: 'PASSKEY_ELSEWHERE' };
  return { errors: [{ code: codes[name] ?? 'PASSKEY_FAILED' }] };
}

let waiting = new AbortController();

/** A browser has one question open at a time: this takes it back. */
export function askNoMore() {
  waiting.abort();
  waiting = new AbortController();
  return waiting.signal;
}

/**
 * Has a passkey shown, any, or one of the account of the sign-in that `challengeToken` is of. Gives `shown`,
 * or `errors`.
 */
export async function showPasskey(challengeToken, mediation) {
  const signal = askNoMore();
  const begun = await mutate('startPasskeySignIn', { challengeToken });
  if (begun.errors.length > 0) return begun;
  try {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(begun.options);
    const credential = (await navigator.credentials.get({ publicKey, mediation, signal })).toJSON();
    return { errors: [], shown: { challengeToken: begun.challengeToken, credential } };
  } catch (error) {
    return error.name === 'AbortError' ? { errors: [] } : failure(error);
  }
}

/** Whether the browser offers passkeys in the list under a field. */
export async function offersInField() {
  return usable && Boolean(await PublicKeyCredential.isConditionalMediationAvailable?.());
}

/** Has a passkey made; gives `made`, or `errors`. `begun` is what `startPasskeyRegistration` gave. */
export async function makePasskey({ challengeToken, options }) {
  askNoMore();
  try {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
    const credential = (await navigator.credentials.create({ publicKey })).toJSON();
    return { errors: [], made: { challengeToken, credential } };
  } catch (error) {
    return failure(error);
  }
}
