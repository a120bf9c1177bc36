// What the faults happen to: servers on a database of the harness's own, a mail server, and clients that write down
// what they are told, and when.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Connection, percentile } from '../bench/load.mjs';
import { bodyOf, operations } from '../bench/operations.mjs';
import { freePort, onEnd, sleep, start } from '../bench/processes.mjs';
import { Cardea, ready } from '../bench/systems.mjs';

export const repository = fileURLToPath(new URL('..', import.meta.url));

/** Settings of all servers here: limits are counted, but all load comes from one address. */
const many = '100000000';
const settings = {
  '--mode': 'development',
  '--playground': 'false',
  '--access-token-minutes': '60',
  '--logins-per-network': many,
  '--logins-per-name': many,
  '--registrations-per-hour': many,
  '--mail-requests-per-network': many,
  '--public-url': 'http://localhost:8000',
  '--log': 'warn,tokio_postgres=warn',
};

/** One more server on the database that `cardea` has filled; killed and started again at will. */
export class Instance {
  constructor(cardea, more = [], env = {}) {
    Object.assign(this, { cardea, more, env });
  }

  async start() {
    this.port ??= await freePort();
    const flags = Object.entries(settings).flat();
    const args = ['--listen', `127.0.0.1:${this.port}`, ...flags, ...this.more];
    this.program = start(this.cardea.binary, args, { env: { ...this.cardea.env, ...this.env } });
    this.url = `http://127.0.0.1:${this.port}/graphql`;
    return ready(this.program, `http://127.0.0.1:${this.port}/health/ready`);
  }

  get pid() {
    return this.program.pid;
  }

  /** As a machine that loses its power. */
  async kill() {
    this.program.child.kill('SIGKILL');
    while (this.program.running()) await sleep(1);
  }

  stop() {
    return this.program.stop();
  }
}

/** A filled database of its own, with accounts that are signed in. */
export async function filled(world, name, accounts = 1000) {
  const cardea = new Cardea(world.binary, world.database, name);
  await cardea.fill(accounts);
  const instance = new Instance(cardea);
  await instance.start();
  Object.assign(cardea, { url: instance.url });
  await cardea.signIn();
  await instance.stop();
  return cardea;
}

/** The mail server of the tests, with rules as it has them. */
export class MailServer {
  static async start(rules = {}) {
    const dir = join(repository, 'target', 'chaos');
    const python = join(dir, 'python', 'bin', 'python');
    mkdirSync(dir, { recursive: true });
    if (!existsSync(python)) {
      for (const [program, ...args] of [
        ['python3', '-m', 'venv', join(dir, 'python')],
        [python, '-m', 'pip', 'install', '--quiet', '-r', join(repository, 'tests/smtp/requirements.txt')],
      ]) {
        const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
        if (status !== 0) throw new Error(`no mail server: ${stderr}`);
      }
    }
    const server = new MailServer();
    server.mails = [];
    server.child = spawn(python, [join(repository, 'tests/smtp/server.py'), JSON.stringify({ rules })], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    onEnd(() => server.child.kill());
    let text = '';
    server.child.stdout.on('data', (chunk) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop();
      for (const line of lines.filter(Boolean)) {
        if (server.port === undefined) server.port = Number(line);
        else server.mails.push(JSON.parse(line).to[0]);
      }
    });
    for (let turn = 0; server.port === undefined; turn += 1) {
      if (turn > 1200) throw new Error('the mail server does not start');
      await sleep(25);
    }
    return server;
  }

  rule(rules) {
    this.child.stdin.write(`${JSON.stringify(rules)}\n`);
    return sleep(200);
  }

  get url() {
    return `smtp://127.0.0.1:${this.port}?tls=none`;
  }

  stop() {
    this.child.kill();
  }
}

/** What an answer says: `ok`, a code, or how the connection ended. */
export function outcome({ status, body }) {
  const code = /"code":"(\w+)"/.exec(body)?.[1];
  if (code) return code;
  return status === 200 ? 'ok' : `HTTP ${status}`;
}

/**
 * Clients that ask one after another until they are stopped, each on a connection of its own, opened again where it is
 * lost. `next(client)` gives `{ url, body, token }` and what belongs to it; an answer later than `patience` counts as none.
 */
export function clients({ count, next, patience = 15_000, pause = 0 }) {
  const answers = [];
  let stopped = false;
  const one = async (client) => {
    let connection;
    let to;
    while (!stopped) {
      const request = next(client);
      if (!connection || connection.isOver || to !== request.url) {
        connection?.close();
        connection = new Connection(request.url);
        to = request.url;
      }
      const asked = performance.now();
      let late;
      const deadline = new Promise((_, reject) => {
        late = setTimeout(() => reject(new Error('no answer')), patience);
      });
      let told;
      try {
        const answer = await Promise.race([connection.ask(request.body, request.token), deadline]);
        told = { as: outcome(answer), answer };
      } catch (error) {
        told = { as: error.code ?? (error.message === 'no answer' ? 'no answer' : 'cut') };
        connection.close();
        connection = undefined;
      }
      clearTimeout(late);
      const at = performance.now();
      answers.push({ ...request, body: undefined, as: told.as, asked, at, took: at - asked });
      // Nobody listens there: not a thousand times a second.
      if (!connection) await sleep(20);
      if (pause) await sleep(pause);
    }
    connection?.close();
  };
  const all = Promise.all(Array.from({ length: count }, (_, client) => one(client)));
  return {
    answers,
    stop: async () => {
      stopped = true;
      await all;
      return answers;
    },
  };
}

export const isGood = ({ as }) => as === 'ok';

/** How often each outcome came, the most frequent first. */
export function counted(answers) {
  const counts = new Map();
  for (const { as } of answers) counts.set(as, (counts.get(as) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([as, count]) => `${count.toLocaleString('en-US')} ${as}`).join(', ') || 'none';
}

/** A figure of which something is wanted. */
export const wanted = (what, value, ok) => ({ what, value: String(value), ok });
/** A figure that is only told. */
export const told = (what, value) => ({ what, value: String(value) });

/** There may be more of them than a call takes arguments. */
export const slowest = (answers) => answers.reduce((most, { took }) => Math.max(most, took), 0);
export const p99 = (answers) => percentile(answers.map(({ took }) => took).sort((a, b) => a - b), 0.99);
export const ms = (value) => `${Math.round(value).toLocaleString('en-US')} ms`;
export const seconds = (value) => `${(value / 1000).toFixed(1)} s`;

/** Waits for something, and gives the milliseconds that it took; throws after `limit`. */
export async function until(what, condition, limit = 60_000) {
  const began = performance.now();
  while (!(await condition())) {
    if (performance.now() - began > limit) throw new Error(`${what} takes longer than ${limit} ms`);
    await sleep(20);
  }
  return performance.now() - began;
}

/** `me` of the accounts in turns. */
export function asksMe(cardea, url) {
  const requests = cardea.requests('me');
  let at = 0;
  return () => {
    const [token, body] = requests[(at += 1) % requests.length];
    return { url, token, body };
  };
}

/** Changes of profiles: each client has an account of its own, and no two changes are the same. */
export function writesBios(cardea, url, more = '') {
  let number = 0;
  return (client) => {
    const { token, id } = cardea.accounts[200 + client];
    const bio = `Words ${(number += 1)}${more}`;
    return { url, token, body: bodyOf(operations.updateProfile.document, { bio }), id, bio };
  };
}

/** How many accounts had a change acknowledged, and how many of those do not have it, or a later one. */
export async function lostChanges(database, name, written) {
  const acknowledged = new Map(written.filter(isGood).map(({ id, bio }) => [id, bio]));
  let lost = 0;
  for (const [id, bio] of acknowledged) {
    const row = await database.psql(name, `SELECT bio FROM profiles WHERE user_id = '${id}'`);
    // What was not acknowledged may have been written all the same.
    const order = written.filter((one) => one.id === id).map((one) => one.bio);
    if (order.indexOf(row) < order.indexOf(bio)) lost += 1;
  }
  return wanted('acknowledged changes that were lost', lost, lost === 0 && acknowledged.size > 0);
}
