// What is compared: Cardea, the peers, and the accounts that ask.

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Connection } from './load.mjs';
import { bodyOf, operations, trustedDocuments } from './operations.mjs';
import { freePort, run, sleep, start } from './processes.mjs';

/** Of every made-up account. */
export const PASSWORD = 'Bench-Horse-77';
const peersDir = fileURLToPath(new URL('peers', import.meta.url));

/** How many accounts ask in turns. A session may trade 120 refresh tokens an hour. */
const ACCOUNTS = 256;
/** How many others sign in again and again, whose oldest sessions end when they have 50. */
const SIGNING_IN = 256;

/** Settings that differ from those of production, and why. */
export const cardeaSettings = {
  '--mode': ['development', 'production wants TLS'],
  '--introspection': ['false', 'as in production'],
  '--playground': ['false', 'as in production'],
  '--access-token-minutes': ['60', 'a run takes longer than 15'],
  '--logins-per-network': ['100000000', 'all load comes from one address; the limit is counted all the same'],
  '--logins-per-name': ['100000000', 'each account signs in many times; the limit is counted all the same'],
  '--log': ['warn,tokio_postgres=warn', 'a line at start is enough'],
};

/** Waits until a server answers, and gives the milliseconds that it took. */
export async function ready(program, url, milliseconds = 30_000) {
  const began = performance.now();
  for (;;) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(2000) });
      await answer.arrayBuffer();
      if (answer.ok) return performance.now() - began;
    } catch {
      // Not yet.
    }
    if (!program.running()) throw new Error(`it ended at once:\n${program.log()}`);
    if (performance.now() - began > milliseconds) throw new Error(`no answer from ${url}:\n${program.log()}`);
    await sleep(2);
  }
}

/** Asks once, and gives the data; errors are thrown. */
export async function ask(url, body, token) {
  const connection = new Connection(url);
  try {
    const answer = await connection.ask(body, token);
    const { data, errors } = JSON.parse(answer.body);
    if (answer.status !== 200 || errors || !data) throw new Error(`${url} answered ${answer.status}: ${answer.body.slice(0, 500)}`);
    return data;
  } finally {
    connection.close();
  }
}

export class Cardea {
  constructor(binary, database, name) {
    Object.assign(this, { binary, database, name });
    this.dataDir = join(database.dir, `cardea-${name}`);
    this.env = { DATABASE_URL: database.url(name), CARDEA_DATA_DIR: this.dataDir };
  }

  async version() {
    return (await run(this.binary, ['--version'])).trim();
  }

  /** Fills the database: made-up accounts that can sign in, and an administrator. */
  async fill(accounts) {
    mkdirSync(this.dataDir, { recursive: true });
    await this.database.create(this.name);
    await run(this.binary, ['migrate', 'up'], { env: this.env });
    const seed = ['bench', 'seed', '--accounts', `${accounts}`, '--password-stdin'];
    await run(this.binary, seed, { env: this.env, input: `${PASSWORD}\n`, show: true });
    const create = ['user', 'create', '--admin', '--email', 'root@example.org', '--full-name', 'Root'];
    this.adminPassword = /Its password, shown this once: (\S+)/.exec(await run(this.binary, create, { env: this.env }))[1];
    await this.database.psql(
      this.name,
      `CREATE TABLE bench_accounts AS
        SELECT (row_number() OVER (ORDER BY id) - 1)::int AS place, id, email, auth_token FROM (
          SELECT id, email, auth_token FROM users WHERE status = 'active' AND hashed_password IS NOT NULL
            AND email <> 'root@example.org' AND NOT EXISTS (SELECT FROM two_factor_secrets s WHERE s.user_id = users.id)
          ORDER BY md5(id::text) LIMIT ${ACCOUNTS + SIGNING_IN}) AS chosen;
       ALTER TABLE bench_accounts ADD PRIMARY KEY (place);`,
    );
    await this.database.psql(this.name, 'VACUUM (ANALYZE)', 'postgres');
  }

  async start(more = []) {
    this.port = await freePort();
    const documents = join(this.dataDir, 'documents.json');
    writeFileSync(documents, JSON.stringify(trustedDocuments()));
    const settings = Object.entries(cardeaSettings).flatMap(([flag, [value]]) => [flag, value]);
    const args = ['--listen', `127.0.0.1:${this.port}`, '--trusted-documents', documents, ...settings, ...more];
    const began = performance.now();
    this.program = start(this.binary, args, { env: this.env });
    this.url = `http://127.0.0.1:${this.port}/graphql`;
    await ready(this.program, `http://127.0.0.1:${this.port}/health/ready`);
    return performance.now() - began;
  }

  get pid() {
    return this.program.pid;
  }

  stop() {
    return this.program.stop();
  }

  async #signIn(identifier, password) {
    const { login } = await ask(this.url, bodyOf(operations.login.document, { identifier, password }));
    if (login.result?.__typename !== 'SignedIn') throw new Error(`${identifier} is not let in: ${JSON.stringify(login)}`);
    return { token: login.result.accessToken, refreshToken: login.result.refreshToken };
  }

  /** Signs the accounts and the administrator in; again only where their tokens have grown old. */
  async signIn() {
    if (this.signedInAt && Date.now() - this.signedInAt < 40 * 60_000) return;
    const rows = await this.database.psql(this.name, 'SELECT id, email, auth_token FROM bench_accounts ORDER BY place');
    const accounts = rows.split('\n').map((row) => row.split('|'));
    if (accounts.length < ACCOUNTS + SIGNING_IN) throw new Error(`${accounts.length} accounts can sign in; --accounts must be greater`);
    this.accounts = [];
    this.signingIn = accounts.slice(ACCOUNTS).map(([, email]) => email);
    for (const [id, email, uuid] of accounts.slice(0, ACCOUNTS)) {
      this.accounts.push({ id, email, uuid, ...(await this.#signIn(email, PASSWORD)) });
    }
    this.administrator ??= { email: 'root@example.org', password: this.adminPassword };
    Object.assign(this.administrator, await this.#signIn('root@example.org', this.adminPassword));
    this.signedInAt = Date.now();
  }

  /** Requests for an operation, pairs of token and body. */
  requests(operation, { trusted = false, document = operations[operation].document } = {}) {
    switch (operation) {
      case 'page':
        return [[this.administrator.token, bodyOf(document, undefined, trusted)]];
      case 'typename':
        return [[null, bodyOf(document, undefined, trusted)]];
      case 'me':
        return this.accounts.map(({ token }) => [token, bodyOf(document, undefined, trusted)]);
      case 'updateProfile':
        return Array.from({ length: 4 * ACCOUNTS }, (_, at) => {
          const bio = `Words ${Math.floor(Math.random() * 1e9)}`;
          return [this.accounts[at % ACCOUNTS].token, bodyOf(document, { bio }, trusted)];
        });
      case 'login':
        return this.signingIn.map((identifier) => [null, bodyOf(document, { identifier, password: PASSWORD }, trusted)]);
      default:
        throw new Error(`${operation} has no fixed requests`);
    }
  }

  /** What a client that refreshes needs: its next request, and what it does with the answer. */
  refreshing(connections, trusted = false) {
    // Each client has sessions of its own and takes them in turns, so that none waits for its limit.
    const turns = new Array(connections).fill(0);
    const each = Math.floor(ACCOUNTS / connections);
    const session = (number) => this.accounts[number * each + (turns[number] % each)];
    return {
      next: (number) => bodyOf(operations.refreshToken.document, { token: session(number).refreshToken }, trusted),
      took: (number, { status, body }) => {
        const result = status === 200 && JSON.parse(body).data?.refreshToken?.result;
        if (!result) return false;
        Object.assign(session(number), { refreshToken: result.refreshToken, token: result.accessToken });
        turns[number] += 1;
        return true;
      },
    };
  }
}

/** The peers that there are, by the names of their files. */
export const peers = () =>
  readdirSync(peersDir)
    .filter((name) => name.endsWith('.mjs') && !name.startsWith('_'))
    .map((name) => name.slice(0, -'.mjs'.length))
    .sort();

export class Peer {
  constructor(name) {
    this.name = name;
  }

  /** Starts it on Cardea's tables, with Cardea's keys. */
  async start(cardea, { workers, pool }) {
    const keys = await (await fetch(`http://127.0.0.1:${cardea.port}/.well-known/jwks.json`)).text();
    const port = await freePort();
    const env = {
      NODE_ENV: 'production',
      PORT: `${port}`,
      DATABASE_URL: cardea.database.url(cardea.name),
      POOL: `${pool}`,
      WORKERS: `${workers}`,
      JWKS: keys,
      ISSUER: `http://127.0.0.1:${cardea.port}`,
      AUDIENCE: 'cardea',
    };
    this.program = start(process.execPath, [join(peersDir, `${this.name}.mjs`)], { env, cwd: peersDir });
    this.url = `http://127.0.0.1:${port}/graphql`;
    const began = Date.now();
    for (;;) {
      try {
        await ask(this.url, bodyOf('{ __typename }'));
        break;
      } catch (error) {
        if (!this.program.running() || Date.now() - began > 60_000) throw new Error(`${error.message}\n${this.program.log()}`);
        await sleep(50);
      }
    }
  }

  get pid() {
    return this.program.pid;
  }

  stop() {
    return this.program.stop();
  }
}

/** An answer in a form in which all systems agree: without ids, names in order, enums in capitals. */
export function plain(operation, data) {
  const roles = (list) =>
    list
      .map((role) => ({ name: role.name, ...(role.permissions && { permissions: role.permissions.map((one) => one.name).sort() }) }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  const user = (one) => {
    if (!one.id) throw new Error('an account without an id');
    const profile = { ...one.profile, ...(one.profile.theme && { theme: one.profile.theme.toUpperCase() }) };
    return { email: one.email, profile, roles: roles(one.roles) };
  };
  switch (operation) {
    case 'me':
      return user(data.me);
    case 'page':
      if (data.users.nodes.length !== 100) throw new Error(`${data.users.nodes.length} accounts on the page`);
      return data.users.nodes.map(user);
    default:
      return data;
  }
}
