// Lets things go wrong, and says what came of it: node chaos/run.mjs [--binary FILE] [--only NAMES] [--write].

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { Database } from '../bench/database.mjs';
import * as faults from './faults.mjs';
import * as machine from './machine.mjs';
import * as restore from './restore.mjs';
import * as several from './several.mjs';
import { repository } from './world.mjs';

/** In this order, with what each is called in the document. */
const titles = {
  kill9: 'The server is killed (`SIGKILL`) twenty times while people register',
  worker: 'A worker dies in the middle of a mail',
  database: 'PostgreSQL is killed under load, and comes back after five seconds',
  pool: 'A table is locked, and the pool of connections is used up',
  disk: 'The disk of PostgreSQL is full',
  clock: 'The clock of the server jumps',
  slow: 'Clients send as little as they can',
  idle: 'Ten thousand connections are idle',
  rolling: 'Two servers behind nginx are started anew in turns, under load',
  failover: 'The database dies, and the one that follows it takes its place',
  dump: 'A dump that was taken under load is restored into an empty cluster',
  pitr: 'A quarter of the accounts is deleted by mistake, and the database brought back to the moment before',
};

const { values: options } = parseArgs({
  options: {
    binary: { type: 'string', default: join(repository, 'target/release/cardea') },
    only: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const say = (line) => process.stderr.write(`${line}\n`);
const names = options.only?.split(',') ?? Object.keys(titles);
const unknown = names.filter((name) => !(name in titles));
if (unknown.length > 0) throw new Error(`there are only ${Object.keys(titles).join(', ')}`);

function keep(name, section) {
  const file = join(repository, 'docs/RELIABILITY.md');
  const text = readFileSync(file, 'utf8');
  const place = new RegExp(`<!-- ${name} -->[^]*?<!-- /${name} -->`);
  if (!place.test(text)) throw new Error(`docs/RELIABILITY.md has no place for ${name}`);
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: repository, encoding: 'utf8' }).stdout.trim();
  const today = new Date().toISOString().slice(0, 10);
  const kept = text
    .replace(place, () => `<!-- ${name} -->\n${section}<!-- /${name} -->`)
    .replace(/<!-- when -->.*?<!-- \/when -->/, `<!-- when -->${today}, commit ${commit}<!-- /when -->`);
  writeFileSync(file, kept);
}

let failed = 0;
for (const name of names) {
  say(`${name}: ${titles[name]}`);
  const database = await Database.start();
  try {
    const figures = await { ...faults, ...machine, ...several, ...restore }[name]({ binary: options.binary, database, say });
    const rows = figures.map(({ what, value, ok }) => {
      if (ok === false) failed += 1;
      return `| ${what} | ${value} | ${ok === undefined ? '' : ok ? 'as wanted' : '**not as wanted**'} |`;
    });
    const command = `\`node chaos/run.mjs --only ${name}\``;
    const section = [`### ${titles[name]}`, '', command, '', '| what | figure | |', '|---|---|---|', ...rows, ''].join('\n');
    console.log(section);
    // Each by itself: a run that is broken off keeps what it has.
    if (options.write) keep(name, section);
  } finally {
    database.stop();
  }
}

say(failed === 0 ? 'everything is as wanted' : `${failed} figures are not as wanted`);
process.exit(failed === 0 ? 0 : 1);
