// The pages behind mailed links that need one press of a button.
import { end, fail, linkToForgotten, linkToSignIn, name, offer, send, token, words } from './page.js';

const mutations = {
  'verify-email': 'verifyEmail',
  'confirm-email-change': 'confirmEmailChange',
  'reactivate-account': 'reactivateAccount',
};

async function confirm() {
  const { errors, result } = await send(mutations[name], { token });
  if (errors.some(({ code }) => code === 'TOKEN_REJECTED')) return end(words.rejected, 'bad', words.renew);
  if (errors.length > 0) return fail(errors);
  // This page has no use for the session that confirming an address opened.
  if (result?.accessToken) await send('logout', undefined, result.accessToken);
  const advice = words.advice ? [words.advice, linkToForgotten(words.newPassword)] : [linkToSignIn()];
  return end(words.done, 'good', ...advice);
}

if (token) offer(confirm);
else end(words.incomplete, 'bad');
