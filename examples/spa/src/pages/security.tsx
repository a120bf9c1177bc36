import { useState } from 'react';
import { useQuery } from 'urql';
import { useAct } from '../act';
import { Field, Form } from '../form';
import { useFrame } from '../frame';
import {
  BeginSecondFactorDocument,
  type BeginSecondFactorMutation,
  ConfirmSecondFactorDocument,
  EndSecondFactorDocument,
  SecurityDocument,
} from '../gql/graphql';
import { Page } from '../route';

type Setup = NonNullable<NonNullable<BeginSecondFactorMutation['enableTwoFactor']>['setup']>;

/** The second factor; `owed` where the account must have one, and the session can do nothing else yet. */
export function Security({ owed = false }: { owed?: boolean }) {
  const act = useAct();
  const { changed, say } = useFrame();
  const [{ data }] = useQuery({ query: SecurityDocument });
  const [setup, setSetup] = useState<Setup | null>(null);
  const [codes, setCodes] = useState<readonly string[]>([]);
  const state = data?.me?.twoFactor;

  const begin = async () => {
    const { payload, refusals } = await act(BeginSecondFactorDocument, {});
    if (payload) setSetup(payload.setup);
    return refusals;
  };
  const confirm = async (values: FormData) => {
    const { payload, refusals } = await act(ConfirmSecondFactorDocument, { code: String(values.get('code')) });
    if (!payload) return refusals;
    setSetup(null);
    setCodes(payload.recoveryCodes ?? []);
    return say('The second factor is on. Your other sessions have ended.');
  };
  const end = async (values: FormData) => {
    const { refusals } = await act(EndSecondFactorDocument, { code: String(values.get('twoFactorCode')) });
    if (!refusals) say('The second factor is off.');
    return refusals;
  };

  if (codes.length > 0) {
    return (
      <Page title="Your recovery codes">
        <p>Each of these lets you in once when your device is lost. Keep them where only you find them.</p>
        <ul className="codes">
          {codes.map((code) => (
            <li key={code}>
              <code>{code}</code>
            </li>
          ))}
        </ul>
        <button
          type="button"
          onClick={() => {
            setCodes([]);
            if (owed) changed();
          }}
        >
          I have kept them
        </button>
      </Page>
    );
  }
  if (setup) {
    return (
      <Page title="Set up your app">
        <p>
          Type this secret into your authenticator app, or <a href={setup.otpauthUri}>open it there</a> if the app is on
          this device.
        </p>
        <p className="secret">
          <code>{setup.secret.match(/.{1,4}/g)?.join(' ')}</code>
        </p>
        <Form
          action="Switch it on"
          submit={confirm}
          beside={
            <button type="button" className="quiet" onClick={() => setSetup(null)}>
              Cancel
            </button>
          }
        >
          <Field
            name="code"
            label="Code that the app shows"
            inputMode="numeric"
            autoComplete="one-time-code"
            required
          />
        </Form>
      </Page>
    );
  }
  return (
    <Page title="Second factor">
      {owed && <p>Your account must have a second factor. Set one up to go on.</p>}
      {state?.enabled ? (
        <>
          <p>
            On. Signing in asks for a code from your app. {state.recoveryCodesLeft} recovery codes are left.
          </p>
          {state.compulsory ? (
            <p className="soft">Your account must have one.</p>
          ) : (
            <Form action="Switch it off" submit={end}>
              <Field
                name="twoFactorCode"
                label="Code from your app, or a recovery code"
                autoComplete="one-time-code"
                required
              />
            </Form>
          )}
        </>
      ) : (
        (state || owed) && (
          <>
            {!owed && <p>Off. With one, signing in asks for a code from an app on your phone as well.</p>}
            <Form action="Set up an app" submit={begin}>
              {null}
            </Form>
          </>
        )
      )}
    </Page>
  );
}
