import { useState } from 'react';
import { useQuery } from 'urql';
import { useAct } from '../act';
import { Field, Form } from '../form';
import { useFrame } from '../frame';
import { PasswordRulesDocument, RegisterDocument, ResendVerificationDocument } from '../gql/graphql';
import { Link, Page } from '../route';

/** What a new password has to be, in words. */
export function usePasswordRules(): string {
  const [{ data }] = useQuery({ query: PasswordRulesDocument });
  const policy = data?.authOptions.passwordPolicy;
  if (!policy) return '';
  const kinds = [
    policy.requiresUppercase && 'an upper-case letter',
    policy.requiresLowercase && 'a lower-case letter',
    policy.requiresDigit && 'a digit',
    policy.requiresSpecial && 'a special character',
  ].filter((kind) => kind !== false);
  const least = `At least ${policy.minimumLength} characters`;
  return kinds.length > 0 ? `${least}, with ${new Intl.ListFormat('en').format(kinds)}.` : `${least}.`;
}

export function Register() {
  const act = useAct();
  const rules = usePasswordRules();
  const [email, setEmail] = useState('');
  if (email) return <LookIntoYourMail email={email} />;

  const submit = async (values: FormData) => {
    const address = String(values.get('email')).trim();
    const { refusals } = await act(RegisterDocument, {
      input: {
        email: address,
        fullName: String(values.get('fullName')),
        password: String(values.get('password')),
        language: navigator.language,
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      },
    });
    if (!refusals) setEmail(address);
    return refusals;
  };
  return (
    <Page title="Open an account">
      <Form action="Register" submit={submit}>
        <Field name="fullName" label="Your name" autoComplete="name" required />
        <Field name="email" label="Mail address" type="email" autoComplete="email" required />
        <Field name="password" label="Password" type="password" autoComplete="new-password" hint={rules} required />
      </Form>
      <p className="soft">
        You have one? <Link to="/sign-in">Sign in</Link>
      </p>
    </Page>
  );
}

/** The answer is the same whether or not the address has an account: only its owner learns that, by mail. */
export function LookIntoYourMail({ email }: { email: string }) {
  const act = useAct();
  const { say } = useFrame();
  const resend = async () => {
    const { refusals } = await act(ResendVerificationDocument, { email });
    say(refusals ? refusals.map(({ message }) => message).join(' ') : 'Another mail is on its way.');
  };
  return (
    <Page title="Look into your mail">
      <p>
        We wrote to <strong>{email}</strong>. Follow the link in the mail to confirm that the address is yours, then sign
        in.
      </p>
      <div className="row">
        <button type="button" className="quiet" onClick={resend}>
          Send the mail again
        </button>
        <Link to="/sign-in">Sign in</Link>
      </div>
    </Page>
  );
}
