// Sets a new password by a mailed link, or the first one by that of an invitation.
import { end, fail, linkToForgotten, linkToSignIn, offer, send, token, words } from './page.js';

const field = document.getElementById('password');
const reveal = document.getElementById('reveal');
const list = document.getElementById('rules');

function visible(shown) {
  field.type = shown ? 'text' : 'password';
  reveal.textContent = shown ? words.hide : words.show;
  reveal.ariaLabel = shown ? words.hideLabel : words.showLabel;
}

/** What the policy asks for: a text, and how to tell whether a password does it, where the page can. */
function rulesOf(policy) {
  const { minimumLength, maximumLength, historyDepth, maximumAgeDays } = policy;
  const length = ([...password]) => password.length >= minimumLength && password.length <= maximumLength;
  return [
    [true, words.length(minimumLength, maximumLength), length],
    [policy.requiresUppercase, words.upper, (password) => /\p{Uppercase}/u.test(password)],
    [policy.requiresLowercase, words.lower, (password) => /\p{Lowercase}/u.test(password)],
    [policy.requiresDigit, words.digit, (password) => /[0-9]/.test(password)],
    [policy.requiresSpecial, words.special, (password) => /[^\p{Alphabetic}\p{N}\p{Cc}]/u.test(password)],
    [policy.refusesCommon, words.common],
    [historyDepth > 0 || maximumAgeDays !== null, words.former(historyDepth)],
  ].filter(([asked]) => asked);
}

/** Adds a rule to the list; gives what marks it as held or not. */
function add([, text, holds]) {
  const item = document.createElement('li');
  const state = Object.assign(document.createElement('span'), { className: 'unseen' });
  item.append(text, state);
  list.append(item);
  return () => {
    if (!holds) return;
    // As the server counts: composed.
    const held = holds(field.value.normalize('NFC'));
    item.className = held ? 'held' : 'missing';
    state.textContent = ` (${held ? words.held : words.missing})`;
  };
}

async function showRules() {
  const { errors, passwordPolicy } = await send('passwordPolicy');
  // Without the list the page still works: the server says what is wrong.
  if (errors) return;
  const marks = rulesOf(passwordPolicy).map(add);
  const check = () => marks.forEach((mark) => mark());
  field.addEventListener('input', check);
  check();
}

async function reset() {
  // So that password managers see a password go.
  visible(false);
  const { errors } = await send('resetPassword', { token, newPassword: field.value });
  if (errors.some(({ code }) => code === 'TOKEN_REJECTED')) {
    return end(words.rejected, 'bad', linkToForgotten(words.forgot));
  }
  if (errors.length > 0) return fail(errors, field);
  field.value = '';
  return end(words.done, 'good', linkToSignIn());
}

if (token) {
  visible(false);
  reveal.addEventListener('click', () => visible(field.type === 'password'));
  offer(reset);
  showRules();
} else {
  end(words.incomplete, 'bad', linkToForgotten(words.forgot));
}
