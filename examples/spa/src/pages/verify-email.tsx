import { useState } from 'react';
import { useAct } from '../act';
import { Form } from '../form';
import { useFrame } from '../frame';
import { VerifyEmailDocument } from '../gql/graphql';
import { go, Link, mailedToken, Page } from '../route';

/** Where the mailed link leads. It waits for a press of the button: mail programs open links by themselves. */
export function VerifyEmail({ signedInAs }: { signedInAs: string | undefined }) {
  const act = useAct();
  const { changed, say } = useFrame();
  const [done, setDone] = useState(false);

  const confirm = async () => {
    const { payload, refusals } = await act(VerifyEmailDocument, { token: mailedToken ?? '' });
    if (refusals) return refusals;
    // Whoever has a second factor proves it at the sign-in.
    if (payload.result?.__typename !== 'SignedIn') return setDone(true);
    go('/');
    changed();
    return say(`Your address is confirmed. Welcome, ${payload.result.user.fullName}.`);
  };

  if (done) {
    return (
      <Page title="Your address is confirmed" key="done">
        <p>Your account is open.</p>
        <Link to="/sign-in">Sign in</Link>
      </Page>
    );
  }
  if (!mailedToken) {
    return (
      <Page title="This link is incomplete" key="incomplete">
        <p>Copy the whole address from the mail, or have another one sent.</p>
        <Link to="/sign-in">Sign in</Link>
      </Page>
    );
  }
  return (
    <Page title="Confirm your address">
      {signedInAs && <p>You are signed in as {signedInAs}. If the mail is for another account, sign out and open its link again.</p>}
      <p>One press of the button, and your account is open.</p>
      <Form action="Confirm my address" submit={confirm}>
        {null}
      </Form>
    </Page>
  );
}
