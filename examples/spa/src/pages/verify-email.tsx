import { useState } from 'react';
import { useClient } from 'urql';
import { useAct } from '../act';
import { asStranger } from '../client';
import { Form } from '../form';
import { SignOutDocument, VerifyEmailDocument } from '../gql/graphql';
import { Link, mailedToken, Page } from '../route';

/** Where the mailed link leads. It waits for a press of the button: mail programs open links by themselves. */
export function VerifyEmail() {
  const act = useAct();
  const client = useClient();
  const [done, setDone] = useState(false);

  const confirm = async () => {
    const stranger = { fetchOptions: asStranger() };
    const { payload, refusals } = await act(VerifyEmailDocument, { token: mailedToken ?? '' }, stranger);
    if (refusals) return refusals;
    // The session that this opened has its tokens in the answer, where scripts see them: sign in for one in cookies.
    if (payload.result?.__typename === 'SignedIn' && payload.result.accessToken) {
      await client.mutation(SignOutDocument, {}, { fetchOptions: asStranger(payload.result.accessToken) });
    }
    return setDone(true);
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
      <p>One press of the button, and your account is open.</p>
      <Form action="Confirm my address" submit={confirm}>
        {null}
      </Form>
    </Page>
  );
}
