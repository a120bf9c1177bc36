// The token stands behind `#`: no server on the way has seen it, and it is taken out of the
// address at once, so that it does not stay in the history.
const token = new URLSearchParams(location.hash.slice(1)).get('token');
history.replaceState(null, '', location.pathname);

const message = document.getElementById('message');
const button = document.getElementById('confirm');

async function graphql(query, variables, accessToken) {
  const headers = { 'content-type': 'application/json', accept: 'application/graphql-response+json' };
  if (accessToken) headers.authorization = `Bearer ${accessToken}`;
  const response = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  return response.json();
}

async function confirm() {
  button.disabled = true;
  try {
    const { data } = await graphql(
      'mutation Verify($token: String!) { verifyEmail(input: { token: $token }) { errors { message } result { ... on SignedIn { accessToken } } } }',
      { token },
    );
    const { errors, result } = data.verifyEmail;
    if (errors.length > 0) {
      message.textContent = errors[0].message;
      message.className = 'bad';
      button.hidden = true;
      return;
    }
    // This page has no use for the session that confirming opened.
    await graphql('mutation { logout { endedSessions } }', {}, result.accessToken);
    message.textContent = 'Your address is confirmed. You can sign in now.';
    message.className = 'good';
    button.hidden = true;
  } catch {
    message.textContent = 'That did not work just now. Please try again.';
    message.className = 'bad';
    button.disabled = false;
  }
}

if (token) {
  button.addEventListener('click', confirm);
} else {
  message.textContent = 'This link is not whole. Open the one in the mail, or copy it completely.';
  message.className = 'bad';
  button.hidden = true;
}
