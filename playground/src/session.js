// Who is signed in on this page. The tokens stand under Headers, where one sees and changes them, and in memory: a
// reload forgets them, and `storage` leaves them out of the history.
import { createElement as h, useEffect, useState, useSyncExternalStore } from 'react';
import { useGraphiQL } from '@graphiql/react';

export const defaultHeaders = '{\n  "Authorization": "Bearer "\n}';

const AUTHORIZATION = /("authorization"\s*:\s*)"[^"]*"/i;
const login = `mutation($input: LoginInput!) { login(input: $input) { errors { message }
  result { __typename ... on SignedIn { accessToken refreshToken } ... on TwoFactorRequired { challengeToken } } } }`;
const secondStep = `mutation($input: VerifyTwoFactorInput!) { verifyTwoFactor(input: $input) { errors { message }
  result { __typename ... on SignedIn { accessToken refreshToken } } } }`;
const refresh = `mutation($input: RefreshTokenInput) { refreshToken(input: $input) {
  result { ... on SignedIn { accessToken refreshToken } } } }`;
const whoami = '{ me { fullName email } }';

const listeners = new Set();
let headers = defaultHeaders;
let tokens = null;

function tell() {
  for (const listener of listeners) listener();
}

function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const useHeaders = () => useSyncExternalStore(subscribe, () => headers);
const useTokens = () => useSyncExternalStore(subscribe, () => tokens);

/** Takes over tokens, or forgets those that it knows, and shows it under Headers. */
function adopt(signedIn) {
  tokens = signedIn && { access: signedIn.accessToken, refresh: signedIn.refreshToken };
  const value = JSON.stringify(`Bearer ${tokens?.access ?? ''}`);
  headers = AUTHORIZATION.test(headers) ? headers.replace(AUTHORIZATION, (_, name) => name + value) : `{\n  "Authorization": ${value}\n}`;
  tell();
}

/** Looks through an answer for tokens: those of whoever signs in by an operation of their own. */
function notice(answer) {
  for (const payload of Object.values(answer?.data ?? {})) {
    if (typeof payload?.result?.accessToken === 'string') adopt(payload.result);
  }
}

let url;
const post = (query, variables, token) =>
  fetch(url, {
    method: 'POST',
    credentials: 'same-origin',
    headers: {
      'content-type': 'application/json',
      accept: 'application/graphql-response+json',
      'graphql-require-preflight': '1',
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables }),
  }).then((response) => response.json());

let renewing;

/** Another access token where the one before is over; false where none is to be had. One request does it for all. */
function renew() {
  const before = tokens;
  renewing ??= post(refresh, { input: { refreshToken: before.refresh } })
    .then((answer) => {
      notice(answer);
      if (tokens === before) adopt(null);
    })
    // Nobody answered: the session may live on.
    .catch(() => {})
    .finally(() => {
      renewing = undefined;
    });
  return renewing.then(() => tokens !== null && tokens !== before);
}

/** That of this browser tab, without the headers of the requests that were sent. */
export const storage = {
  getItem: (key) => sessionStorage.getItem(key),
  removeItem: (key) => sessionStorage.removeItem(key),
  clear: () => sessionStorage.clear(),
  get length() {
    return sessionStorage.length;
  },
  setItem(key, value) {
    if (!/:(queries|favorites)$/.test(key)) return sessionStorage.setItem(key, value);
    return sessionStorage.setItem(key, JSON.stringify(JSON.parse(value), (name, part) => (name === 'headers' ? undefined : part)));
  },
};

/** Sends what GraphiQL asks for; an access token that is over is renewed, and told to the page if it cannot be. */
export async function send(endpoint, { headers: given, ...init }) {
  url = endpoint;
  const sent = new Headers(given);
  // "Bearer" without a token is the placeholder above, which the server would refuse as malformed.
  if (/^bearer$/i.test(sent.get('authorization') ?? '')) sent.delete('authorization');
  const ask = () => fetch(endpoint, { ...init, headers: sent, credentials: 'same-origin' });
  let response = await ask();
  const own = tokens && sent.get('authorization') === `Bearer ${tokens.access}`;
  if (response.status === 401 && own && (await renew())) {
    sent.set('authorization', `Bearer ${tokens.access}`);
    response = await ask();
  }
  notice(await response.clone().json().catch(() => null));
  return response;
}

/** Carries what stands under Headers along to every tab, so that a token is there once for all. */
export function SharedHeaders() {
  const editor = useGraphiQL((state) => state.headerEditor);
  const tab = useGraphiQL((state) => state.activeTabIndex);
  const shared = useHeaders();
  useEffect(() => {
    if (!editor) return;
    if (editor.getValue() !== shared) editor.setValue(shared);
    // A flush is GraphiQL putting in the text of another tab, not somebody typing.
    const typing = editor.onDidChangeModelContent(({ isFlush }) => {
      if (isFlush) return;
      headers = editor.getValue();
      tell();
    });
    return () => typing.dispose();
  }, [editor, tab, shared]);
}

const field = (label, properties) => h('label', null, label, h('input', { required: true, ...properties }));

function SignInForm() {
  const [step, setStep] = useState(null);
  const [problem, setProblem] = useState('');
  const submit = async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    const input = step ? { challengeToken: step, ...values } : { ...values, tokenDelivery: 'BODY' };
    const answer = await post(step ? secondStep : login, { input }).catch(() => ({ errors: [{ message: 'The server does not answer.' }] }));
    const payload = Object.values(answer.data ?? {})[0];
    const errors = payload?.errors ?? answer.errors;
    const result = payload?.result;
    setProblem(errors.map(({ message }) => message).join(' '));
    if (result?.accessToken) notice(answer);
    else if (result?.challengeToken) setStep(result.challengeToken);
    else if (result) setProblem(`The answer is ${result.__typename}: go on with the examples.`);
    else if (step) setStep(null);
  };
  return h(
    'form',
    { onSubmit: submit },
    step
      ? field('Code from your app, or a recovery code', { key: 'code', name: 'code', autoComplete: 'one-time-code', autoFocus: true })
      : [
          field('User name or mail address', { key: 'identifier', name: 'identifier', autoComplete: 'username', autoCapitalize: 'none' }),
          field('Password', { key: 'password', name: 'password', type: 'password', autoComplete: 'current-password' }),
        ],
    h('p', { role: 'alert' }, problem),
    h('button', { type: 'submit', className: 'graphiql-button' }, step ? 'Go on' : 'Sign in'),
    h(
      'p',
      null,
      'The access token goes under Headers. With a passkey or another provider sign in on ',
      h('a', { href: '/sign-in' }, 'this page'),
      ', which keeps the tokens in cookies; leave Headers as they are then.',
    ),
  );
}

function SignedIn() {
  const { access } = useTokens();
  const [who, setWho] = useState(null);
  useEffect(() => {
    const asked = post(whoami, undefined, access).then(({ data }) => setWho(data?.me));
    asked.catch(() => setWho(null));
  }, [access]);
  const leave = async () => {
    await post('mutation { logout { endedSessions } }', undefined, access).catch(() => null);
    adopt(null);
  };
  return h(
    'div',
    null,
    h('p', { role: 'status' }, who ? `Signed in as ${who.fullName} (${who.email}).` : 'Signed in.'),
    h('p', null, 'The access token stands under Headers, and every tab sends it. It is renewed when it is over.'),
    h('button', { type: 'button', className: 'graphiql-button', onClick: leave }, 'Sign out'),
  );
}

function Session() {
  return h('section', { className: 'cardea-plugin' }, h('h2', null, 'Sign in'), useTokens() ? h(SignedIn) : h(SignInForm));
}

const icon = () =>
  h(
    'svg',
    { viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', strokeWidth: 1.8, 'aria-hidden': true },
    h('circle', { cx: 12, cy: 8, r: 4 }),
    h('path', { d: 'M4 21c0-4 3.6-7 8-7s8 3 8 7' }),
  );

/** Signing in, and out, with the token under Headers. */
export const SESSION_PLUGIN = { title: 'Sign in', icon, content: Session };

/** Where the server is, before anything was sent to it. */
export function connect(endpoint) {
  url = endpoint;
}
