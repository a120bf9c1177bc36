// The flows of examples/spa with Apollo Client, its documents and types being those of the example, tokens in cookies.
import assert from 'node:assert/strict';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, type OperationVariables, ServerError, type TypedDocumentNode } from '@apollo/client';
import * as gql from '../../../examples/spa/src/gql/graphql.js';
import { serverTime, totp } from '../../browser/factors.mjs';
import { mending } from './links.js';
import { Cookies, later, mailedToken, PASSWORD, ROOT, ROOT_PASSWORD, SERVER } from './server.js';

/** A browser with Apollo Client in it. */
class Browser {
  readonly cookies = new Cookies();
  /** What was done so that requests went through, in order. */
  readonly mended: string[] = [];
  readonly #http = new HttpLink({ uri: new URL('/graphql', SERVER).href, fetch: this.cookies.fetch });
  /** Without what mends. */
  readonly #bare = new ApolloClient({ link: this.#http, cache: new InMemoryCache() });
  readonly #link = mending({
    refresh: async () => {
      this.mended.push('refresh');
      const { data } = await this.#bare.mutate({ mutation: gql.RefreshDocument });
      return data?.refreshToken?.errors.length === 0;
    },
    prove: async (methods) => {
      this.mended.push(...methods);
      const { data } = await this.#bare.mutate({ mutation: gql.ReauthenticateDocument, variables: { input: { password: PASSWORD } } });
      return data?.reauthenticate?.errors.length === 0;
    },
  });
  readonly client = new ApolloClient({
    link: ApolloLink.from([this.#link, this.#http]),
    cache: new InMemoryCache({
      typePolicies: { User: { fields: { profile: { merge: true }, twoFactor: { merge: true } } } },
      possibleTypes: {
        Node: ['User', 'Role', 'Session'],
        SignInResult: ['EmailVerificationRequired', 'PasswordExpired', 'SignedIn', 'TwoFactorRequired'],
        UserError: ['GeneralError', 'InvalidValueError', 'TooManyAttemptsError'],
      },
    }),
  });

  async ask<Data, Variables extends OperationVariables>(query: TypedDocumentNode<Data, Variables>, variables: Variables): Promise<Data> {
    const { data } = await this.client.query<Data, OperationVariables>({ query, variables, fetchPolicy: 'network-only' });
    assert(data, 'no data');
    return data as Data;
  }

  /** The payload of a mutation. */
  async act<Data extends object, Variables extends OperationVariables>(
    mutation: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<NonNullable<Data[keyof Data]>> {
    const { data } = await this.client.mutate<Data, OperationVariables>({ mutation, variables });
    const payload = Object.values(data ?? {}).find((value) => typeof value === 'object');
    assert(payload, 'no payload');
    return payload as NonNullable<Data[keyof Data]>;
  }

  signIn(identifier: string, password = PASSWORD) {
    return this.act(gql.SignInDocument, { identifier, password, rememberMe: true });
  }

  /** The time by the clock of the server, when it gave the access token. */
  now(): number {
    return serverTime(this.cookies.get('cardea-access'));
  }
}

function codes(error: unknown): unknown[] {
  assert(CombinedGraphQLErrors.is(error), String(error));
  return error.errors.map(({ extensions }) => extensions?.['code']);
}

const ada = 'ada@example.org';
const laptop = new Browser();

// Register and verify.
const input = { email: ada, fullName: 'Ada Lovelace', password: 'Short-7' };
const refused = await laptop.act(gql.RegisterDocument, { input });
assert.deepEqual(refused.errors.map(({ __typename, path }) => [__typename, path[1]]), [['InvalidValueError', 'password']]);
assert.deepEqual((await laptop.act(gql.RegisterDocument, { input: { ...input, password: PASSWORD } })).errors, []);
assert.equal((await laptop.signIn(ada)).result?.__typename, 'EmailVerificationRequired');
const verified = await laptop.act(gql.VerifyEmailDocument, { token: await mailedToken(ada) });
assert.equal(verified.result?.__typename, 'SignedIn');
assert.deepEqual(laptop.cookies.names.sort(), ['cardea-access', 'cardea-refresh']);
assert.deepEqual((await laptop.act(gql.SignOutDocument, {})).errors, []);
assert.deepEqual(laptop.cookies.names, []);

// Sign in; the profile, with a field refused and then in the cache as the payload had it.
assert.deepEqual((await laptop.signIn(ada, 'Wrong-Horse-7')).errors.map(({ code }) => code), ['INVALID_CREDENTIALS']);
const signedIn = (await laptop.signIn(ada)).result;
assert(signedIn?.__typename === 'SignedIn');
assert.deepEqual(laptop.cookies.names.sort(), ['cardea-access', 'cardea-refresh']);
const { viewer } = await laptop.ask(gql.ViewerDocument, {});
assert.equal(viewer.user?.fullName, 'Ada Lovelace');
await laptop.ask(gql.ProfileDocument, {});
const long = await laptop.act(gql.SaveProfileDocument, { input: { bio: 'x'.repeat(501), timezone: 'Europe/Nowhere' } });
assert.deepEqual(long.errors.map(({ path }) => path), [['input', 'bio'], ['input', 'timezone']]);
await laptop.act(gql.SaveProfileDocument, { input: { fullName: 'Ada King', bio: 'Notes.', birthDate: '1985-12-10' } });
const kept = laptop.client.readQuery({ query: gql.ProfileDocument })?.me;
assert.deepEqual([kept?.fullName, kept?.profile?.bio, kept?.birthDate], ['Ada King', 'Notes.', '1985-12-10']);
assert.equal(laptop.client.readQuery({ query: gql.ViewerDocument })?.viewer.user?.fullName, 'Ada King');

// Twenty minutes on, the access token is over, and so is what was proved: two requests renew it once, and one proof is asked for.
await later();
const both = [laptop.ask(gql.SessionsDocument, {}), laptop.ask(gql.ViewerDocument, {})] as const;
assert.equal((await Promise.all(both))[1].viewer.user?.fullName, 'Ada King');
assert.deepEqual(laptop.mended.splice(0), ['refresh']);
assert((await laptop.act(gql.BeginSecondFactorDocument, {})).setup);
assert.deepEqual(laptop.mended.splice(0), ['PASSWORD']);

// The second factor, and signing in with it elsewhere.
const { setup } = await laptop.act(gql.BeginSecondFactorDocument, {});
assert(setup);
const wrong = await laptop.act(gql.ConfirmSecondFactorDocument, { code: '000000' });
assert.deepEqual(wrong.errors.map(({ code, path }) => [code, path]), [['TOKEN_REJECTED', ['input', 'code']]]);
const now = laptop.now();
const on = await laptop.act(gql.ConfirmSecondFactorDocument, { code: totp(setup.secret, now - 30_000) });
assert.deepEqual([on.recoveryCodes?.length, on.user?.twoFactor?.enabled], [10, true]);
const phone = new Browser();
const step = (await phone.signIn(ada)).result;
assert(step?.__typename === 'TwoFactorRequired');
assert.deepEqual(step.methods.toSorted(), ['RECOVERY_CODE', 'TOTP']);
const { challengeToken } = step;
await phone.act(gql.SecondStepDocument, { challengeToken, code: totp(setup.secret, now), trustDevice: true });
assert(phone.cookies.names.includes('cardea-device'));

// Renewing tokens, and ending the session of the phone.
const before = laptop.cookies.get('cardea-refresh');
assert.deepEqual((await laptop.act(gql.RefreshDocument, {})).errors, []);
assert.notEqual(laptop.cookies.get('cardea-refresh'), before);
const { sessions } = await laptop.ask(gql.SessionsDocument, {});
const elsewhere = sessions?.nodes.filter(({ current }) => !current) ?? [];
assert.deepEqual([sessions?.nodes.length, elsewhere.length], [2, 1]);
const sessionId = elsewhere[0]?.id ?? '';
assert.equal((await laptop.act(gql.EndSessionDocument, { sessionId })).revokedSessionId, sessionId);
laptop.client.cache.evict({ id: laptop.client.cache.identify({ __typename: 'Session', id: sessionId }) ?? '' });
assert.equal(laptop.client.readQuery({ query: gql.SessionsDocument })?.sessions?.nodes.length, 1);
const over = await phone.ask(gql.ViewerDocument, {}).catch((error: unknown) => error);
assert((ServerError.is(over) && over.statusCode === 401) || codes(over).includes('UNAUTHENTICATED'), String(over));

// Roles are for administrators.
const { user } = signedIn;
await assert.rejects(laptop.ask(gql.RolesDocument, {}), (error) => codes(error).includes('FORBIDDEN'));
const desk = new Browser();
await desk.signIn(ROOT, ROOT_PASSWORD);
const { roles } = await desk.ask(gql.RolesDocument, {});
const { users } = await desk.ask(gql.MembersDocument, { search: 'king' });
assert.deepEqual(users?.nodes.map(({ fullName, roles }) => [fullName, roles?.map(({ name }) => name)]), [['Ada King', ['user']]]);
const [admin, moderator] = ['admin', 'moderator'].map((wanted) => roles?.find(({ name }) => name === wanted)?.id ?? '');
assert(admin && moderator);
const given = await desk.act(gql.GiveRoleDocument, { userId: user.id, roleId: moderator });
assert.deepEqual(given.user?.roles?.map(({ name }) => name), ['moderator', 'user']);
await desk.act(gql.TakeRoleDocument, { userId: user.id, roleId: moderator });
const { viewer: root } = await desk.ask(gql.ViewerDocument, {});
const last = await desk.act(gql.TakeRoleDocument, { userId: root.user?.id ?? '', roleId: admin });
assert.deepEqual(last.errors.map(({ code }) => code), ['PROTECTED']);

await laptop.act(gql.EndSecondFactorDocument, { code: totp(setup.secret, now + 30_000) });
await laptop.act(gql.SignOutDocument, {});
assert.deepEqual(laptop.cookies.names, []);
console.log('apollo: ok, every flow');
