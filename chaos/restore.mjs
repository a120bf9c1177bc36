// Backups that are restored for real: what is there afterwards, what comes back, and what is lost.

import { createHmac, randomBytes } from 'node:crypto';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { Database } from '../bench/database.mjs';
import { bodyOf, operations } from '../bench/operations.mjs';
import { run, sleep } from '../bench/processes.mjs';
import { PASSWORD, ask } from '../bench/systems.mjs';
import { Instance, MailServer, clients, counted, filled, isGood, ms, seconds, told, until, wanted } from './world.mjs';

const REGISTER =
  'mutation ($email: String!) { register(input: { email: $email, fullName: "Storm Petrel", password: "Quartz-Lantern-58" }) { errors { code } } }';
const CHALLENGED =
  'mutation ($identifier: String!, $password: String!) { login(input: { identifier: $identifier, password: $password }) { result { ... on TwoFactorRequired { challengeToken } } } }';
const VERIFY =
  'mutation ($challenge: String!, $code: String!) { verifyTwoFactor(input: { challengeToken: $challenge, code: $code }) { errors { code } result { __typename ... on SignedIn { accessToken } } } }';
const ERASE = 'mutation ($id: ID!) { eraseUser(input: { userId: $id, immediately: true }) { errors { code } } }';
const BIRTH_DATE = '1984-02-29';
/** Hashes that cost next to nothing: what is looked at is not how fast they are. */
const CHEAP = ['--argon2-memory-kib', '8', '--argon2-passes', '1'];

const globalId = (id) => Buffer.concat([Buffer.from('User'), Buffer.from(id.replaceAll('-', ''), 'hex')]).toString('base64url');
const mebibytes = (bytes) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
const since = (began) => (performance.now() - began) / 1000;

/** The code of an authenticator app (RFC 6238), so many half minutes from now. */
function totp(secret, ahead = 0) {
  const bits = [...secret].map((one) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(one).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + ahead));
  const mac = createHmac('sha1', key).update(step).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
  return `${number % 1_000_000}`.padStart(6, '0');
}

async function signIn(url, identifier, password = PASSWORD) {
  const { login } = await ask(url, bodyOf(operations.login.document, { identifier, password }));
  return login.result ?? login;
}

async function erase(url, id, token) {
  const { eraseUser } = await ask(url, bodyOf(ERASE, { id: globalId(id) }), token);
  if (eraseUser.errors.length > 0) throw new Error(`${id} is not erased: ${JSON.stringify(eraseUser)}`);
}

/** Writes that go on: profiles of the accounts, and registrations of which each queues a mail. */
function writing(cardea, instance) {
  let number = 0;
  return clients({
    count: 8,
    pause: 20,
    next: (client) => {
      number += 1;
      if (client < 2) {
        const email = `storm${number}@example.com`;
        return { url: instance.url, body: bodyOf(REGISTER, { email }), email };
      }
      const { token, id } = cardea.accounts[200 + client];
      const bio = `Words ${number}`;
      return { url: instance.url, token, body: bodyOf(operations.updateProfile.document, { bio }), id, bio };
    },
  });
}

/** What was acknowledged before an instant and is not in a database. */
async function missing(database, name, answers, instant) {
  const acknowledged = answers.filter((one) => isGood(one) && one.at < instant);
  const emails = acknowledged.flatMap(({ email }) => email ?? []);
  const there = new Set((await database.psql(name, "SELECT email FROM users WHERE email LIKE 'storm%'")).split('\n'));
  const lost = emails.filter((email) => !there.has(email));
  for (const [id, bio] of acknowledged.filter(({ bio }) => bio).map((one) => [one.id, one.bio])) {
    const row = await database.psql(name, `SELECT bio FROM profiles WHERE user_id = '${id}'`);
    // What came after it may have been kept, too.
    const order = answers.filter((one) => one.id === id).map((one) => one.bio);
    if (order.indexOf(row) < order.indexOf(bio)) lost.push(bio);
  }
  return { acknowledged, lost };
}

/** Runs a command of the program, and gives what it said and how it ended. */
async function command(cardea, args, env = {}) {
  try {
    return { text: await run(cardea.binary, args, { env: { ...cardea.env, ...env } }), ok: true };
  } catch (error) {
    return { text: error.message, ok: false };
  }
}

/** The last line that a server says which does not start; nothing where it starts. */
async function refusal(cardea, env) {
  const instance = new Instance(cardea, [], env);
  try {
    await instance.start();
  } catch (error) {
    return error.message.trim().split('\n').pop();
  }
  await instance.stop();
  return '';
}

/** `pg_dump` under load, `pg_restore` into an empty cluster; and an account that was erased since. */
export async function dump(world) {
  const accounts = 20_000;
  const cardea = await filled(world, 'dump', accounts);
  const { database } = world;
  // Without a mail server: mails wait in the queue.
  const instance = new Instance(cardea, [...CHEAP, '--inbox', 'false']);
  await instance.start();
  const [sealed, erased] = cardea.signingIn;
  const { accessToken: token } = await signIn(instance.url, sealed);
  const { enableTwoFactor } = await ask(instance.url, bodyOf('mutation { enableTwoFactor { setup { secret } errors { code } } }'), token);
  const { secret } = enableTwoFactor.setup;
  await ask(instance.url, bodyOf('mutation ($code: String!) { confirmTwoFactor(input: { code: $code }) { recoveryCodes } }', { code: totp(secret, -1) }), token);
  await ask(instance.url, bodyOf('mutation ($day: Date) { updateProfile(input: { birthDate: $day }) { errors { code } } }', { day: BIRTH_DATE }), token);
  const writes = writing(cardea, instance);
  await sleep(3000);

  const file = join(database.dir, 'cardea.dump');
  const from = ['-h', '127.0.0.1', '-p', `${database.port}`, '-U', 'cardea'];
  const began = performance.now();
  await run(join(database.bin, 'pg_dump'), [...from, '-Fc', '-f', file, cardea.name]);
  const dumped = since(began);
  const during = writes.answers.filter(({ asked, at }) => asked > began && at < began + dumped * 1000);
  await sleep(1000);
  const all = await writes.stop();
  // After the dump: an account is erased, and a session traded its token.
  const [id] = (await database.psql(cardea.name, `SELECT id FROM users WHERE email = '${erased}'`)).split('\n');
  const administrator = await signIn(instance.url, 'root@example.org', cardea.adminPassword);
  await erase(instance.url, id, administrator.accessToken);
  const [held, traded] = cardea.accounts;
  const trade = (url, refreshToken) => ask(url, bodyOf(operations.refreshToken.document, { token: refreshToken }));
  const newer = (await trade(instance.url, traded.refreshToken)).refreshToken.result.refreshToken;
  const goneSince = join(database.dir, 'trail.jsonl');
  await command(cardea, ['audit', 'export', '--output', goneSince]);
  const trail = (await run('grep', ['account_erased', goneSince])).trim().split('\n').map((line) => JSON.parse(line).subjectId);
  await instance.stop();
  const size = Number(await database.psql(cardea.name, `SELECT pg_database_size('${cardea.name}')`));

  const empty = await Database.start();
  try {
    await empty.create(cardea.name);
    const restoring = performance.now();
    const to = ['-h', '127.0.0.1', '-p', `${empty.port}`, '-U', 'cardea'];
    await run(join(empty.bin, 'pg_restore'), [...to, '--no-owner', '--exit-on-error', '-j', '2', '-d', cardea.name, file]);
    await run(join(empty.bin, 'vacuumdb'), [...to, '--analyze-only', '--quiet', cardea.name]);
    const restored = since(restoring);
    const { acknowledged, lost } = await missing(empty, cardea.name, all, began);
    const env = { DATABASE_URL: empty.url(cardea.name) };
    const nowhere = join(empty.dir, 'nowhere');
    mkdirSync(nowhere);
    const another = await refusal(cardea, { ...env, CARDEA_MASTER_KEY: randomBytes(32).toString('base64') });
    const none = await refusal(cardea, { ...env, CARDEA_DATA_DIR: nowhere });

    const queued = (await empty.psql(cardea.name, "SELECT count(*) FROM jobs WHERE endpoint IS NULL AND failed_at IS NULL")).split('\n')[0];
    const mail = await MailServer.start();
    const again = new Instance(cardea, [...CHEAP, '--smtp-url', mail.url], env);
    const ready = await again.start();
    const same = (await signIn(again.url, cardea.signingIn[2])).__typename;
    const { me } = await ask(again.url, bodyOf('{ me { email } }'), held.token);
    const refreshed = (await trade(again.url, held.refreshToken)).refreshToken.result?.__typename;
    const late = (await trade(again.url, newer)).refreshToken.errors[0]?.code;
    const { login } = await ask(again.url, bodyOf(CHALLENGED, { identifier: sealed, password: PASSWORD }));
    const { verifyTwoFactor } = await ask(again.url, bodyOf(VERIFY, { challenge: login.result.challengeToken, code: totp(secret, 1) }));
    const proved = verifyTwoFactor.result?.accessToken;
    const birthDate = proved && (await ask(again.url, bodyOf('{ me { birthDate } }'), proved)).me.birthDate;
    const sent = await until('the mails', () => mail.mails.length >= Number(queued), 120_000);
    const verified = await command(cardea, ['audit', 'verify'], env);
    const back = (await empty.psql(cardea.name, `SELECT count(*) FROM users WHERE id = '${id}'`)) === '1';
    const root = await signIn(again.url, 'root@example.org', cardea.adminPassword);
    for (const one of trail) await erase(again.url, one, root.accessToken);
    const gone = (await empty.psql(cardea.name, `SELECT count(*) FROM users WHERE id = '${id}'`)) === '0';
    // Whoever was signed in, and services that compare numbers.
    await empty.psql(cardea.name, "UPDATE sessions SET revoked_at = now(), revoked_reason = 'admin' WHERE revoked_at IS NULL");
    await empty.psql(cardea.name, 'UPDATE webhook_sequences SET last = last + 1000000, transaction_id = 0');
    const ended = await until('the end of the sessions', async () => {
      const answer = await fetch(again.url, { method: 'POST', headers: { authorization: `Bearer ${held.token}`, 'content-type': 'application/json' }, body: bodyOf('{ me { id } }') });
      return answer.status === 401;
    });
    const fresh = (await signIn(again.url, cardea.signingIn[3])).__typename;
    await again.stop();
    mail.stop();
    return [
      told('accounts; size of the database; of the dump', `${accounts.toLocaleString('en-US')}; ${mebibytes(size)}; ${mebibytes(statSync(file).size)}`),
      told('`pg_dump -Fc`; meanwhile answered', `${dumped.toFixed(1)} s; ${counted(during)}`),
      told('`pg_restore -j 2` and `vacuumdb --analyze-only`', `${restored.toFixed(1)} s`),
      told('from the start to ready', ms(ready)),
      wanted('acknowledged before the dump, and not there', `${acknowledged.length}, ${lost.length}`, lost.length === 0 && acknowledged.length > 100),
      wanted('with another master key the server ends, and says', another, another.includes('another master key')),
      wanted('without one', none.replace(nowhere, '…'), none.includes('master key is gone')),
      wanted('somebody signs in with the password', same, same === 'SignedIn'),
      wanted('an access token from before is good', Boolean(me), me?.email === held.email),
      wanted('a refresh token from before is traded', refreshed, refreshed === 'SignedIn'),
      wanted('one that was handed out after the dump', late, late === 'TOKEN_REJECTED'),
      wanted('sealed: a code of the authenticator app; a birth date', `${verifyTwoFactor.result?.__typename}; ${birthDate}`, birthDate === BIRTH_DATE),
      wanted('mails that were queued; sent', `${queued}; ${mail.mails.length} in ${seconds(sent)}`, Number(queued) > 20 && mail.mails.length >= Number(queued)),
      wanted('`cardea audit verify`', verified.text.split('\n')[0], verified.ok),
      wanted('all sessions ended by SQL: refused after; then somebody signs in', `${ms(ended)}; ${fresh}`, ended < 2000 && fresh === 'SignedIn'),
      wanted('erased after the dump: came back; erased again by the newer trail', `${back}; ${gone}`, back && gone && trail.includes(id)),
    ];
  } finally {
    empty.stop();
  }
}

/** A base backup and the archive of the log; an accident; back to the moment before it. */
export async function pitr(world) {
  const database = await Database.start({ archive_mode: 'on' });
  let recovered;
  try {
    await database.archive();
    const accounts = 20_000;
    const cardea = await filled({ ...world, database }, 'pitr', accounts);
    const instance = new Instance(cardea, [...CHEAP, '--inbox', 'false']);
    await instance.start();
    const writes = writing(cardea, instance);
    await sleep(2000);
    let began = performance.now();
    const base = await database.baseBackup();
    const copied = since(began);
    const copy = Number((await run('du', ['-sb', base])).split('\t')[0]);
    await sleep(5000);
    const before = await command(cardea, ['audit', 'verify']);
    const checkpoint = before.text.trim().split('\n').pop();

    const moment = performance.now();
    const instant = await database.psql('postgres', 'SELECT clock_timestamp()', 'postgres');
    const there = await database.psql(cardea.name, "SELECT count(*) FROM users WHERE email NOT LIKE 'storm%'");
    await sleep(500);
    const accident = performance.now();
    const many = "DELETE FROM users WHERE get_byte(uuid_send(id), 15) < 64 AND email NOT LIKE 'storm%' AND id NOT IN (SELECT id FROM bench_accounts)";
    const deleted = (await database.psql(cardea.name, `WITH gone AS (${many} RETURNING 1) SELECT count(*) FROM gone`)).split('\n')[0];
    await sleep(3000);
    const all = await writes.stop();
    await sleep(1500);
    const after = await command(cardea, ['audit', 'verify']);
    const later = after.text.trim().split('\n').pop();
    await instance.stop();
    const left = await database.psql(cardea.name, "SELECT count(*) FROM users WHERE email NOT LIKE 'storm%'");
    // What was written last is in the archive, too.
    const segment = await database.psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())', 'postgres');
    await until('the archive', async () => {
      const last = await database.psql('postgres', 'SELECT last_archived_wal FROM pg_stat_archiver', 'postgres');
      return last >= segment;
    });
    const archive = Number((await run('du', ['-sb', database.archived])).split('\t')[0]);
    database.stop();

    began = performance.now();
    recovered = await Database.recover(database, base, instant);
    const took = since(began);
    const count = await recovered.psql(cardea.name, "SELECT count(*) FROM users WHERE email NOT LIKE 'storm%'");
    const { acknowledged, lost } = await missing(recovered, cardea.name, all, moment);
    const env = { DATABASE_URL: recovered.url(cardea.name) };
    const again = new Instance(cardea, CHEAP, env);
    const ready = await again.start();
    const same = (await signIn(again.url, cardea.signingIn[0])).__typename;
    const { me } = await ask(again.url, bodyOf('{ me { email } }'), cardea.accounts[0].token);
    const holds = await command(cardea, ['audit', 'verify', '--checkpoint', checkpoint], env);
    const broken = await command(cardea, ['audit', 'verify', '--checkpoint', later], env);
    await again.stop();
    const given = all.filter((one) => isGood(one) && one.asked > accident);
    return [
      told('accounts; base backup; log in the archive', `${accounts.toLocaleString('en-US')}; ${mebibytes(copy)} in ${copied.toFixed(1)} s; ${mebibytes(archive)}`),
      told('deleted by mistake; left', `${Number(deleted).toLocaleString('en-US')}; ${Number(left).toLocaleString('en-US')}`),
      wanted('back after the recovery', `${Number(count).toLocaleString('en-US')} of ${Number(there).toLocaleString('en-US')}`, count === there && left !== there),
      told('from the start of the recovery until it takes writes', `${took.toFixed(1)} s`),
      told('from the start of the server to ready', ms(ready)),
      wanted('acknowledged before that moment, and not there', `${acknowledged.length}, ${lost.length}`, lost.length === 0 && acknowledged.length > 100),
      told('acknowledged in the 3 s after the accident, which are given up', given.length),
      wanted('somebody signs in; an access token from before is good', `${same}; ${Boolean(me)}`, same === 'SignedIn' && Boolean(me)),
      wanted('`cardea audit verify --checkpoint` of before the accident', holds.text.split('\n')[0], holds.ok),
      wanted('of after it', /the audit trail is broken: .*/.exec(broken.text)?.[0] ?? 'holds', !broken.ok && broken.text.includes('broken')),
    ];
  } finally {
    database.stop();
    recovered?.stop();
  }
}
