// Upgrades from one program to another under load, and back: node chaos/upgrade.mjs --old FILE --new FILE [--seconds N].
// Ends with 1 at the first request that fails in any phase.

import { parseArgs } from 'node:util';

import { Database } from '../bench/database.mjs';
import { bodyOf, operations } from '../bench/operations.mjs';
import { run, sleep } from '../bench/processes.mjs';
import { ask } from '../bench/systems.mjs';
import { Instance, clients, counted, filled, ms, p99, slowest } from './world.mjs';

const REGISTER =
  'mutation ($email: String!) { register(input: { email: $email, fullName: "Storm Petrel", password: "Quartz-Lantern-58" }) { errors { code } } }';
/** Both programs take these: hashes that cost little, so that there is time for everything else. */
const CHEAP = ['--argon2-memory-kib', '8', '--argon2-passes', '1'];

const { values: options } = parseArgs({
  options: { old: { type: 'string' }, new: { type: 'string' }, seconds: { type: 'string', default: '10' } },
});
if (!options.old || !options.new) throw new Error('--old and --new name the two programs');
const seconds = Number(options.seconds);

/** Everything that a front end does, on whichever servers are in `urls` at the moment. */
class Load {
  constructor(cardea, urls) {
    Object.assign(this, { cardea, urls, at: 0, traded: [], number: 0 });
    const fixed = Object.fromEntries(['me', 'page', 'updateProfile', 'login'].map((name) => [name, cardea.requests(name)]));
    const kinds = ['me', 'page', 'updateProfile', 'login', 'register'];
    this.asking = clients({
      count: 2 * kinds.length,
      pause: 10,
      next: (client) => {
        const what = kinds[client % kinds.length];
        const url = this.next();
        this.number += 1;
        if (what === 'register') return { what, url, body: bodyOf(REGISTER, { email: `storm${this.number}@example.com` }) };
        const [token, body] = fixed[what][this.number % fixed[what].length];
        return { what, url, token, body };
      },
    });
    this.trading = this.trade();
  }

  next() {
    return this.urls[(this.at += 1) % this.urls.length];
  }

  /** Sessions go from server to server: what one hands out, the other takes. */
  async trade() {
    const sessions = this.cardea.accounts.slice(-16).map(({ refreshToken }) => refreshToken);
    for (let turn = 0; !this.stopped; turn += 1) {
      const place = turn % sessions.length;
      const url = this.next();
      const asked = performance.now();
      let as = 'ok';
      try {
        const { refreshToken } = await ask(url, bodyOf(operations.refreshToken.document, { token: sessions[place] }));
        const { me } = await ask(this.next(), bodyOf('{ me { id } }'), refreshToken.result.accessToken);
        if (!me) as = 'nobody';
        sessions[place] = refreshToken.result.refreshToken;
      } catch (error) {
        as = error.message.slice(0, 200);
      }
      this.traded.push({ what: 'refreshToken', as, asked, took: performance.now() - asked });
      await sleep(50);
    }
  }

  async stop() {
    this.stopped = true;
    await Promise.all([this.asking.stop(), this.trading]);
  }

  /** What was answered since the last time that somebody asked this. */
  taken() {
    return [...this.asking.answers.splice(0), ...this.traded.splice(0)];
  }
}

const database = await Database.start();
let failed = 0;
try {
  const world = { database, binary: options.old, say: () => {} };
  const cardea = await filled(world, 'upgrade', 5000);
  const programs = { old: options.old, new: options.new };
  const server = (which) => new Instance({ ...cardea, binary: programs[which], env: cardea.env }, [...CHEAP, '--auto-migrate', 'false', '--inbox', 'false']);
  const before = server('old');
  await before.start();
  const load = new Load(cardea, [before.url]);
  const phase = async (name, servers, work) => {
    load.urls = servers.map(({ url }) => url);
    const began = performance.now();
    const said = await work?.();
    await sleep(Math.max(0, seconds * 1000 - (performance.now() - began)));
    const answers = load.taken();
    const bad = answers.filter(({ as }) => as !== 'ok');
    const kinds = new Set(answers.map(({ what }) => what));
    if (bad.length > 0 || kinds.size < 6) failed += 1;
    for (const one of servers) {
      const health = await fetch(one.url.replace('/graphql', '/health/ready'));
      if (!health.ok) {
        failed += 1;
        console.log(`  not ready: ${await health.text()}`);
      }
    }
    console.log(`${name}: ${said ?? ''}${answers.length} answers, p99 ${ms(p99(answers))}, slowest ${ms(slowest(answers))}; failed: ${bad.length}`);
    for (const what of kinds) {
      const wrong = bad.filter((one) => one.what === what);
      if (wrong.length > 0) console.log(`  ${what}: ${counted(wrong)}`);
    }
  };
  const leaves = async (one, others) => {
    load.urls = others.map(({ url }) => url);
    // What it was asked before is answered.
    await sleep(1000);
    await one.stop();
  };

  await phase('the old one on its own schema', [before]);
  await phase('the new one runs its migrations meanwhile', [before], async () => {
    const began = performance.now();
    const text = await run(options.new, ['migrate', 'up'], { env: cardea.env });
    return `${text.trim().split('\n').length} lines said in ${ms(performance.now() - began)}; `;
  });
  const after = server('new');
  await after.start();
  await phase('both together', [before, after]);
  const again = server('old');
  await again.start();
  await leaves(before, [after, again]);
  await leaves(after, [again]);
  await phase('back: an old one that was started on the new schema, alone', [again]);
  const last = server('new');
  await last.start();
  await leaves(again, [last]);
  await phase('the new one alone', [last]);
  await load.stop();
  console.log((await run(options.new, ['audit', 'verify'], { env: cardea.env })).split('\n')[0]);
  await last.stop();
} finally {
  database.stop();
}
console.log(failed === 0 ? 'The upgrade holds.' : `${failed} things failed.`);
process.exit(failed === 0 ? 0 : 1);
