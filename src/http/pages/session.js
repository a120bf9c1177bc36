// Requests of whoever is signed in in this browser. The tokens lie in cookies that no script sees.
import { post } from './page.js';

const cookies = { cookies: true };

async function ask(name, input) {
  const answer = await post(name, input, cookies);
  if (answer?.status !== 401) return answer;
  // The access token is over: another one is to be had for the refresh token.
  const refreshed = await post('refreshToken', undefined, cookies);
  if (!refreshed) return null;
  // Where the session has ended, that answer took its cookies away: what is sent again is sent by nobody.
  return post(name, input, cookies);
}

/** What a query gives; null where nothing answers. */
export async function query(name) {
  return (await ask(name))?.data ?? null;
}

/** An error that stands outside of the payload, in the form of those within. */
function outside({ message, extensions: { code, methods, retryAfter } }) {
  if (retryAfter) return { code: 'TOO_MANY_ATTEMPTS', retryAfterSeconds: retryAfter };
  return { code, message, methods };
}

/** Runs a mutation; gives its payload, or what it failed with as `errors`. */
export async function mutate(field, input) {
  const answer = await ask(field, input);
  const payload = answer?.data?.[field];
  if (payload) return payload;
  if (!answer?.errors.length) return { errors: [{ code: 'UNREACHABLE' }] };
  const errors = answer.errors.map(outside);
  // The session was ended elsewhere.
  if (errors.some(({ code }) => code === 'UNAUTHENTICATED')) dispatchEvent(new Event('signed-out'));
  return { errors };
}

/** What has to be proved before a mutation runs; undefined where nothing has. */
export function asked({ errors }) {
  return errors.find(({ methods }) => methods?.length > 0)?.methods;
}
