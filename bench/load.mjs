// What drives the servers: wrk, pgbench, and a small client of our own where a request needs the answer before.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { cpuSeconds, cpuSecondsOfAll, cpuSecondsOfTree, rssOf, run } from './processes.mjs';

const lua = fileURLToPath(new URL('wrk.lua', import.meta.url));

export function percentile(sorted, share) {
  return sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

/** Writes requests, pairs of token (or null) and body, to a file that wrk reads. */
export function writeRequests(file, requests) {
  writeFileSync(file, requests.map(([token, body]) => `${token ?? '-'}\t${body}\n`).join(''));
}

/** wrk: keeps `connections` busy with the requests of a file. Times in milliseconds. */
export async function wrk({ url, file, connections, seconds, threads, expected }) {
  const args = [`-c${connections}`, `-t${threads}`, `-d${seconds}s`, '--timeout', '10s', '-s', lua, url, '--', file];
  if (expected) args.push(expected);
  const told = JSON.parse((await run('wrk', args)).trim().split('\n').pop());
  const took = told.microseconds / 1e6;
  return {
    rate: (told.requests - told.refused) / took,
    p50: told.p50 / 1000,
    p99: told.p99 / 1000,
    errors: told.refused + told.broken,
    requests: told.requests,
  };
}

/** pgbench with one script and prepared statements. One transaction in ten is logged for the percentiles. */
export async function pgbench({ database, name, script, connections, seconds, threads }) {
  const file = join(database.dir, 'script.sql');
  const prefix = join(database.dir, `times-${process.hrtime.bigint()}`);
  writeFileSync(file, script);
  const variables = ['chosen=0', 'odd=0'].flatMap((one) => ['-D', one]);
  const where = ['-h', '127.0.0.1', '-p', `${database.port}`, '-U', 'cardea', name];
  const sampled = ['--log', '--sampling-rate=0.1', `--log-prefix=${prefix}`];
  const how = ['-n', '-M', 'prepared', `-c${connections}`, `-j${threads}`, `-T${seconds}`, '-f', file];
  const text = await run(join(database.bin, 'pgbench'), [...how, ...sampled, ...variables, ...where]);
  const number = (pattern) => Number(pattern.exec(text)?.[1] ?? NaN);
  const times = readdirSync(database.dir)
    .filter((one) => join(database.dir, one).startsWith(prefix))
    .flatMap((one) => readFileSync(join(database.dir, one), 'latin1').trim().split('\n'))
    .map((line) => Number(line.split(' ')[2]) / 1000)
    .sort((a, b) => a - b);
  return {
    rate: number(/tps = ([\d.]+)/),
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    errors: number(/number of failed transactions: (\d+)/) || 0,
    requests: number(/transactions actually processed: (\d+)/),
  };
}

/** One connection that is kept: asks, and waits for the answer. Reads what our servers send, no more. */
export class Connection {
  #waiting = null;
  #received = [];
  #length = 0;
  #last = false;

  /** Whether the other side has closed it, or has said that it will. */
  get isOver() {
    return this.#last || this.socket.destroyed;
  }

  constructor(url) {
    const { hostname, port, pathname } = new URL(url);
    this.path = pathname;
    this.host = `${hostname}:${port}`;
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.socket.on('data', (chunk) => this.#take(chunk));
    this.socket.on('error', (error) => this.#waiting?.reject(error));
    this.socket.on('close', () => this.#waiting?.reject(new Error('the connection was closed')));
  }

  ask(body, token) {
    const authorization = token ? `authorization: Bearer ${token}\r\n` : '';
    const head = `POST ${this.path} HTTP/1.1\r\nhost: ${this.host}\r\ncontent-type: application/json\r\n${authorization}content-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.socket.write(head + body);
    });
  }

  #take(chunk) {
    this.#received.push(chunk);
    this.#length += chunk.length;
    const all = this.#received.length === 1 ? chunk : Buffer.concat(this.#received);
    const end = all.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = all.toString('latin1', 0, end);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (this.#length < end + 4 + length) return;
    this.#received = [];
    this.#length = 0;
    this.#last = /\r\nconnection: *close/i.test(head);
    const { resolve } = this.#waiting;
    this.#waiting = null;
    resolve({ status: Number(head.slice(9, 12)), body: all.toString('utf8', end + 4, end + 4 + length) });
  }

  close() {
    this.#waiting = null;
    this.socket.destroy();
  }
}

/** Keeps `connections` busy with what `next(number)` asks and `took(number, answer)` takes; the latter tells whether it is right. */
export async function chained({ url, connections, seconds, next, took }) {
  const until = performance.now() + seconds * 1000;
  const began = performance.now();
  const times = [];
  let errors = 0;
  await Promise.all(
    Array.from({ length: connections }, async (_, number) => {
      const connection = new Connection(url);
      while (performance.now() < until) {
        const asked = performance.now();
        const answer = await connection.ask(next(number));
        times.push(performance.now() - asked);
        if (!took(number, answer)) errors += 1;
      }
      connection.close();
    }),
  );
  const elapsed = (performance.now() - began) / 1000;
  times.sort((a, b) => a - b);
  return {
    rate: (times.length - errors) / elapsed,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
    errors,
    requests: times.length,
  };
}

/** Asks at a steady rate, however long the answers take; gives each answer's time and what `took` says of it. */
export async function steady({ url, rate, seconds, next, took = () => 'answered' }) {
  const idle = [];
  const told = [];
  const under = [];
  const began = performance.now();
  for (let number = 0; number < rate * seconds; number += 1) {
    const due = began + (number * 1000) / rate;
    const wait = due - performance.now();
    if (wait > 0.5) await new Promise((resolve) => setTimeout(resolve, wait));
    const connection = idle.pop() ?? new Connection(url);
    const { body, token } = next(number);
    const asked = Math.max(due, performance.now() - 1);
    under.push(
      connection
        .ask(body, token)
        .then((answer) => {
          told.push({ took: performance.now() - asked, as: took(answer) });
          idle.push(connection);
        })
        .catch(() => told.push({ took: performance.now() - asked, as: 'broken' })),
    );
  }
  await Promise.all(under);
  for (const connection of idle) connection.close();
  return told;
}

/** Asks now and then while a load runs, and counts the answers that are not as they should be. */
function sample(url, requests, right) {
  let stopped = false;
  const counts = { sampled: 0, wrong: 0, example: undefined };
  const loop = (async () => {
    const connection = new Connection(url);
    for (let at = 0; !stopped; at = (at + 7) % requests.length) {
      const answer = await connection.ask(requests[at][1], requests[at][0]).catch((error) => ({ status: 0, body: String(error) }));
      counts.sampled += 1;
      if (!right(answer)) {
        counts.wrong += 1;
        counts.example ??= answer.body.slice(0, 300);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    connection.close();
  })();
  return async () => {
    stopped = true;
    await loop;
    return counts;
  };
}

const withoutErrors = ({ status, body }) =>
  status === 200 && !body.includes('"message"') && (!body.includes('"errors":[') || body.includes('"errors":[]'));

/** Runs a load and measures beside it what server, database, client and everybody else kept busy of the processors. */
export async function measure(load, { database, pid, sampling }) {
  const used = () => ({
    server: pid ? cpuSecondsOfTree(pid) : 0,
    database: database.cpu(),
    client: cpuSeconds(process.pid),
    all: cpuSecondsOfAll(),
  });
  const [clock, before] = [performance.now(), used()];
  const sampled = sampling && sample(sampling.url, sampling.requests, withoutErrors);
  const told = await load();
  const samples = await sampled?.();
  const [elapsed, after] = [(performance.now() - clock) / 1000, used()];
  const cores = (part) => Math.max(0, (after[part] - before[part]) / elapsed);
  const [server, inDatabase, client] = ['server', 'database', 'client'].map(cores);
  return {
    ...told,
    errors: told.errors + (samples?.wrong ?? 0),
    example: samples?.example,
    cores: { server: pid ? server : null, database: inDatabase, client, others: Math.max(0, cores('all') - server - inDatabase - client) },
    rss: pid ? rssOf(pid) : null,
  };
}
