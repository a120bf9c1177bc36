// Forms that show what the server refused beside the field that it is about.
import {
  createContext,
  type InputHTMLAttributes,
  type ReactNode,
  type SubmitEvent,
  useContext,
  useEffect,
  useId,
  useRef,
  useState,
} from 'react';
import type { Refusal } from './act';
import { useFrame } from './frame';

const Refusals = createContext<readonly Refusal[]>([]);

/** Whether a refusal is about the argument `input.<name>`. */
function isAbout({ path }: Refusal, name: string): boolean {
  return path.length === 2 && path[0] === 'input' && path[1] === name;
}

interface FormProps {
  /** What the button says. */
  action: string;
  /** Sends the values; gives what was refused. */
  submit: (values: FormData) => Promise<readonly Refusal[] | void>;
  /** What was refused before the form was shown. */
  before?: readonly Refusal[];
  /** What stands beside the button. */
  beside?: ReactNode;
  children: ReactNode;
}

/** A form. After a refusal the focus is on the first field at fault, or on what is told above all of them. */
export function Form({ action, submit, before = [], beside, children }: FormProps) {
  const { say } = useFrame();
  const form = useRef<HTMLFormElement>(null);
  const [refusals, setRefusals] = useState(before);
  const [names, setNames] = useState<readonly string[]>([]);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    if (refusals.length > 0) form.current?.querySelector<HTMLElement>('[aria-invalid=true], [role=alert]')?.focus();
  }, [refusals]);

  const send = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    const values = new FormData(event.currentTarget);
    setNames(Array.from(event.currentTarget.elements, (element) => element.getAttribute('name') ?? ''));
    setBusy(true);
    // What was told of the last time is over.
    say('');
    const refused = await submit(values);
    setBusy(false);
    setRefusals(refused ?? []);
  };

  const general = refusals.filter((refusal) => !names.some((name) => isAbout(refusal, name)));
  return (
    <Refusals value={refusals}>
      <form ref={form} onSubmit={send} noValidate aria-busy={busy}>
        {general.length > 0 && (
          <div role="alert" tabIndex={-1} className="refusal">
            {general.map(({ message }) => (
              <p key={message}>{message}</p>
            ))}
          </div>
        )}
        {children}
        <div className="row">
          <button type="submit" aria-disabled={busy}>
            {action}
          </button>
          {beside}
        </div>
      </form>
    </Refusals>
  );
}

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  /** As the field of the mutation's input. */
  name: string;
  label: string;
  hint?: string;
  /** Several lines. */
  long?: boolean;
}

/** A field with its label, a hint, and what was refused about it. */
export function Field({ name, label, hint, long = false, ...input }: FieldProps) {
  const id = useId();
  const about = useContext(Refusals).filter((refusal) => isAbout(refusal, name));
  const isRefused = about.length > 0;
  const described = isRefused ? `${id}-refusal` : hint && `${id}-hint`;
  const shared = {
    id,
    name,
    'aria-invalid': isRefused,
    'aria-describedby': described || undefined,
  };
  return (
    <div className="field">
      <label htmlFor={id}>
        {label}
        {!input.required && <span className="soft"> (optional)</span>}
      </label>
      {long ? (
        <textarea {...shared} rows={4} defaultValue={input.defaultValue} />
      ) : (
        <input {...input} {...shared} />
      )}
      {hint && !isRefused && (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      )}
      {isRefused && (
        <p id={`${id}-refusal`} className="refused">
          {about.map(({ message }) => message).join(' ')}
        </p>
      )}
    </div>
  );
}

export function Check({ name, label, checked = false }: { name: string; label: string; checked?: boolean }) {
  return (
    <label className="check">
      <input type="checkbox" name={name} defaultChecked={checked} />
      {label}
    </label>
  );
}
