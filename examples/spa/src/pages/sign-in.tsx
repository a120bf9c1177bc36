import { useState } from 'react';
import { type Refusal, useAct } from '../act';
import { SERVER } from '../client';
import { Check, Field, Form } from '../form';
import { useFrame } from '../frame';
import { SecondStepDocument, SetPasswordDocument, SignInDocument, type StepFragment } from '../gql/graphql';
import { go, Link, Page } from '../route';
import { LookIntoYourMail, usePasswordRules } from './register';

type State =
  | { at: 'password'; refusals?: readonly Refusal[] }
  | { at: 'code'; challengeToken: string }
  | { at: 'unproved' }
  | { at: 'expired'; resetToken: string };

/** Takes people from a password to a session, whatever the server asks for on the way. */
export function SignIn() {
  const act = useAct();
  const { changed, say } = useFrame();
  const [identifier, setIdentifier] = useState('');
  const [state, setState] = useState<State>({ at: 'password' });

  const follow = (result: StepFragment['result']) => {
    switch (result?.__typename) {
      case 'SignedIn':
        go('/');
        changed();
        return say(`Welcome, ${result.user.fullName}.`);
      case 'TwoFactorRequired':
        return setState({ at: 'code', challengeToken: result.challengeToken });
      case 'EmailVerificationRequired':
        return setState({ at: 'unproved' });
      case 'PasswordExpired':
        return setState({ at: 'expired', resetToken: result.resetToken });
      case undefined:
        return undefined;
    }
  };

  const showPassword = async (values: FormData) => {
    const name = String(values.get('identifier')).trim();
    setIdentifier(name);
    const password = String(values.get('password'));
    const rememberMe = values.has('rememberMe');
    const { payload, refusals } = await act(SignInDocument, { identifier: name, password, rememberMe });
    if (payload) follow(payload.result);
    return refusals;
  };

  const showCode = async (values: FormData) => {
    if (state.at !== 'code') return undefined;
    const { challengeToken } = state;
    const code = String(values.get('code'));
    const trustDevice = values.has('trustDevice');
    const { payload, refusals } = await act(SecondStepDocument, { challengeToken, code, trustDevice });
    if (payload) follow(payload.result);
    // The sign-in took too long, or was tried too often.
    else if (refusals.some(({ path }) => path.includes('challengeToken'))) setState({ at: 'password', refusals });
    return refusals;
  };

  switch (state.at) {
    case 'unproved':
      return <LookIntoYourMail email={identifier} />;
    case 'expired':
      return <NewPassword token={state.resetToken} done={() => setState({ at: 'password' })} />;
    case 'code':
      return (
        <Page title="One more step" key="code">
          <Form action="Go on" submit={showCode}>
            <Field name="code" label="Code from your app, or a recovery code" autoComplete="one-time-code" required />
            <Check name="trustDevice" label="Do not ask on this device again" />
          </Form>
        </Page>
      );
    case 'password':
      return (
        <Page title="Sign in" key="password">
          <Form action="Sign in" submit={showPassword} before={state.refusals ?? []}>
            <Field
              name="identifier"
              label="Mail address or user name"
              autoComplete="username"
              autoCapitalize="none"
              defaultValue={identifier}
              required
            />
            <Field name="password" label="Password" type="password" autoComplete="current-password" required />
            <Check name="rememberMe" label="Keep me signed in" />
          </Form>
          <p className="soft">
            <a href={new URL('/forgot-password', SERVER).href}>Forgot your password?</a> · <Link to="/register">Register</Link>
          </p>
        </Page>
      );
  }
}

function NewPassword({ token, done }: { token: string; done: () => void }) {
  const act = useAct();
  const { say } = useFrame();
  const rules = usePasswordRules();
  const submit = async (values: FormData) => {
    const { refusals } = await act(SetPasswordDocument, { token, newPassword: String(values.get('newPassword')) });
    if (refusals) return refusals;
    done();
    return say('Your password is changed. Sign in with it.');
  };
  return (
    <Page title="Time for a new password" key="expired">
      <Form action="Change it" submit={submit}>
        <Field name="newPassword" label="New password" type="password" autoComplete="new-password" hint={rules} required />
      </Form>
    </Page>
  );
}
