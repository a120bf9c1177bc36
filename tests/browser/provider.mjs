// A real OpenID provider, certified by the OpenID Foundation, with two pages of its own: one that asks who
// signs in, and one that asks whether this server may know it.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const page = (uid, heading, fields, button) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${heading}</title>
<link rel="icon" href="data:,"><h1>${heading}</h1>
<form method="post" action="/interaction/${uid}">${fields}<button name="answer" value="yes">${button}</button>
<button name="answer" value="no">Cancel</button></form>`;

async function body(request) {
  let text = '';
  for await (const part of request) text += part;
  return new URLSearchParams(text);
}

/** What the person is asked, and what follows from the answer. */
async function interaction(provider, request, response) {
  const { uid, prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  const asksWho = prompt.name === 'login';
  if (request.method === 'GET') {
    const fields = asksWho ? '<label>Who are you? <input name="login"></label>' : '';
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end(page(uid, asksWho ? 'Sign in' : 'Allow Cardea', fields, asksWho ? 'Sign in' : 'Allow'));
  }
  const form = await body(request);
  if (form.get('answer') !== 'yes') {
    const result = { error: 'access_denied', error_description: 'The person said no.' };
    return provider.interactionFinished(request, response, result);
  }
  if (asksWho) {
    return provider.interactionFinished(request, response, { login: { accountId: form.get('login') } });
  }
  const known = grantId && (await provider.Grant.find(grantId));
  const grant = known || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

// It warns of what is not for production, which this is not.
console.info = () => {};
console.warn = () => {};

/** Starts the provider at `issuer` for the server at `origin`; gives what stops it. */
export async function startProvider(issuer, origin) {
  const provider = new Provider(issuer, {
    clients: [
      { client_id: 'cardea', client_secret: 'a-secret-of-32-characters-or-more', redirect_uris: [`${origin}/oauth/callback`] },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    cookies: { keys: ['only for tests'] },
    features: { devInteractions: { enabled: false } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: true, name: `${id} Lovelace` }),
    }),
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    pkce: { required: () => true },
  });
  provider.on('server_error', (_, error) => console.error(error));
  const answer = provider.callback();
  const server = createServer((request, response) => {
    if (!request.url.startsWith('/interaction/')) return answer(request, response);
    return interaction(provider, request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end();
    });
  });
  const { hostname, port } = new URL(issuer);
  await new Promise((resolve) => server.listen(Number(port), hostname, resolve));
  return () => server.close();
}
