// Where a sign-in provider sends the browser back to, for installations without a front end of their own.
// The tab that began left the secret of the sign-in in its session storage; no other tab can finish it.
import { end, parameters, tell, words } from './page.js';
import { make } from './forms.js';
import { mutate, query } from './session.js';

const PAGE = '../sign-in';

/**
 * What the tab kept when it began: `{ provider, state }`, and as the page `sign-in` does it, `rememberMe` and
 * `back`, which leads there again. It is good once.
 */
function begun() {
  const kept = sessionStorage.getItem('cardea-oauth');
  sessionStorage.removeItem('cardea-oauth');
  try {
    const { provider, state, rememberMe = false, back = false } = JSON.parse(kept);
    return typeof provider === 'string' && typeof state === 'string' ? { provider, state, rememberMe, back } : null;
  } catch {
    return null;
  }
}

/** Says why nobody was signed in, and where to begin again. */
function failed(...said) {
  const link = make('a', { href: PAGE, textContent: words.again });
  return end(said[0], 'bad', ...said.slice(1), make('p', {}, link));
}

async function finish() {
  const sign = begun();
  if (!sign) return failed(words.elsewhere);
  const { back, ...secret } = sign;
  if (parameters.has('error')) {
    return failed(parameters.get('error') === 'access_denied' ? words.denied : words.failed);
  }
  if (!parameters.get('code')) return failed(words.failed);
  const input = {
    ...secret,
    code: parameters.get('code'),
    returnedState: parameters.get('state') ?? '',
    iss: parameters.get('iss'),
    tokenDelivery: 'COOKIE',
  };
  end(words.working, '');
  // The access token may have run out while the person was away; where the provider is to be linked it counts.
  await query('isSignedIn');
  const { errors, result } = await mutate('finishOAuthSignIn', input);
  if (errors.length > 0) return failed(...errors.map((error) => tell('p', error).textContent));
  if (result.__typename === 'TwoFactorRequired') {
    const { challengeToken, methods } = result;
    sessionStorage.setItem('cardea-second-step', JSON.stringify({ challengeToken, methods }));
    return location.replace(PAGE);
  }
  if (result.__typename !== 'SignedIn') return failed(words.more);
  if (back) return location.replace(PAGE);
  return end(words.done(result.user.fullName), 'good');
}

finish();
