// The way to a sign-in provider. The page `oauth/callback` is where it leads back to.
import { mutate } from './session.js';

/** Leaves for a provider, to sign in or, with `act` and `link`, to tie it to the account. */
export async function goTo(provider, { rememberMe = false, link = false }, run = mutate) {
  const redirectUri = new URL('oauth/callback', location.href).href;
  const input = { provider, redirectUri, link };
  const begun = await run('startOAuthSignIn', input);
  if (!begun) return [];
  if (begun.errors.length > 0) return begun.errors;
  // Only this tab can finish what it began.
  const kept = { provider, state: begun.state, rememberMe, back: true };
  sessionStorage.setItem('cardea-oauth', JSON.stringify(kept));
  location.assign(begun.authorizationUrl);
  return [];
}
