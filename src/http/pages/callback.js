// Where a sign-in provider sends the browser back to, for installations without a front end of their own.
// The tab that began left the secret of the sign-in in its session storage; no other tab can finish it.
import { ERRORS, end, fail, parameters, send, words } from './page.js';

const mutation = `mutation($input: FinishOAuthSignInInput!) { finishOAuthSignIn(input: $input) {
  ${ERRORS} result { __typename ... on SignedIn { user { fullName } } } } }`;

/** What the tab kept when it began: `{ provider, state }`. It is good once. */
function begun() {
  const kept = sessionStorage.getItem('cardea-oauth');
  sessionStorage.removeItem('cardea-oauth');
  try {
    const { provider, state } = JSON.parse(kept);
    return typeof provider === 'string' && typeof state === 'string' ? { provider, state } : null;
  } catch {
    return null;
  }
}

async function finish() {
  const sign = begun();
  if (!sign) return end(words.elsewhere, 'bad');
  if (parameters.has('error')) {
    return end(parameters.get('error') === 'access_denied' ? words.denied : words.failed, 'bad');
  }
  if (!parameters.get('code')) return end(words.failed, 'bad');
  const input = {
    ...sign,
    code: parameters.get('code'),
    returnedState: parameters.get('state') ?? '',
    iss: parameters.get('iss'),
    tokenDelivery: 'COOKIE',
  };
  end(words.working, '');
  const { errors, result } = await send(mutation, input, undefined, true);
  if (errors.length > 0) return fail(errors);
  if (result.__typename === 'SignedIn') return end(words.done(result.user.fullName), 'good');
  return end(words.more, 'bad');
}

finish();
