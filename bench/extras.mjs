// What is no throughput: how soon a server is ready, what it keeps in memory, what overload does, what growth costs.

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { median, percentile, steady, writeRequests, wrk } from './load.mjs';
import { bodyOf, pageAfter } from './operations.mjs';
import { freePort, onEnd, rssOf, sleep, start } from './processes.mjs';
import { Cardea, ask, ready } from './systems.mjs';

/** Milliseconds from the start to the first answer of /health/ready, on the database that is there. */
export async function startUp(cardea, times = 5) {
  const taken = [];
  for (let time = 0; time < times; time += 1) {
    await cardea.stop();
    taken.push(await cardea.start());
  }
  return taken;
}

/** The same where there is nothing: Cardea makes a database of its own. */
export async function embeddedStart(cardea, times = 3) {
  const taken = [];
  for (let time = 0; time < times; time += 1) {
    const dir = mkdtempSync(join(tmpdir(), 'bench-embedded-'));
    chmodSync(dir, 0o755);
    onEnd(() => rmSync(dir, { recursive: true, force: true }));
    const port = await freePort();
    const env = { DATABASE_URL: undefined, CARDEA_DATA_DIR: join(dir, 'data'), CARDEA_POSTGRES_BIN_DIR: cardea.database.bin };
    const began = performance.now();
    const program = start(cardea.binary, ['--listen', `127.0.0.1:${port}`], { env });
    await ready(program, `http://127.0.0.1:${port}/health/ready`, 60_000);
    taken.push(performance.now() - began);
    await program.stop();
    rmSync(dir, { recursive: true, force: true });
  }
  return taken;
}

/** Memory before and after many mixed requests: mostly `me`, some writes, a page and a sign-in now and then. */
export async function memory(cardea, { requests, load, say }) {
  const [me, typename, update, page, login] = ['me', 'typename', 'updateProfile', 'page', 'login'].map((one) => cardea.requests(one));
  const mixed = Array.from({ length: 1000 }, (_, at) => {
    if (at % 200 === 0) return page[0];
    if (at % 200 === 100) return login[(at / 100) % login.length];
    if (at % 10 === 1) return typename[0];
    if (at % 10 === 2) return update[at % update.length];
    return me[at % me.length];
  });
  const file = join(cardea.database.dir, 'mixed.txt');
  writeRequests(file, mixed);
  const before = rssOf(cardea.pid);
  let [done, errors] = [0, 0];
  while (done < requests) {
    const told = await wrk({ url: cardea.url, file, ...load, seconds: 10 });
    done += told.requests;
    errors += told.errors;
    say(`memory: ${done.toLocaleString('en-US')} requests, ${Math.round(rssOf(cardea.pid))} MiB`);
    if (told.requests === 0) throw new Error('no request is answered');
  }
  await sleep(2000);
  return { requests: done, errors, before, after: rssOf(cardea.pid) };
}

/** Sign-ins at four times what the server can take, with `me` beside it at a steady rate. */
export async function overload(cardea, { seconds, capacity, say }) {
  const me = cardea.requests('me');
  const login = cardea.requests('login');
  const askMe = { url: cardea.url, rate: 100, seconds, next: (at) => ({ token: me[at % me.length][0], body: me[at % me.length][1] }) };
  const rate = Math.ceil(4 * capacity);
  // Once unmeasured, so that sessions are remembered and connections open.
  await steady({ ...askMe, seconds: 3 });
  const idle = await steady(askMe);
  const flood = steady({
    url: cardea.url,
    rate,
    seconds: seconds + 1,
    next: (at) => ({ body: login[at % login.length][1] }),
    took: ({ status, body }) => (body.includes('"SignedIn"') ? 'signed in' : `refused with ${/"code":"(\w+)"/.exec(body)?.[1] ?? status}`),
  });
  // Until the queue is full.
  await sleep(1000);
  const busy = await steady(askMe);
  const logins = await flood;
  const p99 = (told) => percentile(told.map(({ took }) => took).sort((a, b) => a - b), 0.99);
  const signedIn = logins.filter(({ as }) => as === 'signed in');
  const refused = logins.filter(({ as }) => as !== 'signed in');
  const kinds = [...new Set(refused.map(({ as }) => as))];
  say(`overload: ${signedIn.length} signed in, ${refused.length} ${kinds.join(', ')}`);
  return {
    rate,
    signedIn: signedIn.length,
    refused: refused.length,
    kinds,
    slowestRefusal: Math.max(0, ...refused.map(({ took }) => took)),
    slowestSignIn: Math.max(0, ...signedIn.map(({ took }) => took)),
    me: { idle: p99(idle), busy: p99(busy) },
  };
}

/** The cursor at the end of a page, without reading anything personal on the way. */
async function cursorAfter(cardea, pages) {
  const document = 'query ($after: String) { users(first: 100, after: $after) { pageInfo { endCursor } } }';
  let after = null;
  for (let page = 0; page < pages; page += 1) {
    const { users } = await ask(cardea.url, bodyOf(document, { after }), cardea.administrator.token);
    after = users.pageInfo.endCursor;
  }
  return after;
}

/** p50 of the same requests on a small and on a large database, in turns. */
export async function growth(binary, database, { sizes, rounds, seconds, load, pool, say }) {
  const measured = [];
  for (const accounts of sizes) {
    const cardea = new Cardea(binary, database, `growth_${accounts}`);
    say(`growth: ${accounts.toLocaleString('en-US')} accounts`);
    await cardea.fill(accounts);
    await cardea.start(['--database-pool-size', `${pool}`]);
    await cardea.signIn();
    // The 2,000th page, or the one in the middle where there are less.
    const deep = Math.min(2000, accounts / 200);
    const after = await cursorAfter(cardea, deep - 1);
    const token = cardea.administrator.token;
    const requests = {
      me: cardea.requests('me'),
      'page 1': [[token, bodyOf(pageAfter)]],
      'page 2,000': [[token, bodyOf(pageAfter, { after })]],
    };
    for (const [name, list] of Object.entries(requests)) {
      const file = join(database.dir, `growth-${accounts}-${name.replaceAll(/\W+/g, '-')}.txt`);
      writeRequests(file, list);
      measured.push({ accounts, name, file, url: cardea.url, page: deep, runs: [] });
    }
  }
  for (let round = 0; round <= rounds; round += 1) {
    for (const one of measured) {
      const told = await wrk({ url: one.url, file: one.file, ...load, seconds });
      if (round > 0) one.runs.push(told);
      if (told.errors > 0) say(`growth: ${told.errors} ERRORS of ${one.name}`);
    }
  }
  return measured.map(({ accounts, name, runs }) => ({
    accounts,
    name,
    rate: median(runs.map((run) => run.rate)),
    p50: median(runs.map((run) => run.p50)),
  }));
}
