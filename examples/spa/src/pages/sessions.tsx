import { useRef, useState } from 'react';
import { useQuery } from 'urql';
import { useAct } from '../act';
import { useFrame } from '../frame';
import { EndSessionDocument, SessionsDocument, type SessionsQuery } from '../gql/graphql';
import { Page } from '../route';

type Session = NonNullable<SessionsQuery['sessions']>['nodes'][number];

/** A few words of what the browser calls itself. */
function device(userAgent: string | null): string {
  const [, browser] = userAgent?.match(/(Firefox|Edg|OPR|Chrome|Safari)\//) ?? [];
  const [, system] = userAgent?.match(/(Windows|Android|iPhone|iPad|Mac OS X|Linux)/) ?? [];
  const known = [browser?.replace('Edg', 'Edge').replace('OPR', 'Opera'), system?.replace('Mac OS X', 'macOS')];
  return known.filter(Boolean).join(' on ') || userAgent?.slice(0, 60) || 'Unknown device';
}

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export function Sessions() {
  const act = useAct();
  const { say } = useFrame();
  const list = useRef<HTMLUListElement>(null);
  const [refused, setRefused] = useState('');
  // Others may have ended or begun since the last time.
  const [{ data }] = useQuery({ query: SessionsDocument, requestPolicy: 'cache-and-network' });

  const end = async (session: Session) => {
    // The answer holds an id alone: this names what the cache has to forget.
    const { refusals } = await act(EndSessionDocument, { sessionId: session.id }, { additionalTypenames: ['Session'] });
    setRefused(refusals?.map(({ message }) => message).join(' ') ?? '');
    if (refusals) return;
    say(`${device(session.userAgent)} is signed out.`);
    // The button that had the focus goes away.
    list.current?.focus();
  };

  return (
    <Page title="Where you are signed in">
      {refused && (
        <p role="alert" className="refusal">
          {refused}
        </p>
      )}
      <ul className="list" ref={list} tabIndex={-1} aria-label="Sessions">
        {data?.sessions?.nodes.map((session) => (
          <li key={session.id}>
            <div>
              <strong>{device(session.userAgent)}</strong>
              {session.current && <span className="badge">this one</span>}
              <p className="soft">
                {session.ipAddress ?? 'Unknown address'} · used{' '}
                <time dateTime={session.lastAccessedAt}>{moment.format(new Date(session.lastAccessedAt))}</time>
              </p>
            </div>
            {!session.current && (
              <button
                type="button"
                className="quiet"
                aria-label={`End this one: ${device(session.userAgent)}`}
                onClick={() => end(session)}
              >
                End this one
              </button>
            )}
          </li>
        ))}
      </ul>
    </Page>
  );
}
