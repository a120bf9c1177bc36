// The flows of examples/spa with the runtime of Relay, over what its compiler made of account.ts; tokens in the answers.
import assert from 'node:assert/strict';
import {
  commitLocalUpdate,
  commitMutation,
  ConnectionHandler,
  createOperationDescriptor,
  Environment,
  fetchQuery,
  getRequest,
  type GraphQLResponse,
  type GraphQLTaggedNode,
  type MutationParameters,
  Network,
  type OperationType,
  RecordSource,
  Store,
} from 'relay-runtime';
import { serverTime, totp } from '../../browser/factors.mjs';
import BeginSecondFactor, { type accountBeginSecondFactorMutation } from './__generated__/accountBeginSecondFactorMutation.graphql.js';
import ConfirmSecondFactor, { type accountConfirmSecondFactorMutation } from './__generated__/accountConfirmSecondFactorMutation.graphql.js';
import EndSession, { type accountEndSessionMutation } from './__generated__/accountEndSessionMutation.graphql.js';
import GiveRole, { type accountGiveRoleMutation } from './__generated__/accountGiveRoleMutation.graphql.js';
import Members, { type accountMembersQuery } from './__generated__/accountMembersQuery.graphql.js';
import Profile, { type accountProfileQuery } from './__generated__/accountProfileQuery.graphql.js';
import Prove, { type accountProveMutation } from './__generated__/accountProveMutation.graphql.js';
import Refresh, { type accountRefreshMutation } from './__generated__/accountRefreshMutation.graphql.js';
import Register, { type accountRegisterMutation } from './__generated__/accountRegisterMutation.graphql.js';
import Save, { type accountSaveMutation } from './__generated__/accountSaveMutation.graphql.js';
import SecondStep, { type accountSecondStepMutation } from './__generated__/accountSecondStepMutation.graphql.js';
import Sessions, { type accountSessionsQuery } from './__generated__/accountSessionsQuery.graphql.js';
import SessionsPage, { type accountSessionsPaginationQuery } from './__generated__/accountSessionsPaginationQuery.graphql.js';
import SignIn, { type accountSignInMutation } from './__generated__/accountSignInMutation.graphql.js';
import SignOut, { type accountSignOutMutation } from './__generated__/accountSignOutMutation.graphql.js';
import TakeRole, { type accountTakeRoleMutation } from './__generated__/accountTakeRoleMutation.graphql.js';
import Verify, { type accountVerifyMutation } from './__generated__/accountVerifyMutation.graphql.js';
import { mailedToken, PASSWORD, ROOT, ROOT_PASSWORD, SERVER } from './server.js';

/** An app with a store of its own that keeps its tokens in memory. */
class App {
  token = '';
  readonly environment = new Environment({
    network: Network.create(async ({ text }, variables) => {
      const headers: Record<string, string> = { 'content-type': 'application/json' };
      if (this.token) headers['authorization'] = `Bearer ${this.token}`;
      const body = JSON.stringify({ query: text, variables });
      const response = await fetch(new URL('/graphql', SERVER), { method: 'POST', headers, body });
      return (await response.json()) as GraphQLResponse;
    }),
    store: new Store(new RecordSource()),
  });

  async ask<Query extends OperationType>(query: GraphQLTaggedNode, variables: Query['variables']): Promise<Query['response']> {
    const data = await fetchQuery<Query>(this.environment, query, variables).toPromise();
    return data ?? assert.fail('no data');
  }

  act<Mutation extends MutationParameters>(mutation: GraphQLTaggedNode, variables: Mutation['variables']): Promise<Mutation['response']> {
    return new Promise((resolve, reject) => {
      commitMutation<Mutation>(this.environment, { mutation, variables, onCompleted: resolve, onError: reject });
    });
  }

  /** What the store holds of a query, without a request. */
  kept(query: GraphQLTaggedNode): unknown {
    const operation = createOperationDescriptor(getRequest(query), {});
    return this.environment.lookup(operation.fragment).data;
  }

  /** The sessions that the store holds of the account, and the cursor behind them. */
  sessions() {
    let nodes: { id: string; current: unknown }[] = [];
    let cursor: unknown;
    commitLocalUpdate(this.environment, (store) => {
      const me = store.getRoot().getLinkedRecord('me') ?? assert.fail('no account');
      const connection = ConnectionHandler.getConnection(me, 'account_sessions') ?? assert.fail('no connection');
      const records = connection.getLinkedRecords('edges')?.flatMap((edge) => edge?.getLinkedRecord('node') ?? []) ?? [];
      nodes = records.map((record) => ({ id: record.getDataID(), current: record.getValue('current') }));
      cursor = connection.getLinkedRecord('pageInfo')?.getValue('endCursor');
    });
    return { nodes, cursor: String(cursor) };
  }

  async signIn(identifier: string, password = PASSWORD) {
    const input = { identifier, password };
    const { login } = await this.act<accountSignInMutation>(SignIn, { input });
    return this.take(login);
  }

  /** Keeps the tokens of a step that leads into an account. */
  take(step: accountSignInMutation['response']['login']) {
    if (step?.result?.__typename === 'SignedIn') this.token = step.result.accessToken ?? '';
    return step;
  }
}

const ada = 'ada@example.org';
const laptop = new App();

// Register and verify.
const input = { email: ada, fullName: 'Ada Lovelace', password: 'Short-7' };
const { register: refused } = await laptop.act<accountRegisterMutation>(Register, { input });
assert.deepEqual(refused?.errors.map(({ __typename, path, minimum }) => [__typename, path[1], typeof minimum])[0], ['InvalidValueError', 'password', 'number']);
const { register } = await laptop.act<accountRegisterMutation>(Register, { input: { ...input, password: PASSWORD } });
assert.deepEqual(register?.errors, []);
assert.equal((await laptop.signIn(ada))?.result?.__typename, 'EmailVerificationRequired');
const { verifyEmail } = await laptop.act<accountVerifyMutation>(Verify, { token: await mailedToken(ada) });
assert.equal(verifyEmail?.result?.__typename, 'SignedIn');

// Sign in, and renew the tokens.
assert.deepEqual((await laptop.signIn(ada, 'Wrong-Horse-7'))?.errors.map(({ code }) => code), ['INVALID_CREDENTIALS']);
const signedIn = (await laptop.signIn(ada))?.result;
assert(signedIn?.__typename === 'SignedIn');
const renewed = await laptop.act<accountRefreshMutation>(Refresh, { input: { refreshToken: signedIn.refreshToken ?? '' } });
assert.equal(laptop.take(renewed.refreshToken)?.result?.__typename, 'SignedIn');

// The profile, with fields refused; the store follows the payload.
await laptop.ask<accountProfileQuery>(Profile, {});
const long = await laptop.act<accountSaveMutation>(Save, { input: { bio: 'x'.repeat(501), timezone: 'Europe/Nowhere' } });
assert.deepEqual(long.updateProfile?.errors.map(({ path, maximum }) => [path[1], maximum ?? null])[0], ['bio', 500]);
assert.equal(long.updateProfile?.errors[1]?.path[1], 'timezone');
await laptop.act<accountSaveMutation>(Save, { input: { fullName: 'Ada King', bio: 'Notes.' } });
assert.deepEqual(laptop.kept(Profile), { me: { fullName: 'Ada King', profile: { bio: 'Notes.', timezone: 'UTC' } } });

// The second factor, and signing in with it elsewhere.
const now = serverTime(laptop.token);
await laptop.act<accountProveMutation>(Prove, { input: { password: PASSWORD } });
const { enableTwoFactor } = await laptop.act<accountBeginSecondFactorMutation>(BeginSecondFactor, {});
const secret = enableTwoFactor?.setup?.secret ?? assert.fail('no secret');
const { confirmTwoFactor } = await laptop.act<accountConfirmSecondFactorMutation>(ConfirmSecondFactor, { code: totp(secret, now - 30_000) });
assert.deepEqual([confirmTwoFactor?.recoveryCodes?.length, confirmTwoFactor?.user?.twoFactor?.enabled], [10, true]);
const phone = new App();
const step = (await phone.signIn(ada))?.result;
assert(step?.__typename === 'TwoFactorRequired');
const { challengeToken } = step;
const wrong = await phone.act<accountSecondStepMutation>(SecondStep, { input: { challengeToken, code: '000000' } });
assert.deepEqual(wrong.verifyTwoFactor?.errors.map(({ path }) => path), [['input', 'code']]);
const right = await phone.act<accountSecondStepMutation>(SecondStep, { input: { challengeToken, code: totp(secret, now) } });
assert.equal(phone.take(right.verifyTwoFactor)?.result?.__typename, 'SignedIn');

// Sessions, a page at a time through `node`; the one that is ended leaves the store.
await laptop.ask<accountSessionsQuery>(Sessions, {});
const one = laptop.sessions();
assert.deepEqual(one.nodes.map(({ current }) => current), [false], 'the phone was used last');
const page = { id: signedIn.user.id, count: 10, cursor: one.cursor };
await laptop.ask<accountSessionsPaginationQuery>(SessionsPage, page);
const [elsewhere, here] = laptop.sessions().nodes;
assert.deepEqual([elsewhere?.current, here?.current], [false, true]);
const sessionId = elsewhere?.id ?? '';
const { revokeSession } = await laptop.act<accountEndSessionMutation>(EndSession, { sessionId });
assert.equal(revokeSession?.revokedSessionId, sessionId);
assert.deepEqual(laptop.sessions().nodes.map(({ current }) => current), [true]);

// Roles are for administrators.
const desk = new App();
await desk.signIn(ROOT, ROOT_PASSWORD);
const search = { search: 'king', count: 10 };
await assert.rejects(laptop.ask<accountMembersQuery>(Members, search).then(({ roles }) => assert(roles)));
const { roles } = await desk.ask<accountMembersQuery>(Members, search);
const moderator = roles?.find(({ name }) => name === 'moderator')?.id ?? '';
const membership = { input: { userId: signedIn.user.id, roleId: moderator } };
const { assignRole } = await desk.act<accountGiveRoleMutation>(GiveRole, membership);
assert.deepEqual(assignRole?.user?.roles?.map(({ name }) => name), ['moderator', 'user']);
const { removeRole } = await desk.act<accountTakeRoleMutation>(TakeRole, membership);
assert.deepEqual(removeRole?.user?.roles?.map(({ name }) => name), ['user']);

const { logout } = await laptop.act<accountSignOutMutation>(SignOut, {});
assert.equal(logout?.endedSessions, 1);
console.log('relay: ok, every flow');
