import { useQuery } from 'urql';
import { useAct } from '../act';
import { Check, Field, Form } from '../form';
import { useFrame } from '../frame';
import { ProfileDocument, SaveProfileDocument } from '../gql/graphql';
import { Page } from '../route';

export function Profile() {
  const act = useAct();
  const { say } = useFrame();
  const [{ data }] = useQuery({ query: ProfileDocument });
  const me = data?.me;

  const save = async (values: FormData) => {
    const text = (name: string) => String(values.get(name)).trim();
    // Null clears a field, and sets one back that has to have a value; the name cannot be cleared.
    const orNull = (name: string) => text(name) || null;
    const { refusals } = await act(SaveProfileDocument, {
      input: {
        fullName: text('fullName'),
        username: orNull('username'),
        birthDate: orNull('birthDate'),
        avatarUrl: orNull('avatarUrl'),
        bio: orNull('bio'),
        language: orNull('language'),
        timezone: orNull('timezone'),
        emailNotifications: values.has('emailNotifications'),
      },
    });
    if (!refusals) say('Saved.');
    return refusals;
  };

  return (
    <Page title="Your profile">
      {me && (
        <Form action="Save" submit={save}>
          <Field name="fullName" label="Name" autoComplete="name" defaultValue={me.fullName} required />
          <div className="pair">
            <Field
              name="username"
              label="User name"
              autoComplete="username"
              defaultValue={me.username ?? ''}
              hint="Letters, digits and underscores."
            />
            <Field name="birthDate" label="Born on" type="date" autoComplete="bday" defaultValue={me.birthDate ?? ''} />
          </div>
          <Field
            name="avatarUrl"
            label="Address of a picture"
            type="url"
            autoComplete="photo"
            defaultValue={me.avatarUrl ?? ''}
          />
          <Field name="bio" label="About you" long defaultValue={me.profile?.bio ?? ''} hint="At most 500 characters." />
          <div className="pair">
            <Field
              name="language"
              label="Language"
              autoComplete="language"
              defaultValue={me.profile?.language ?? ''}
              hint="Such as de-AT."
            />
            <Field
              name="timezone"
              label="Time zone"
              defaultValue={me.profile?.timezone ?? ''}
              hint="Such as Europe/Vienna."
            />
          </div>
          <Check name="emailNotifications" label="Notify me by mail" checked={me.profile?.emailNotifications ?? false} />
        </Form>
      )}
    </Page>
  );
}
