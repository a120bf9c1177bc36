// What the pages share. Addresses are relative, so that a server behind a path of a proxy works, too.
import { texts } from './texts.js';

// The token stands behind `#`: no server on the way has seen it, and it is taken out of the
// address at once, so that it does not stay in the history.
export const token = new URLSearchParams(location.hash.slice(1)).get('token');
// What a sign-in provider adds to the address goes the same way, wherever it stands.
export const parameters = new URLSearchParams(`${location.search.slice(1)}&${location.hash.slice(1)}`);
history.replaceState(null, '', location.pathname);
// A link pasted where the same page is open loads nothing by itself.
addEventListener('hashchange', () => location.reload());

export const name = location.pathname.split('/').pop();
const known = navigator.languages.map((tag) => tag.split('-')[0].toLowerCase());
export const language = known.find((code) => Object.hasOwn(texts, code)) ?? 'en';
export const words = { ...texts[language].common, ...texts[language][name] };

const form = document.getElementById('form');
const submit = form?.querySelector('[type=submit]');
const result = document.getElementById('outcome');

document.documentElement.lang = language;
document.title = words.title;
for (const element of document.querySelectorAll('[data-text]')) {
  element.textContent = words[element.dataset.text];
}
document.querySelector('main').hidden = false;

// This file lies one folder below the root of the server, whatever page it is for.
const graphql = new URL('../graphql', import.meta.url);

/**
 * Runs a document of `documents.json`; gives the status, `data` and `errors` of the answer, or null where there is none. With
 * `cookies` it is sent as whoever is signed in in this browser, and the answer may sign somebody in.
 */
export async function post(name, input, { accessToken, cookies = false } = {}) {
  const headers = { 'content-type': 'application/json', accept: 'application/graphql-response+json' };
  if (accessToken) headers.authorization = `Bearer ${accessToken}`;
  if (cookies) headers['graphql-require-preflight'] = '1';
  const body = JSON.stringify({ documentId: `cardea:${name}`, variables: { input } });
  const signal = AbortSignal.timeout(30_000);
  const credentials = cookies ? 'same-origin' : 'omit';
  try {
    const response = await fetch(graphql, { method: 'POST', headers, body, signal, credentials });
    const { data, errors = [] } = await response.json();
    return { status: response.status, data, errors };
  } catch {
    // No connection, or something between that is not the server.
    return null;
  }
}

/**
 * Runs a document with one field and gives that field's payload; where there is none, one with an
 * error. Cookies stay out of it, unless they are asked for: whoever is signed in in this browser, the
 * token alone counts.
 */
export async function send(name, input, accessToken, cookies = false) {
  const { data, errors } = (await post(name, input, { accessToken, cookies })) ?? {};
  const [payload] = Object.values(data ?? {});
  if (payload) return payload;
  const retryAfterSeconds = errors?.[0]?.extensions?.retryAfter;
  if (retryAfterSeconds) return { errors: [{ code: 'TOO_MANY_ATTEMPTS', retryAfterSeconds }] };
  return { errors: [{ code: 'UNREACHABLE' }] };
}

function time(seconds) {
  const [amount, unit] =
    seconds < 120 ? [seconds, 'second'] : seconds < 7200 ? [Math.ceil(seconds / 60), 'minute'] : [Math.ceil(seconds / 3600), 'hour'];
  return new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(amount);
}

/** An element that says in words what went wrong. */
export function tell(tag, error) {
  const element = document.createElement(tag);
  const rule = words.rules[error.rule];
  // A page may have words of its own for a code, or for a code at an argument.
  const own = words.messages?.[`${error.code} ${error.path?.at(-1)}`] ?? words.messages?.[error.code];
  if (error.code === 'TOO_MANY_ATTEMPTS') element.textContent = words.wait(time(error.retryAfterSeconds));
  else if (own) element.textContent = own;
  else if (error.code === 'TOKEN_REJECTED') element.textContent = words.rejected;
  else if (error.code === 'UNREACHABLE') element.textContent = words.unreachable;
  else if (rule) element.textContent = typeof rule === 'function' ? rule(error) : rule;
  else Object.assign(element, { textContent: error.message, lang: 'en' });
  return element;
}

function paragraph(text, kind = '') {
  return Object.assign(document.createElement('p'), { textContent: text, className: kind });
}

function linkTo(href, text) {
  const around = document.createElement('p');
  around.append(Object.assign(document.createElement('a'), { href, textContent: text }));
  return around;
}

/** Leads to the page that mails a link for a new password. */
export const linkToForgotten = (text) => linkTo('forgot-password', text);

/** Leads to the page to sign in at. */
export const linkToSignIn = () => linkTo('sign-in', words.toSignIn);

function show(...elements) {
  result.replaceChildren(...elements);
  result.focus();
}

/** Says how it ended; there is nothing more to press. */
export function end(text, kind, ...more) {
  form.hidden = true;
  finish(text, kind, ...more);
}

/** Says how it went; the form stays. */
export function finish(text, kind, ...more) {
  show(paragraph(text, kind), ...more.map((part) => (typeof part === 'string' ? paragraph(part) : part)));
}

/** Shows the form; `work` does what it is for, and shows the outcome. */
export function offer(work) {
  form.hidden = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    submit.disabled = true;
    result.replaceChildren();
    await work();
    submit.disabled = false;
  });
}

/** Says why it failed: of a value at its field, of everything else below the form. */
export function fail(errors, field) {
  const ofValue = field ? errors.filter(({ code }) => code === 'INVALID_VALUE') : [];
  if (field) mark(field, ofValue);
  const others = errors.filter((error) => !ofValue.includes(error));
  if (others.length > 0) {
    show(...others.map((error) => Object.assign(tell('p', error), { className: 'bad' })));
  }
}

/** Puts these errors at the field, or takes those there away. */
export function mark(field, errors) {
  document.getElementById('errors').replaceChildren(...errors.map((error) => tell('li', error)));
  field.ariaInvalid = errors.length > 0 ? 'true' : null;
  if (errors.length > 0) field.focus();
}
