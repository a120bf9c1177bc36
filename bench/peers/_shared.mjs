// What the peers have in common: settings, who asks, the schema, and SQL that loads by keys.

import cluster from 'node:cluster';
import { createPublicKey } from 'node:crypto';

import { createVerifier } from 'fast-jwt';
import pg from 'pg';

const { env } = process;
export const port = Number(env.PORT);
export const pool = new pg.Pool({ connectionString: env.DATABASE_URL, max: Number(env.POOL) });

const [key] = JSON.parse(env.JWKS).keys;
// Verified tokens are remembered until they end, as fast-jwt offers it.
const verify = createVerifier({
  key: createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' }),
  algorithms: ['EdDSA'],
  allowedIss: env.ISSUER,
  allowedAud: env.AUDIENCE,
  cache: 2000,
});

/** The account that an access token names, by the UUID that other systems know; nobody without a good one. */
export function caller(authorization) {
  if (!authorization?.startsWith('Bearer ')) return null;
  try {
    return verify(authorization.slice('Bearer '.length)).sub;
  } catch {
    return null;
  }
}

/** Runs a server in as many processes as are wanted. */
export async function serve(begin) {
  const workers = Number(env.WORKERS || 1);
  if (workers > 1 && cluster.isPrimary) {
    for (let one = 0; one < workers; one += 1) cluster.fork();
    process.on('SIGTERM', () => process.exit(0));
  } else {
    await begin();
  }
}

export const typeDefs = `
  type Query { me: User  users(first: Int!): UserConnection }
  type UserConnection { nodes: [User!]! }
  type User { id: ID!  email: String!  profile: Profile  roles: [Role!]! }
  type Profile {
    bio: String  timezone: String!  language: String!  theme: String!
    emailNotifications: Boolean!  pushNotifications: Boolean!
  }
  type Role { id: ID!  name: String!  permissions: [Permission!]! }
  type Permission { name: String! }
`;

/** With a name, `pg` prepares a statement once for each connection. */
const rows = async (name, text, values) => (await pool.query({ name, text, values })).rows;

export const userByToken = async (token) =>
  (await rows('me', 'SELECT id, email FROM users WHERE auth_token = $1', [token]))[0] ?? null;

export const newestUsers = (first) =>
  rows('users', 'SELECT id, email FROM users ORDER BY created_at DESC, id DESC LIMIT $1', [Math.min(first, 100)]);

/** Rows in the order of the keys that they belong to, one for each key. */
const one = (keys, found, of) => {
  const byKey = new Map(found.map((row) => [row[of], row]));
  return keys.map((key) => byKey.get(key) ?? null);
};

/** Rows in the order of the keys that they belong to, a list for each key. */
const many = (keys, found, of) => {
  const byKey = new Map(keys.map((key) => [key, []]));
  for (const row of found) byKey.get(row[of]).push(row);
  return keys.map((key) => byKey.get(key));
};

export async function profilesOf(users) {
  const text = `SELECT user_id, bio, timezone, language, theme, email_notifications AS "emailNotifications",
    push_notifications AS "pushNotifications" FROM profiles WHERE user_id = ANY($1::uuid[])`;
  return one(users, await rows('profiles', text, [users]), 'user_id');
}

export async function rolesOf(users) {
  const text = `SELECT ur.user_id, r.id, r.name FROM user_roles ur JOIN roles r ON r.id = ur.role_id
    WHERE ur.user_id = ANY($1::uuid[]) ORDER BY r.name`;
  return many(users, await rows('roles', text, [users]), 'user_id');
}

export async function permissionsOf(roles) {
  const text = `SELECT rp.role_id, p.name FROM role_permissions rp JOIN permissions p ON p.id = rp.permission_id
    WHERE rp.role_id = ANY($1::uuid[]) ORDER BY p.name`;
  return many(roles, await rows('permissions', text, [roles]), 'role_id');
}
