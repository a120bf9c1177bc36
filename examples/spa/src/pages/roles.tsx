import { type SubmitEvent, useId, useRef, useState } from 'react';
import { useQuery } from 'urql';
import { fromError, type Refusal, useAct } from '../act';
import { useFrame } from '../frame';
import { GiveRoleDocument, MembersDocument, type MembersQuery, RolesDocument, type RolesQuery, TakeRoleDocument } from '../gql/graphql';
import { Page } from '../route';

type Member = NonNullable<MembersQuery['users']>['nodes'][number];
type Role = NonNullable<RolesQuery['roles']>[number];

/** Who holds which role, for those who may hand them out. */
export function Roles() {
  const [search, setSearch] = useState('');
  const [after, setAfter] = useState<string | null>(null);
  const [{ data, error, fetching }] = useQuery({ query: MembersDocument, variables: { search: search || null, after } });
  const [{ data: known }] = useQuery({ query: RolesDocument });
  const users = data?.users;

  const find = (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    setAfter(null);
    setSearch(String(new FormData(event.currentTarget).get('search')).trim());
  };

  return (
    <Page title="Roles" wide>
      <form role="search" className="row" onSubmit={find}>
        <label htmlFor="search">Find accounts</label>
        <input id="search" name="search" type="search" placeholder="Name or address" />
        <button type="submit" className="quiet">
          Find
        </button>
      </form>
      {error && (
        <p role="alert" className="refusal">
          {fromError(error)[0]?.message}
        </p>
      )}
      <p role="status" className="unseen">
        {users && !fetching && `${users.nodes.length} accounts shown`}
      </p>
      {users?.nodes.length === 0 && <p className="soft">Nobody is called that.</p>}
      <ul className="list">
        {users?.nodes.map((member) => (
          <MemberRoles key={member.id} member={member} roles={known?.roles ?? []} />
        ))}
      </ul>
      {(after || users?.pageInfo.hasNextPage) && (
        <div className="row">
          {after && (
            <button type="button" className="quiet" onClick={() => setAfter(null)}>
              From the beginning
            </button>
          )}
          {users?.pageInfo.hasNextPage && (
            <button type="button" className="quiet" onClick={() => setAfter(users.pageInfo.endCursor)}>
              The next ones
            </button>
          )}
        </div>
      )}
    </Page>
  );
}

function MemberRoles({ member, roles }: { member: Member; roles: readonly Role[] }) {
  const act = useAct();
  const { say } = useFrame();
  const id = useId();
  const name = useRef<HTMLElement>(null);
  const [refusals, setRefusals] = useState<readonly Refusal[]>([]);
  const held = member.roles ?? [];
  const others = roles.filter((role) => !held.some(({ id }) => id === role.id));

  const settle = (refused: readonly Refusal[] | undefined, done: string) => {
    setRefusals(refused ?? []);
    say(refused ? '' : done);
  };
  const give = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const role = others.find(({ id }) => id === new FormData(event.currentTarget).get('role'));
    if (!role) return;
    const { refusals } = await act(GiveRoleDocument, { userId: member.id, roleId: role.id });
    settle(refusals, `${member.fullName} has the role ${role.name} now.`);
  };
  const take = async (role: { id: string; name: string }) => {
    const { refusals } = await act(TakeRoleDocument, { userId: member.id, roleId: role.id });
    settle(refusals, `${member.fullName} has the role ${role.name} no more.`);
    // The button that had the focus goes away.
    if (!refusals) name.current?.focus();
  };

  return (
    <li>
      <div>
        <strong ref={name} tabIndex={-1} id={`${id}-name`}>
          {member.fullName}
        </strong>
        <p className="soft">{member.email}</p>
        <ul className="chips" aria-label={`Roles of ${member.fullName}`}>
          {held.map((role) => (
            <li key={role.id}>
              {role.name}
              <button type="button" aria-label={`Take the role ${role.name} from ${member.fullName}`} onClick={() => take(role)}>
                ×
              </button>
            </li>
          ))}
        </ul>
        {refusals.length > 0 && (
          <p role="alert" id={`${id}-refusal`} className="refused">
            {refusals.map(({ message }) => message).join(' ')}
          </p>
        )}
      </div>
      {others.length > 0 && (
        <form className="row" onSubmit={give}>
          <label htmlFor={`${id}-role`} className="unseen">
            Another role for {member.fullName}
          </label>
          <select id={`${id}-role`} name="role" aria-describedby={refusals.length > 0 ? `${id}-refusal` : undefined}>
            {others.map((role) => (
              <option key={role.id} value={role.id}>
                {role.name}
              </option>
            ))}
          </select>
          <button type="submit" className="quiet">
            Give
          </button>
        </form>
      )}
    </li>
  );
}
