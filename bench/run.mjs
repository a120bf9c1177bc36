#!/usr/bin/env node
// Starts everything, measures in turns, tells in tables. README.md beside this says what and why.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';

import { Database } from './database.mjs';
import { embeddedStart, growth, memory, overload, startUp } from './extras.mjs';
import { chained, measure, median, pgbench, writeRequests, wrk } from './load.mjs';
import { bodyOf, onCopy, operations, postgraphileDocuments, scripts } from './operations.mjs';
import { cpuSecondsOfTree, endAll, freePort, run, sleep, start } from './processes.mjs';
import { Cardea, Peer, ask, cardeaSettings, peers, plain, ready } from './systems.mjs';
import { goalTable, goals, operationTable, summary, writeBetweenMarks } from './table.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

const { values: given } = parseArgs({
  options: {
    accounts: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    warm: { type: 'string', default: '10' },
    connections: { type: 'string', default: '32' },
    threads: { type: 'string', default: '2' },
    workers: { type: 'string', default: '1' },
    pool: { type: 'string', default: '16' },
    requests: { type: 'string', default: '100000' },
    only: { type: 'string' },
    systems: { type: 'string' },
    binary: { type: 'string', default: join(root, 'target/release/cardea') },
    hello: { type: 'string', default: join(root, 'target/release/examples/hello') },
    json: { type: 'string' },
    growth: { type: 'boolean', default: false },
    large: { type: 'string', default: '1000000' },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (given.help) {
  console.log(readFileSync(new URL('README.md', import.meta.url), 'utf8'));
  process.exit(0);
}
const number = (name) => {
  const value = Number(given[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} wants a number, not ${given[name]}`);
  return value;
};
const [accounts, rounds, seconds, warm, connections, threads, workers, pool] = [
  'accounts', 'rounds', 'seconds', 'warm', 'connections', 'threads', 'workers', 'pool',
].map(number);
const load = { connections, threads };
const only = given.only?.split(',');
const known = [...Object.keys(operations), 'overload', 'memory', 'start'];
const unknown = only?.find((name) => !known.includes(name));
if (unknown) throw new Error(`--only knows ${known.join(', ')}; not ${unknown}`);
const wanted = (name) => !only || only.includes(name);
const wantedSystem = (name) => !given.systems || given.systems.split(',').some((one) => name.startsWith(one));
const say = (text) => process.stderr.write(`${text}\n`);

/** Waits until what a run left behind is done, such as chaining its entries in the audit trail. */
async function settle(pids, database) {
  const used = () => pids.reduce((sum, pid) => sum + cpuSecondsOfTree(pid), database.cpu());
  for (let turn = 0; turn < 200; turn += 1) {
    const before = used();
    await sleep(300);
    if (used() - before < 0.03) return;
  }
}

/** The same data from every peer as from Cardea, or an error. */
async function compareAnswers(cardea, started) {
  for (const operation of ['me', 'page']) {
    if (!wanted(operation)) continue;
    const requests = cardea.requests(operation).slice(0, 5);
    for (const peer of started) {
      const document = documentFor(peer.name, operation);
      const theirs = cardea.requests(operation, { document }).slice(0, 5);
      for (const [at, [token, body]] of requests.entries()) {
        const [expected, answered] = [await ask(cardea.url, body, token), await ask(peer.url, theirs[at][1], token)];
        const [ours, its] = [plain(operation, expected), plain(operation, answered)];
        if (!isDeepStrictEqual(ours, its)) {
          throw new Error(`${peer.name} answers ${operation} otherwise:\n${JSON.stringify(ours).slice(0, 1500)}\n${JSON.stringify(its).slice(0, 1500)}`);
        }
      }
    }
  }
  // Nobody is let in without a good token.
  for (const peer of started) {
    const data = await ask(peer.url, bodyOf(operations.me.document), `${cardea.accounts[0].token.slice(0, -8)}AAAAAAAA`).catch(() => ({ me: null }));
    if (data.me) throw new Error(`${peer.name} lets a forged token in`);
  }
}

const documentFor = (system, operation) =>
  (system === 'postgraphile' && postgraphileDocuments[operation]) || operations[operation].document;

/** The systems that an operation is measured with, each as a function that runs it for some seconds. */
function systemsFor(operation, { cardea, started, database, hello }) {
  const systems = new Map();
  const http = (name, { url, pid }, requests) => {
    const file = join(database.dir, `${operation}-${name.replaceAll(/\W+/g, '-')}.txt`);
    const again = () => {
      const now = requests();
      writeRequests(file, now);
      return now;
    };
    systems.set(name, (length) => {
      const sampled = again();
      // Only what may be asked beside the load: no writes, and nothing that is no GraphQL.
      const sampling = operations[operation].writes || sampled[0][1] === '' ? undefined : { url, requests: sampled };
      return measure(() => wrk({ url, file, ...load, seconds: length, expected: operations[operation].expected }), { database, pid, sampling });
    });
  };
  const sql = Object.entries(scripts[operation] ?? {});
  for (const [name, script] of sql) {
    const target = onCopy(operation, name) ? 'copy' : cardea.name;
    systems.set(name, (length) => measure(() => pgbench({ database, name: target, script, ...load, seconds: length }), { database }));
  }
  if (operation === 'typename') {
    const floor = hello ?? { url: `http://127.0.0.1:${cardea.port}/health/live`, pid: cardea.pid };
    http(hello ? 'axum hello' : 'GET /health/live', floor, () => [[null, '']]);
  }
  for (const trusted of [false, true]) {
    const name = trusted ? 'cardea, trusted' : 'cardea';
    if (operation !== 'refreshToken') {
      http(name, cardea, () => cardea.requests(operation, { trusted }));
      continue;
    }
    systems.set(name, async (length) => {
      // An hour's worth for each session, and another one for each run; the limit is counted all the same.
      await database.psql(cardea.name, 'DELETE FROM rate_limits');
      const client = cardea.refreshing(connections, trusted);
      return measure(() => chained({ url: cardea.url, connections, seconds: length, ...client }), { database, pid: cardea.pid });
    });
  }
  if (operation === 'login' && cardea.hasArgon2) {
    systems.set('argon2', (length) => measure(() => argon2(cardea, length), { database }));
  }
  if (!operations[operation].writes) {
    for (const peer of started) http(peer.name, peer, () => cardea.requests(operation, { document: documentFor(peer.name, operation) }));
  }
  for (const name of systems.keys()) if (!wantedSystem(name)) systems.delete(name);
  return systems;
}

/** `cardea bench argon2`: as many hashes as the cores make, with the parameters of the server. */
async function argon2(cardea, length) {
  const text = await run(cardea.binary, ['bench', 'argon2', '--seconds', `${length}`], { env: cardea.env });
  const [, hashes, rate, p50, p99] = /(\d+) hashes, ([\d.]+) a second, p50 ([\d.]+) ms, p99 ([\d.]+) ms/.exec(text).map(Number);
  return { rate, p50, p99, errors: 0, requests: hashes };
}

async function measureAll(context) {
  const { cardea, started, database, hello } = context;
  const names = Object.keys(operations).filter(wanted);
  const bySystem = new Map(names.map((operation) => [operation, systemsFor(operation, context)]));
  const runs = {};
  const pids = () => [cardea.pid, ...started.map((one) => one.pid), ...(hello ? [hello.pid] : [])];
  for (let round = 0; round <= rounds; round += 1) {
    for (const operation of names) {
      // Each round begins with another system.
      const systems = [...bySystem.get(operation)];
      const turned = [...systems.slice(round % systems.length), ...systems.slice(0, round % systems.length)];
      for (const [name, runFor] of turned) {
        await cardea.signIn();
        await settle(pids(), database);
        const told = await runFor(round === 0 ? warm : seconds);
        if (round === 0) continue;
        ((runs[operation] ??= {})[name] ??= []).push(told);
        say(`round ${round}, ${operation}, ${name}: ${Math.round(told.rate)}/s, p50 ${told.p50.toFixed(2)} ms${told.errors ? `, ${told.errors} ERRORS ${told.example ?? ''}` : ''}`);
      }
      if (round === 0) say(`warmed up: ${operation}`);
    }
  }
  const results = {};
  for (const operation of names) {
    results[operation] = {};
    for (const name of bySystem.get(operation).keys()) results[operation][name] = summary(runs[operation][name]);
  }
  return results;
}

/** What ran, on what. */
async function about(cardea, database, started) {
  const git = (args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim();
  const model = /model name\s*: (.*)/.exec(existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'latin1') : '')?.[1];
  const lock = JSON.parse(readFileSync(new URL('peers/package-lock.json', import.meta.url), 'utf8')).packages;
  const version = (name) => lock[`node_modules/${name}`].version;
  const peerVersions = { postgraphile: `PostGraphile ${version('postgraphile')}`, mercurius: `Mercurius ${version('mercurius')}`, apollo: `Apollo Server ${version('@apollo/server')}` };
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: git(['rev-parse', '--short', 'HEAD']),
    cores: cpus().length,
    processor: model,
    cardea: await cardea.version(),
    postgresql: await database.version(),
    disk: spawnSync('stat', ['-f', '-c', '%T', database.dir], { encoding: 'utf8' }).stdout?.trim(),
    wrk: /wrk (\S+)/.exec(spawnSync('wrk', ['-v'], { encoding: 'utf8' }).stdout)?.[1],
    node: process.version,
    peers: started.map((peer) => peerVersions[peer.name]),
  };
}

function aboutText(facts) {
  const settings = Object.entries(cardeaSettings).map(([flag, [value, why]]) => `\`${flag} ${value}\` (${why})`);
  return `${facts.date}, commit ${facts.commit}: ${facts.cardea}, PostgreSQL ${facts.postgresql}, ${[`wrk ${facts.wrk}`, `Node ${facts.node}`, ...facts.peers].join(', ')}, on
${facts.cores} cores (${facts.processor ?? 'unknown'}) that server, database and client share.
${accounts.toLocaleString('en-US')} accounts, ${connections} connections, medians of ${rounds} run${rounds > 1 ? 's' : ''} of ${seconds} s each, taken in turns. Cores are what a part kept busy; others are programs that have nothing to do with it.
PostgreSQL with its own settings but \`max_connections\`, so with fsync, on ${facts.disk}; pool of ${pool} for Cardea and each peer, ${workers} process${workers > 1 ? 'es' : ''} for each peer.
Cardea with its own settings but ${settings.join(', ')}.`;
}

async function main() {
  if (!existsSync(given.binary)) throw new Error(`${given.binary} is not there: cargo build --release, or --binary`);
  const database = await Database.start();
  say(`PostgreSQL on port ${database.port}`);
  const cardea = new Cardea(resolve(given.binary), database, 'cardea');
  await cardea.fill(accounts);
  await cardea.start(['--database-pool-size', `${pool}`]);
  cardea.hasArgon2 = spawnSync(cardea.binary, ['bench', 'argon2', '--help']).status === 0;
  await cardea.signIn();
  await cardea.stop();
  // Taken while nobody is connected: what pgbench writes, no server looks at.
  await database.psql('postgres', `CREATE DATABASE copy OWNER cardea TEMPLATE ${cardea.name}`, 'postgres');
  await database.psql('copy', 'VACUUM (ANALYZE)', 'postgres');
  await cardea.start(['--database-pool-size', `${pool}`]);
  // Tokens name their issuer, and the port is another one now.
  cardea.signedInAt = undefined;
  await cardea.signIn();

  const started = [];
  if (['me', 'page', 'typename'].some(wanted)) {
    for (const name of peers().filter(wantedSystem)) {
      if (!existsSync(new URL('peers/node_modules', import.meta.url))) throw new Error('bench/peers wants `npm ci` first');
      const peer = new Peer(name);
      await peer.start(cardea, { workers, pool });
      started.push(peer);
    }
    await compareAnswers(cardea, started);
    if (started.length > 0) say(`${started.map((one) => one.name).join(', ')} answer as Cardea does`);
  }
  const hello = wanted('typename') && existsSync(given.hello) ? await startHello() : undefined;

  const results = await measureAll({ cardea, started, database, hello });
  for (const peer of started) await peer.stop();
  const extras = await measureExtras(cardea, database, results);
  const facts = await about(cardea, database, started);
  const judged = goals(results, extras.goals);
  const parts = [aboutText(facts)];
  for (const operation of Object.keys(results)) {
    parts.push(`### \`${operation}\`\n\n\`\`\`graphql\n${operations[operation].document}\n\`\`\`\n\n${operationTable(results, operation)}`);
  }
  if (extras.lines.length > 0) parts.push(`### Start, memory, overload\n\n${extras.lines.map((line) => `- ${line}`).join('\n')}`);
  if (extras.growth) parts.push(`### Growth\n\n${extras.growth}`);
  parts.push(`### Goals\n\n${goalTable(judged)}`);
  const text = parts.join('\n\n');
  console.log(text);
  if (given.json) writeFileSync(given.json, `${JSON.stringify({ facts, given, results, extras: extras.told, goals: judged }, null, 2)}\n`);
  if (given.write) writeBetweenMarks(join(root, 'docs/PERFORMANCE.md'), text);
}

/** What is no throughput: as lines to read, as goals, and as it is. */
async function measureExtras(cardea, database, results) {
  const [lines, judged, told] = [[], [], {}];
  const ms = (value) => `${Math.round(value)} ms`;
  if (wanted('overload')) {
    const file = join(database.dir, 'capacity.txt');
    writeRequests(file, cardea.requests('login'));
    const capacity = results.login?.cardea?.rate ?? (await wrk({ url: cardea.url, file, ...load, connections: 8, seconds: 3 })).rate;
    const is = (told.overload = await overload(cardea, { seconds, capacity, say }));
    lines.push(
      `${is.rate} sign-ins a second, four times as many as the server takes: ${is.signedIn} signed in, the slowest in ${ms(is.slowestSignIn)}; ${is.refused} ${is.kinds.join(', ') || 'refused'}${is.refused > 0 ? `, the slowest in ${ms(is.slowestRefusal)}` : ''}. p99 of \`me\`, 100 a second: ${is.me.idle.toFixed(1)} ms before, ${is.me.busy.toFixed(1)} ms beside it.`,
    );
    judged.push({ goal: 'overload: slowest refusal', is: is.refused > 0 ? is.slowestRefusal : null, most: 2000, unit: ' ms' });
    judged.push({ goal: 'overload: p99 of `me`, × idle', is: is.me.busy / is.me.idle, most: 2 });
  }
  if (wanted('memory')) {
    await cardea.stop();
    await cardea.start(['--database-pool-size', `${pool}`]);
    cardea.signedInAt = undefined;
    await cardea.signIn();
    const is = (told.memory = await memory(cardea, { requests: number('requests'), load, say }));
    const permits = (cpus().length * 19456) / 1024;
    lines.push(
      `Memory: ${Math.round(is.before)} MiB after a start and 257 sign-ins, ${Math.round(is.after)} MiB after ${is.requests.toLocaleString('en-US')} mixed requests more (${is.errors} errors); ${permits} MiB of it are argon2's, 19 for each of its threads.`,
    );
    judged.push({ goal: `RSS after ${is.requests.toLocaleString('en-US')} requests, beside argon2's`, is: is.after - permits, most: 64, unit: ' MiB' });
  }
  if (wanted('start')) {
    const times = (told.start = await startUp(cardea));
    lines.push(`Ready after ${ms(median(times))} on the database that is there (median of ${times.length}, ${ms(Math.min(...times))} to ${ms(Math.max(...times))}).`);
    judged.push({ goal: 'ready after', is: median(times), most: 200, unit: ' ms' });
    const first = (told.firstStart = await embeddedStart(cardea));
    lines.push(`Ready after ${ms(median(first))} where it makes a database of its own (median of ${first.length}).`);
    judged.push({ goal: 'first start with a database of its own', is: median(first), most: 3000, unit: ' ms' });
  }
  let table;
  if (given.growth) {
    await cardea.stop();
    const [small, large] = [10_000, number('large')];
    const is = (told.growth = await growth(cardea.binary, database, { sizes: [small, large], rounds, seconds, load, pool, say }));
    const head = `| request | p50 ms at ${small.toLocaleString('en-US')} | p50 ms at ${large.toLocaleString('en-US')} | ratio |\n|---|--:|--:|--:|`;
    const rows = is.filter((one) => one.accounts === small).map((one) => {
      const { p50 } = is.find((other) => other.accounts === large && other.name === one.name);
      judged.push({ goal: `growth: p50 of ${one.name}, × that of ${small.toLocaleString('en-US')} accounts`, is: p50 / one.p50, most: 1.2 });
      return `| ${one.name} | ${one.p50.toFixed(2)} | ${p50.toFixed(2)} | ${(p50 / one.p50).toFixed(2)} |`;
    });
    table = [head, ...rows].join('\n');
  }
  return { lines, goals: judged, told, growth: table };
}

async function startHello() {
  const port = await freePort();
  const program = start(given.hello, [`127.0.0.1:${port}`]);
  const url = `http://127.0.0.1:${port}/`;
  await ready(program, url);
  return { url, pid: program.pid };
}

main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    endAll();
    process.exit(1);
  },
);
