// The frame around every page: who is signed in, and which pages that opens.
import { type ReactNode, useCallback, useMemo, useState } from 'react';
import { Provider, useQuery } from 'urql';
import { Acting, fromError, useAct } from './act';
import { newClient } from './client';
import { FrameContext, useFrame } from './frame';
import { SignOutDocument, ViewerDocument, type ViewerQuery } from './gql/graphql';
import { Profile } from './pages/profile';
import { Register } from './pages/register';
import { Roles } from './pages/roles';
import { Security } from './pages/security';
import { Sessions } from './pages/sessions';
import { SignIn } from './pages/sign-in';
import { VerifyEmail } from './pages/verify-email';
import { go, Link, Page, usePath } from './route';

type Viewer = ViewerQuery['viewer'];

export function App() {
  const path = usePath();
  const [said, setSaid] = useState({ text: '', at: path });
  const say = useCallback((text: string) => setSaid({ text, at: location.pathname }), []);
  const [generation, setGeneration] = useState(0);
  const changed = useCallback(() => setGeneration((before) => before + 1), []);
  const client = useMemo(() => {
    const ended = () => {
      changed();
      say('Your session has ended. Sign in again.');
    };
    return newClient(ended);
    // Each generation has a client with an empty cache.
  }, [generation, changed, say]);

  return (
    <FrameContext value={{ say, changed }}>
      <Provider value={client}>
        <Acting>
          <Shell>
            <p role="status" className="said">
              {said.at === path && said.text}
            </p>
          </Shell>
        </Acting>
      </Provider>
    </FrameContext>
  );
}

function Shell({ children }: { children: ReactNode }) {
  const [{ data, error, fetching }, retry] = useQuery({ query: ViewerDocument });
  const viewer = data?.viewer;
  return (
    <>
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <header>
        <p className="brand">
          <img src="/icon.svg" alt="" width="28" height="28" />
          Cardea example
        </p>
        {viewer && <Menu viewer={viewer} />}
      </header>
      <main id="main" tabIndex={-1}>
        {children}
        {viewer && <Pages viewer={viewer} />}
        {!viewer && fetching && <p className="soft">One moment …</p>}
        {!viewer && error && (
          <Page title="Nobody answers">
            <p>{fromError(error)[0]?.message}</p>
            <button type="button" onClick={() => retry({ requestPolicy: 'network-only' })}>
              Try again
            </button>
          </Page>
        )}
      </main>
    </>
  );
}

function handsOutRoles({ permissions }: Viewer): boolean {
  return permissions.includes('admin:users') && permissions.includes('read:all');
}

function Menu({ viewer }: { viewer: Viewer }) {
  const act = useAct();
  const { changed, say } = useFrame();
  const signOut = async () => {
    const { refusals } = await act(SignOutDocument, {});
    if (refusals) return say(refusals.map(({ message }) => message).join(' '));
    go('/sign-in');
    changed();
    say('You are signed out.');
  };
  return (
    <>
      <nav aria-label="Pages">
        {viewer.user ? (
          <>
            <Link to="/">Profile</Link>
            <Link to="/security">Security</Link>
            <Link to="/sessions">Sessions</Link>
            {handsOutRoles(viewer) && <Link to="/roles">Roles</Link>}
          </>
        ) : (
          !viewer.twoFactorOwed && (
            <>
              <Link to="/sign-in">Sign in</Link>
              <Link to="/register">Register</Link>
            </>
          )
        )}
      </nav>
      {(viewer.user || viewer.twoFactorOwed) && (
        <div className="who">
          <span>{viewer.user?.fullName}</span>
          <button type="button" className="quiet" onClick={signOut}>
            Sign out
          </button>
        </div>
      )}
    </>
  );
}

function Pages({ viewer }: { viewer: Viewer }) {
  const path = usePath();
  if (path === '/verify-email') return <VerifyEmail signedInAs={viewer.user?.fullName ?? (viewer.twoFactorOwed ? 'somebody' : undefined)} />;
  // Nothing else is open to who must have a second factor and has not proved one.
  if (viewer.twoFactorOwed) return <Security owed />;
  if (!viewer.user) return path === '/register' ? <Register /> : <SignIn />;
  switch (path) {
    case '/security':
      return <Security />;
    case '/sessions':
      return <Sessions />;
    case '/roles':
      return handsOutRoles(viewer) ? <Roles /> : <Missing />;
    // The last two are for those who are not signed in.
    case '/':
    case '/sign-in':
    case '/register':
      return <Profile />;
    default:
      return <Missing />;
  }
}

function Missing() {
  return (
    <Page title="There is no such page">
      <Link to="/">To your profile</Link>
    </Page>
  );
}
