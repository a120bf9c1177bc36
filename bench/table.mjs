// Medians of the runs, ratios between the systems, and the tables that tell them.

import { readFileSync, writeFileSync } from 'node:fs';

import { median } from './load.mjs';

/** The runs of one system with one operation as one row. */
export function summary(runs) {
  const of = (pick) => {
    const values = runs.map(pick).filter((value) => value !== null && value !== undefined);
    return values.length > 0 ? median(values) : null;
  };
  return {
    rate: of((run) => run.rate),
    p50: of((run) => run.p50),
    p99: of((run) => run.p99),
    cores: {
      server: of((run) => run.cores.server),
      database: of((run) => run.cores.database),
      client: of((run) => run.cores.client),
      others: of((run) => run.cores.others),
    },
    rss: runs.some((run) => run.rss) ? Math.max(...runs.map((run) => run.rss ?? 0)) : null,
    requests: runs.reduce((sum, run) => sum + run.requests, 0),
    errors: runs.reduce((sum, run) => sum + run.errors, 0),
    example: runs.find((run) => run.example)?.example,
    rates: runs.map((run) => Math.round(run.rate)),
  };
}

const whole = (value) => Math.round(value).toLocaleString('en-US');
const short = (value, digits = 2) => (value === null || !Number.isFinite(value) ? '' : value.toFixed(digits));

/** Of two systems that ran in the same rounds: the median of the rounds' ratios. */
export function ratio(results, operation, one, other) {
  const a = results[operation]?.[one]?.rates;
  const b = results[operation]?.[other]?.rates;
  if (!a || !b) return null;
  return median(a.map((rate, round) => rate / b[round]));
}

/** The table of one operation. */
export function operationTable(results, operation) {
  const systems = Object.keys(results[operation]);
  const lines = [
    '| system | requests/s | × pgbench | Cardea × it | p50 ms | p99 ms | cores: server, database, client, others | RSS MiB | errors |',
    '|---|--:|--:|--:|--:|--:|---|--:|--:|',
  ];
  for (const system of systems) {
    const row = results[operation][system];
    const cores = ['server', 'database', 'client', 'others'].map((part) => short(row.cores[part]) || '–').join(', ');
    const toPgbench = system === 'pgbench' ? null : ratio(results, operation, system, 'pgbench');
    const toCardea = system.startsWith('cardea') ? null : ratio(results, operation, 'cardea', system);
    lines.push(
      `| ${system} | ${whole(row.rate)} | ${short(toPgbench)} | ${short(toCardea)} | ${short(row.p50)} | ${short(row.p99)} | ${cores} | ${row.rss ? Math.round(row.rss) : ''} | ${row.errors} |`,
    );
  }
  return lines.join('\n');
}

/** Goals as ratios of one run: operation, system, what it is compared to, and the least that is wanted. */
const GOALS = ['cardea', 'cardea, trusted'].flatMap((system) => [
  ['me', system, 'pgbench', 0.75],
  ['me', system, 'pgbench, role ids', 0.75],
  ['me', system, 'postgraphile', 8],
  ['me', system, 'mercurius', 8],
  ['me', system, 'apollo', 8],
  ['page', system, 'pgbench', 0.65],
  ['page', system, 'pgbench, role ids', 0.65],
  ['page', system, 'postgraphile', 3],
  ['page', system, 'mercurius', 4],
  ['page', system, 'apollo', 8],
  ['updateProfile', system, 'pgbench', 0.5],
  ['refreshToken', system, 'pgbench', 0.5],
  ['login', system, 'argon2', 0.95],
]);

/** Each goal that was measured: its name, what it wants, what there is, and whether it is met. */
export function goals(results, others) {
  const judged = [];
  for (const [operation, system, other, least] of GOALS) {
    const is = ratio(results, operation, system, other);
    if (is !== null) judged.push({ goal: `\`${operation}\`, ${system}, × ${other}`, wanted: `≥ ${least}`, is: short(is), met: is >= least });
  }
  for (const { goal, is, most, unit = '' } of others) {
    if (is === null || is === undefined) continue;
    judged.push({ goal, wanted: `≤ ${most}${unit}`, is: `${short(is, is < 10 ? 2 : 0)}${unit}`, met: is <= most });
  }
  return judged;
}

export function goalTable(judged) {
  const lines = ['| goal | wanted | measured | |', '|---|--:|--:|---|'];
  for (const { goal, wanted, is, met } of judged) lines.push(`| ${goal} | ${wanted} | ${is} | ${met ? 'met' : '**not met**'} |`);
  return lines.join('\n');
}

/** Puts a text between the two marks of a file. */
export function writeBetweenMarks(file, text) {
  const [begin, end] = ['<!-- bench -->', '<!-- /bench -->'];
  const old = readFileSync(file, 'utf8');
  const from = old.indexOf(begin);
  const to = old.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${file} has no ${begin} … ${end}`);
  writeFileSync(file, `${old.slice(0, from + begin.length)}\n${text.trim()}\n${old.slice(to)}`);
}
