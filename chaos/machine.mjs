// Faults of the machine: a disk that is full, a clock that jumps.

import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Database } from '../bench/database.mjs';
import { bodyOf, operations } from '../bench/operations.mjs';
import { onEnd, run, sleep } from '../bench/processes.mjs';
import { ask } from '../bench/systems.mjs';
import { Instance, MailServer, asksMe, clients, counted, filled, isGood, lostChanges, ms, outcome, seconds, slowest, told, until, wanted, writesBios } from './world.mjs';
import { Connection } from '../bench/load.mjs';

/** A database on a file system of its own, of 400 MiB; needs the right to mount. */
async function small() {
  const dir = mkdtempSync(join(tmpdir(), 'chaos-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=400m,mode=777', 'tmpfs', dir]);
  onEnd(() => {
    spawnSync('umount', [dir]);
    rmSync(dir, { recursive: true, force: true });
  });
  const before = process.env.TMPDIR;
  process.env.TMPDIR = dir;
  const database = await Database.start({ max_wal_size: '64MB', min_wal_size: '32MB' });
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  return { dir, database };
}

/** The disk of the database is full until somebody makes room. */
export async function disk(world) {
  const { dir, database } = await small();
  const cardea = await filled({ ...world, database }, 'disk');
  const instance = new Instance(cardea);
  await instance.start();
  const reads = clients({ count: 4, pause: 5, next: asksMe(cardea, instance.url) });
  const writes = clients({
    count: 16,
    next: writesBios(cardea, instance.url, ` ${'words '.repeat(70)}`.trimEnd()),
  });
  await sleep(2000);
  const ballast = join(dir, 'ballast');
  const chunk = Buffer.alloc(1 << 20);
  writeFileSync(ballast, '');
  const full = performance.now();
  const stuff = setInterval(() => {
    try {
      for (;;) appendFileSync(ballast, chunk);
    } catch {
      // Now it is full.
    }
  }, 50);
  await sleep(15_000);
  clearInterval(stuff);
  const runsBefore = existsSync(`/proc/${database.pid}`);
  rmSync(ballast);
  const room = performance.now();
  if (!runsBefore) await database.restart();
  const back = performance.now();
  await sleep(6000);
  const [all, written] = [await reads.stop(), await writes.stop()];
  const runs = instance.program.running();
  await instance.stop();
  const lost = await lostChanges(database, cardea.name, written);
  database.stop();
  const during = written.filter(({ asked }) => asked > full && asked < room);
  const readsDuring = all.filter(({ asked }) => asked > full && asked < room);
  const codes = ['ok', 'SERVICE_UNAVAILABLE', 'RATE_LIMITED'];
  const untyped = [...during, ...readsDuring].filter(({ as }) => !codes.includes(as));
  const good = written.filter((one) => isGood(one) && one.asked > back);
  const late = written.filter((one) => one.asked > back + 3000 && !isGood(one)).length;
  return [
    told('changes while it was full, for 15 s', counted(during)),
    told('`me` meanwhile', counted(readsDuring)),
    told('PostgreSQL ran on', runsBefore ? 'yes' : 'no: it was started again once there was room'),
    wanted('answers without a proper code', untyped.length ? counted(untyped) : 0, untyped.length === 0),
    wanted('slowest answer', ms(slowest([...during, ...readsDuring])), slowest([...during, ...readsDuring]) < 8000),
    lost,
    wanted('first change once PostgreSQL ran and there was room', ms(Math.min(...good.map(({ at }) => at)) - back), good.length > 100),
    wanted('refused later than 3 s after that', late, late === 0),
    wanted('the server went on', runs, runs),
  ];
}

const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1'];

/** The clock of the server jumps, that of the database does not. Needs Debian's package faketime. */
export async function clock(world) {
  const library = FAKETIME.find(existsSync);
  if (!library) throw new Error('faketime is not installed');
  const cardea = await filled(world, 'clock');
  const mail = await MailServer.start();
  const file = join(world.database.dir, 'clock');
  const jump = (words) => writeFileSync(file, `${words}\n`);
  jump('+0');
  const instance = new Instance(cardea, ['--smtp-url', mail.url], {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
  });
  await instance.start();
  const connection = new Connection(instance.url);
  const asks = async (document, variables, token) => {
    const answer = await connection.ask(bodyOf(document, variables), token);
    return { as: outcome(answer), data: JSON.parse(answer.body).data };
  };
  const me = async (token) => {
    const { as, data } = await asks('{ me { id } }', {}, token);
    return as === 'ok' && !data.me ? 'nobody' : as;
  };
  const trade = async (token) => {
    const { as, data } = await asks(operations.refreshToken.document, { token });
    return { as, ...data?.refreshToken?.result };
  };
  let number = 0;
  const register = async () => {
    const email = `clock${(number += 1)}@example.com`;
    const { register: told } = await ask(
      instance.url,
      bodyOf('mutation ($email: String!) { register(input: { email: $email, fullName: "Clock Work", password: "Quartz-Lantern-58" }) { errors { code } } }', { email }),
    );
    if (told.errors.length > 0) return told.errors[0].code;
    return seconds(await until(`the mail to ${email}`, () => mail.mails.includes(email), 60_000).catch(() => Infinity));
  };
  const arrives = async () => {
    const after = await register();
    return [after, /^\d/.test(after)];
  };
  const { token, refreshToken } = cardea.accounts[0];
  const figures = [];
  const expect = (what, value, ok) => figures.push(wanted(what, value, ok));
  expect('right: `me`, a mail arrives after', `${await me(token)}, ${await register()}`, (await me(token)) === 'ok');

  jump('+2h');
  const old = await me(token);
  const traded = await trade(refreshToken);
  expect('two hours ahead: `me` with a token of an hour, `refreshToken`, `me` with the new one', `${old}, ${traded.as}, ${await me(traded.accessToken)}`, old === 'UNAUTHENTICATED' && traded.as === 'ok' && (await me(traded.accessToken)) === 'ok');
  expect('two hours ahead: a mail arrives after', ...(await arrives()));

  // What was counted ahead holds until then; emptying the table is the way out that the document names.
  const forget = () => world.database.psql(cardea.name, 'TRUNCATE rate_limits');
  jump('+0');
  const future = await me(traded.accessToken);
  const held = await trade(traded.refreshToken);
  expect('back: `me` with the token from ahead, `refreshToken`', `${future}, ${held.as}`, future === 'UNAUTHENTICATED' && held.as === 'TOO_MANY_ATTEMPTS');
  await forget();
  const again = await trade(traded.refreshToken);
  expect('back, limits emptied: `refreshToken`, `me` with the new token', `${again.as}, ${await me(again.accessToken)}`, again.as === 'ok' && (await me(again.accessToken)) === 'ok');
  expect('back, limits emptied: a mail arrives after', ...(await arrives()));

  jump('-2h');
  await forget();
  const past = await trade(again.refreshToken);
  expect('two hours behind, limits emptied: `refreshToken`, `me` with the new token', `${past.as}, ${await me(past.accessToken)}`, past.as === 'ok' && (await me(past.accessToken)) === 'ok');
  expect('two hours behind: a mail arrives after', ...(await arrives()));

  jump('+0');
  const behind = await me(past.accessToken);
  expect('back: `me` with the token from behind', behind, ['ok', 'UNAUTHENTICATED'].includes(behind));
  const health = await fetch(new URL('/health/ready', instance.url));
  expect('ready', health.status, health.status === 200);
  const runs = instance.program.running();
  expect('the server went on', runs, runs);
  connection.close();
  await instance.stop();
  mail.stop();
  return figures;
}
