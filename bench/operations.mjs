// What is asked for, as GraphQL for the servers and as SQL for pgbench.

import { createHash } from 'node:crypto';

const profileFields = 'bio timezone language theme emailNotifications pushNotifications';

/**
 * Operations of the API. `as` says who asks: many accounts in turns, the administrator, or nobody. Every answer of a
 * write must hold what is `expected`; of what reads, answers are looked at now and then.
 */
export const operations = {
  typename: { as: 'nobody', document: '{ __typename }' },
  me: {
    as: 'accounts',
    document: `{ me { id email profile { ${profileFields} } roles { name permissions { name } } } }`,
  },
  page: {
    as: 'administrator',
    document: '{ users(first: 100) { nodes { id email profile { bio timezone } roles { name } } } }',
  },
  updateProfile: {
    as: 'accounts',
    writes: true,
    expected: '"errors":[]',
    document: 'mutation ($bio: String) { updateProfile(input: { bio: $bio }) { errors { code } profile { bio } } }',
  },
  refreshToken: {
    as: 'nobody',
    writes: true,
    document:
      'mutation ($token: String!) { refreshToken(input: { refreshToken: $token }) { errors { code } result { __typename ... on SignedIn { accessToken refreshToken } } } }',
  },
  login: {
    as: 'nobody',
    writes: true,
    expected: '"SignedIn"',
    document:
      'mutation ($identifier: String!, $password: String!) { login(input: { identifier: $identifier, password: $password }) { errors { code } result { __typename ... on SignedIn { accessToken refreshToken } } } }',
  },
};

/** A page that begins where another ended; used by the measurement of growth. */
export const pageAfter =
  'query ($after: String) { users(first: 100, after: $after) { nodes { id email profile { bio timezone } roles { name } } pageInfo { endCursor } } }';

/** PostGraphile's order is asked for, Cardea's is that one by itself. */
export const postgraphileDocuments = {
  page: operations.page.document.replace('first: 100', 'first: 100, orderBy: CREATED_AT_DESC'),
};

export const idOf = (document) => createHash('sha256').update(document).digest('hex');

/** The file of trusted documents: texts by their ids. */
export const trustedDocuments = () =>
  Object.fromEntries([...Object.values(operations).map((one) => one.document), pageAfter].map((text) => [idOf(text), text]));

/** The body of a request, with the text of the document or with its id. */
export const bodyOf = (document, variables, trusted = false) =>
  JSON.stringify({ ...(trusted ? { documentId: idOf(document) } : { query: document }), ...(variables && { variables }) });

// pgbench: every client chooses an account by its number once, and goes on with that one. Variables outlive a
// transaction; strings come into them by \gset alone.
const chooseAccount = `\\if :chosen = 0
SELECT id AS account FROM bench_accounts WHERE place = :client_id \\gset
\\set chosen 1
\\endif
`;

const account = 'u.id, u.email, p.bio, p.timezone, p.language, p.theme, p.email_notifications, p.push_notifications';

const me = `SELECT ${account},
  ARRAY(SELECT ARRAY[r.name, pm.name] FROM user_roles ur JOIN roles r ON r.id = ur.role_id
    LEFT JOIN role_permissions rp ON rp.role_id = r.id LEFT JOIN permissions pm ON pm.id = rp.permission_id
    WHERE ur.user_id = u.id ORDER BY r.name, pm.name) AS roles
FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.id = :account;
`;

// What is left to ask where a server keeps names and rights of the roles in memory.
const meByRoleIds = `SELECT ${account}, ARRAY(SELECT ur.role_id FROM user_roles ur WHERE ur.user_id = u.id) AS roles
FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.id = :account;
`;

const page = `SELECT u.id, u.email, p.bio, p.timezone,
  ARRAY(SELECT r.name FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id ORDER BY r.name) AS roles
FROM users u LEFT JOIN profiles p ON p.user_id = u.id ORDER BY u.created_at DESC, u.id DESC LIMIT 100;
`;

const pageByRoleIds = `SELECT u.id, u.email, p.bio, p.timezone, ARRAY(SELECT ur.role_id FROM user_roles ur WHERE ur.user_id = u.id) AS roles
FROM users u LEFT JOIN profiles p ON p.user_id = u.id ORDER BY u.created_at DESC, u.id DESC LIMIT 100;
`;

// What Cardea writes for each page of other people's data: an entry of the audit trail that names its accounts.
const pageEntry = `INSERT INTO audit_events (id, occurred_at, action, outcome, actor_id, request_id, client, details, mac, subjects)
SELECT gen_random_uuid(), now(), 'personal_data_read', 'success', :account, md5(random()::text),
  decode(repeat('ab', 77), 'hex'), '{"fields": ["email", "profile", "roles"]}', sha256(random()::text::bytea), array_agg(u.id ORDER BY u.id)
FROM (SELECT id FROM users ORDER BY created_at DESC, id DESC LIMIT 100) u;
`;

const updateProfile = `\\set words random(1, 1000000000)
BEGIN;
UPDATE users SET updated_at = now() WHERE id = :account
  RETURNING id, auth_token, username, email, full_name, first_name, last_name, status, created_at, updated_at;
UPDATE profiles SET bio = 'Words ' || :words::bigint, updated_at = now() WHERE user_id = :account
  RETURNING user_id, bio, timezone, email_notifications, push_notifications, theme, language, preferences, created_at, updated_at;
INSERT INTO audit_events (id, occurred_at, action, outcome, actor_id, subject_id, request_id, client, details, mac)
  VALUES (gen_random_uuid(), now(), 'profile_updated', 'success', :account, :account, md5(random()::text),
    decode(repeat('ab', 77), 'hex'), '{"fields": ["bio"]}', sha256(random()::text::bytea));
COMMIT;
`;

const chooseSession = `\\if :chosen = 0
SELECT s.id AS session, encode(s.refresh_token_hash, 'hex') AS even FROM bench_accounts a JOIN sessions s ON s.user_id = a.id
  WHERE a.place = :client_id AND s.revoked_at IS NULL ORDER BY s.created_at LIMIT 1 \\gset
\\set chosen 1
\\endif
`;

const refresh = (from, to) => `BEGIN;
UPDATE sessions SET refresh_token_hash = sha256(refresh_token_hash || random()::text::bytea), successor_salt = sha256(random()::text::bytea),
    last_accessed_at = now()
  WHERE refresh_token_hash = decode(:${from}, 'hex') AND revoked_at IS NULL AND expires_at > now()
  RETURNING id, user_id, created_at, last_accessed_at, expires_at, remember_me, methods, second_factor,
    encode(refresh_token_hash, 'hex') AS ${to} \\gset
INSERT INTO spent_refresh_tokens (token_hash, session_id, spent_at) VALUES (decode(:${from}, 'hex'), :session, now());
WITH taken AS (
  INSERT INTO rate_limits (key, full_at) VALUES (sha256((:session)::text::bytea), now() + INTERVAL '1 microsecond')
  ON CONFLICT (key) DO UPDATE SET full_at = greatest(rate_limits.full_at, now()) + INTERVAL '1 microsecond'
  WHERE rate_limits.full_at + INTERVAL '1 microsecond' <= now() + INTERVAL '1 hour' RETURNING 1
) SELECT CASE WHEN EXISTS (SELECT FROM taken) THEN 0 ELSE 1 END;
SELECT id, auth_token, username, email, full_name, status, created_at, updated_at FROM users WHERE id = :user_id;
COMMIT;
`;

const refreshToken = `${chooseSession}\\if :odd = 0
${refresh('even', 'uneven')}\\set odd 1
\\else
${refresh('uneven', 'even')}\\set odd 0
\\endif
`;

/** Scripts of pgbench by operation: the floor, and what tells more of it. */
export const scripts = {
  me: { pgbench: chooseAccount + me, 'pgbench, role ids': chooseAccount + meByRoleIds },
  page: {
    pgbench: page,
    'pgbench, role ids': pageByRoleIds,
    'pgbench, audited': `${chooseAccount}BEGIN;\n${page}${pageEntry}COMMIT;\n`,
  },
  updateProfile: { pgbench: chooseAccount + updateProfile },
  refreshToken: { pgbench: refreshToken },
};

/** What an operation writes is written to a copy of the database, where no server looks for the entries. */
export const onCopy = (operation, system) => Boolean(operations[operation].writes) || system === 'pgbench, audited';
