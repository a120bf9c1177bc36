// Mutations: what came of them, and the window that asks for a proof where the server wants a recent one.
import { createContext, type ReactNode, useCallback, useContext, useLayoutEffect, useRef, useState } from 'react';
import { type AnyVariables, type CombinedError, type OperationContext, type TypedDocumentNode, useClient } from 'urql';
import { type ConfirmIdentityInput, type ProblemFragment, ReauthenticateDocument } from './gql/graphql';
import { Field, Form } from './form';

/** Why something was refused, wherever in the answer that stood. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly path: readonly string[];
}

/** What a mutation gave, or why it gave nothing. */
export type Outcome<Payload> = { payload: Payload; refusals?: never } | { payload?: never; refusals: readonly Refusal[] };

/** Every mutation has one field, whose payload tells its errors. */
type Mutation = { [field: string]: { errors: readonly ProblemFragment[] } | null };

type Act = <Data extends Mutation, Variables extends AnyVariables>(
  document: TypedDocumentNode<Data, Variables>,
  variables: Variables,
  context?: Partial<OperationContext>,
) => Promise<Outcome<NonNullable<Data[keyof Data]>>>;

const ActContext = createContext<Act | null>(null);

/** Runs mutations, and asks for a proof of identity where one wants it. */
export function useAct(): Act {
  const act = useContext(ActContext);
  if (!act) throw new Error('`Acting` is missing above');
  return act;
}

function wait(seconds: number): string {
  return seconds < 90 ? `Try again in ${seconds} seconds.` : `Try again in ${Math.ceil(seconds / 60)} minutes.`;
}

function fromPayload(problem: ProblemFragment): Refusal {
  if (problem.__typename !== 'TooManyAttemptsError') return problem;
  return { ...problem, message: `${problem.message} ${wait(problem.retryAfterSeconds)}` };
}

/** Errors outside of the payload: no session, no permission, a limit, a fault of the server. */
export function fromError({ graphQLErrors, networkError }: CombinedError): readonly Refusal[] {
  if (networkError) return [{ code: 'UNREACHABLE', message: 'The server does not answer. Try again.', path: [] }];
  return graphQLErrors.map(({ message, extensions }) => {
    const seconds = extensions['retryAfter'];
    const told = typeof seconds === 'number' ? `${message} ${wait(seconds)}` : message;
    return { code: String(extensions['code']), message: told, path: [] };
  });
}

/** What has to be proved first; undefined where nothing has. */
function wanted(error: CombinedError | undefined): readonly string[] | undefined {
  const codes = ['REAUTHENTICATION_REQUIRED', 'TWO_FACTOR_REQUIRED'];
  const refused = error?.graphQLErrors.find(({ extensions }) => codes.includes(String(extensions['code'])));
  const methods = refused?.extensions['methods'];
  // There are none where a second factor has to be set up first.
  return Array.isArray(methods) && methods.length > 0 ? methods.map(String) : undefined;
}

interface Question {
  methods: readonly string[];
  answered: (proved: boolean) => void;
}

export function Acting({ children }: { children: ReactNode }) {
  const client = useClient();
  const [question, setQuestion] = useState<Question | null>(null);

  const act = useCallback<Act>(
    async (document, variables, context) => {
      for (;;) {
        const { data, error } = await client.mutation(document, variables, context);
        const methods = wanted(error);
        if (methods) {
          const proved = await new Promise<boolean>((answered) => setQuestion({ methods, answered }));
          setQuestion(null);
          if (proved) continue;
          return { refusals: [{ code: 'NOT_PROVED', message: 'Nothing was changed: this needs your proof.', path: [] }] };
        }
        if (error) return { refusals: fromError(error) };
        const payload = Object.values(data ?? {})[0];
        if (!payload) return { refusals: [{ code: 'EMPTY', message: 'The server gave no answer.', path: [] }] };
        if (payload.errors.length > 0) return { refusals: payload.errors.map(fromPayload) };
        return { payload: payload as NonNullable<(typeof data & object)[keyof (typeof data & object)]> };
      }
    },
    [client],
  );

  return (
    <ActContext value={act}>
      {children}
      {question && <Proof {...question} />}
    </ActContext>
  );
}

function Proof({ methods, answered }: Question) {
  const act = useAct();
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    // Gives the focus back by itself when it closes.
    const window = dialog.current;
    window?.showModal();
    return () => window?.close();
  }, []);

  const byCode = methods.includes('TWO_FACTOR_CODE');
  const byPassword = !byCode && methods.includes('PASSWORD');
  const prove = async (values: FormData) => {
    const value = String(values.get('proof'));
    const input: ConfirmIdentityInput = byCode ? { twoFactorCode: value } : { password: value };
    const { refusals } = await act(ReauthenticateDocument, { input });
    if (!refusals) answered(true);
    return refusals?.map((refusal) => ({ ...refusal, path: ['input', 'proof'] }));
  };

  return (
    <dialog ref={dialog} aria-labelledby="proof-title" onCancel={() => answered(false)}>
      <h2 id="proof-title">Is it still you?</h2>
      {byCode || byPassword ? (
        <>
          <p>You signed in a while ago. Prove once more who you are, and it goes on.</p>
          <Form
            action="Go on"
            submit={prove}
            beside={
              <button type="button" className="quiet" onClick={() => answered(false)}>
                Cancel
              </button>
            }
          >
            {byCode ? (
              <Field name="proof" label="Code from your app, or a recovery code" autoComplete="one-time-code" required />
            ) : (
              <Field name="proof" label="Your password" type="password" autoComplete="current-password" required />
            )}
          </Form>
        </>
      ) : (
        <>
          <p>You signed in a while ago. Sign out and in again, and try it once more.</p>
          <button type="button" onClick={() => answered(false)}>
            Close
          </button>
        </>
      )}
    </dialog>
  );
}
