// Asks for a link that sets a new password. The answer says nothing about the account.
import { fail, finish, mark, offer, send, words } from './page.js';

const field = document.getElementById('email');

offer(async () => {
  const email = field.value.trim();
  const { errors } = await send('requestPasswordReset', { email });
  if (errors.length > 0) return fail(errors, field);
  mark(field, []);
  return finish(words.done(email), 'good');
});
