// The faults, each with what it shows. A fault gives figures: what, its value, and whether it is as wanted where
// something is.

import { connect } from 'node:net';

import { median } from '../bench/load.mjs';
import { bodyOf } from '../bench/operations.mjs';
import { rssOf, sleep } from '../bench/processes.mjs';
import { ask } from '../bench/systems.mjs';
import { Instance, MailServer, asksMe, clients, counted, filled, isGood, lostChanges, ms, p99, seconds, slowest, told, until, wanted, writesBios } from './world.mjs';

const REGISTER =
  'mutation ($email: String!) { register(input: { email: $email, fullName: "Storm Petrel", password: "Quartz-Lantern-58" }) { errors { code } } }';
/** Hashes that cost next to nothing: what is looked at is not how fast they are. */
const CHEAP = ['--argon2-memory-kib', '8', '--argon2-passes', '1'];

/** The server is killed twenty times while people register. */
export async function kill9(world) {
  const cardea = await filled(world, 'kill9');
  const mail = await MailServer.start();
  const instance = new Instance(cardea, [...CHEAP, '--smtp-url', mail.url]);
  await instance.start();
  let number = 0;
  const storm = clients({
    count: 16,
    pause: 40,
    next: () => {
      const email = `storm${(number += 1)}@example.com`;
      return { url: instance.url, body: bodyOf(REGISTER, { email }), email };
    },
  });
  const restarts = [];
  for (let time = 0; time < 20; time += 1) {
    await sleep(600 + Math.random() * 600);
    await instance.kill();
    restarts.push(await instance.start());
    world.say(`kill9: ${time + 1} of 20`);
  }
  await sleep(500);
  const answers = await storm.stop();
  const acknowledged = answers.filter(isGood).map(({ email }) => email);
  // What a dead worker held is taken up again once its minute is over.
  const jobs = () => world.database.psql(cardea.name, 'SELECT count(*) FROM jobs WHERE failed_at IS NULL');
  const drained = await until('the queue', async () => Number(await jobs()) === 0, 180_000);
  await sleep(500);
  await instance.stop();
  mail.stop();
  const rows = await world.database.psql(cardea.name, "SELECT email FROM users WHERE email LIKE 'storm%'");
  const accounts = new Set(rows.split('\n'));
  const mailed = new Set(mail.mails);
  const twice = mail.mails.length - mailed.size;
  const lost = acknowledged.filter((email) => !accounts.has(email)).length;
  const unmailed = [...accounts].filter((email) => !mailed.has(email)).length;
  const strangers = [...mailed].filter((email) => !accounts.has(email)).length;
  return [
    told('registrations acknowledged; accounts; answers', `${acknowledged.length}; ${accounts.size}; ${counted(answers)}`),
    wanted('acknowledged accounts that are not there', lost, lost === 0 && acknowledged.length > 1000),
    wanted('accounts without a mail', unmailed, unmailed === 0),
    wanted('mails without an account', strangers, strangers === 0),
    told('mails sent twice', twice),
    told('queue empty after the last start', seconds(drained)),
    told('from the start to ready, median', ms(median(restarts))),
  ];
}

/** PostgreSQL is killed under load, stays away for five seconds, and comes back. */
export async function database(world) {
  const cardea = await filled(world, 'killeddb');
  const instance = new Instance(cardea);
  await instance.start();
  const reads = clients({ count: 16, next: asksMe(cardea, instance.url) });
  const writes = clients({
    count: 8,
    next: writesBios(cardea, instance.url),
  });
  await sleep(3000);
  const killed = performance.now();
  await world.database.kill();
  await sleep(5000);
  await world.database.restart();
  const back = performance.now();
  await sleep(5000);
  const [all, written] = [await reads.stop(), await writes.stop()];
  const lost = await lostChanges(world.database, cardea.name, written);
  const runs = instance.program.running();
  await instance.stop();
  const during = [...all, ...written].filter(({ asked }) => asked > killed && asked < back);
  const after = all.filter(({ asked, as }) => asked > back && as === 'ok');
  const recovery = Math.min(...after.map(({ at }) => at)) - back;
  // Also of those that were under way when it died, and of the first seconds after.
  const answers = [...all, ...written];
  const untyped = answers.filter(({ as }) => !['ok', 'SERVICE_UNAVAILABLE', 'RATE_LIMITED'].includes(as));
  const late = all.filter(({ asked, as }) => asked > back + 3000 && as !== 'ok').length;
  return [
    told('answers while it was away', counted(during)),
    wanted('answers without a proper code, of all', untyped.length ? counted(untyped) : 0, untyped.length === 0),
    wanted('slowest answer while it was away, and of all', `${ms(slowest(during))}, ${ms(slowest(answers))}`, slowest(answers) < 5000),
    lost,
    wanted('first good answer after it was back', ms(recovery), recovery < 3000),
    wanted('refused later than 3 s after it was back', late, late === 0 && after.length > 100),
    wanted('the server went on', runs, runs),
  ];
}

/** A table is locked for ten seconds, so that a small pool is soon in use to the last connection. */
export async function pool(world) {
  const cardea = await filled(world, 'pool');
  const instance = new Instance(cardea, ['--database-pool-size', '4']);
  await instance.start();
  const locked = world.database.psql(
    cardea.name,
    'BEGIN; LOCK TABLE profiles IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(10); COMMIT',
  );
  await sleep(500);
  const began = performance.now();
  const reads = clients({ count: 64, next: asksMe(cardea, instance.url) });
  const light = clients({ count: 1, pause: 10, next: () => ({ url: instance.url, body: bodyOf('{ __typename }') }) });
  await locked;
  const unlocked = performance.now();
  await sleep(3000);
  const [all, names] = [await reads.stop(), await light.stop()];
  await instance.stop();
  const during = all.filter(({ asked }) => asked < unlocked);
  const after = all.filter(({ asked, as }) => asked > unlocked && as === 'ok');
  const recovery = Math.min(...after.map(({ at }) => at)) - unlocked;
  const late = all.filter(({ asked, as }) => asked > unlocked + 1000 && as !== 'ok').length;
  const untyped = during.filter(({ as }) => !['ok', 'SERVICE_UNAVAILABLE', 'UNAVAILABLE', 'RATE_LIMITED'].includes(as));
  return [
    told(`64 clients, 4 connections, locked for ${seconds(unlocked - began)}`, counted(during)),
    wanted('answers without a proper code', untyped.length, untyped.length === 0),
    wanted('slowest answer', ms(slowest(during)), slowest(during) < 6000),
    wanted('p99 of what needs no database meanwhile', ms(p99(names)), p99(names) < 100 && names.every(isGood)),
    wanted('first good answer after the lock', ms(recovery), recovery < 1000),
    wanted('refused later than 1 s after the lock', late, late === 0 && after.length > 100),
  ];
}

/** Clients that send and take as little as they can. */
export async function slow(world) {
  const cardea = await filled(world, 'slow');
  const instance = new Instance(cardea);
  await instance.start();
  const load = () => clients({ count: 4, pause: 5, next: asksMe(cardea, instance.url) });
  await sleep(1000);
  const before = load();
  await sleep(4000);
  const idle = p99(await before.stop());
  const { hostname, port } = new URL(instance.url);
  const head = `POST /graphql HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n`;
  const kinds = {
    headers: { begin: head, drip: 'x' },
    bodies: { begin: `${head}content-length: 5000\r\n\r\n`, drip: ' ' },
    nothing: { begin: '', drip: '' },
  };
  const open = [];
  const opened = performance.now();
  for (const [kind, { begin, drip }] of Object.entries(kinds)) {
    for (let number = 0; number < 500; number += 1) {
      const socket = connect({ host: hostname, port });
      const one = { kind, closed: undefined, answer: '' };
      socket.on('connect', () => socket.write(begin));
      socket.on('data', (chunk) => (one.answer += chunk));
      socket.on('error', () => {});
      socket.on('close', () => (one.closed ??= performance.now() - opened));
      one.timer = setInterval(() => drip && !socket.destroyed && socket.write(drip), 1000);
      open.push({ one, socket });
    }
  }
  await sleep(500);
  const beside = load();
  await sleep(16_000);
  const busy = await beside.stop();
  const figures = [];
  for (const kind of Object.keys(kinds)) {
    const those = open.map(({ one }) => one).filter((one) => one.kind === kind);
    const left = those.filter(({ closed }) => closed === undefined).length;
    const last = Math.max(...those.map(({ closed }) => closed ?? Infinity));
    figures.push(wanted(`500 that send ${kind === 'nothing' ? kind : `${kind} byte by byte`}: the last is cut after`, left ? `${left} are left` : seconds(last), left === 0));
  }
  for (const { one, socket } of open) {
    clearInterval(one.timer);
    socket.destroy();
  }
  await instance.stop();
  return [
    ...figures,
    told('p99 of `me` before', ms(idle)),
    wanted('p99 of `me` beside 1,500 of them', ms(p99(busy)), p99(busy) < Math.max(25, 3 * idle) && busy.every(isGood)),
  ];
}

/** Ten thousand connections on which nothing happens. */
export async function idle(world) {
  const [COUNT, PLACES] = [10_000, 12_000];
  const cardea = await filled(world, 'idle');
  const instance = new Instance(cardea, ['--max-connections', `${PLACES}`]);
  await instance.start();
  const load = async () => {
    const asking = clients({ count: 4, pause: 5, next: asksMe(cardea, instance.url) });
    await sleep(4000);
    return asking.stop();
  };
  await load();
  const before = { p99: p99(await load()), rss: rssOf(instance.pid) };
  const { hostname, port } = new URL(instance.url);
  const body = bodyOf('{ __typename }');
  const request = `POST /graphql HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  /** Connections that ask once and stay. */
  const ask = async (count) => {
    const asked = { sockets: [], answered: 0, closed: 0 };
    for (let number = 0; number < count; number += 1) {
      const socket = connect({ host: hostname, port });
      socket.on('connect', () => socket.write(request));
      socket.once('data', () => (asked.answered += 1));
      socket.on('error', () => {});
      socket.on('close', () => (asked.closed += 1));
      asked.sockets.push(socket);
      if (number % 200 === 199) await sleep(20);
    }
    return asked;
  };
  const many = await ask(COUNT);
  const took = await until('answers', () => many.answered === COUNT, 60_000);
  const beside = await load();
  const rss = rssOf(instance.pid);
  const open = COUNT - many.closed;
  const gone = await until('their end', () => many.closed === COUNT, 100_000);

  const all = await ask(PLACES);
  await until('answers', () => all.answered === PLACES, 60_000);
  const held = PLACES - all.closed;
  const one = await ask(1);
  const waited = await until('a place', () => one.answered === 1, 100_000);
  for (const { sockets } of [many, all, one]) for (const socket of sockets) socket.destroy();
  await instance.stop();
  return [
    wanted('connections that got an answer and stayed', `${many.answered}, ${open}`, many.answered === COUNT && open === COUNT),
    told('answered after', seconds(took)),
    told('memory for each', `${(((rss - before.rss) * 1024) / COUNT).toFixed(1)} KiB`),
    wanted('p99 of `me` before, and beside them', `${ms(before.p99)}, ${ms(p99(beside))}`, p99(beside) < Math.max(25, 3 * before.p99)),
    told('closed by the server after', seconds(gone)),
    wanted('places taken by such, and another is answered after', `${held}, ${seconds(waited)}`, held === PLACES && waited < 15_000),
  ];
}

/** A worker dies while the mail server has not yet said whether it takes a mail. */
export async function worker(world) {
  const cardea = await filled(world, 'worker');
  const mail = await MailServer.start({ '*': 'hang' });
  const flags = [...CHEAP, '--smtp-url', mail.url];
  const instance = new Instance(cardea, flags);
  await instance.start();
  await ask(instance.url, bodyOf(REGISTER, { email: 'one@example.com' }));
  await until('the hand-over', async () => {
    const held = await world.database.psql(cardea.name, 'SELECT count(*) FROM jobs WHERE locked_until > now()');
    return Number(held) === 1;
  });
  await sleep(1000);
  await instance.kill();
  const killed = performance.now();
  await mail.rule({});
  await instance.start();
  const after = await until('the mail', () => mail.mails.length > 0, 120_000);
  await sleep(3000);
  const left = await world.database.psql(cardea.name, 'SELECT count(*) FROM jobs');
  await instance.stop();
  mail.stop();
  return [
    wanted('mails that came', mail.mails.length, mail.mails.length === 1 && mail.mails[0] === 'one@example.com'),
    wanted('after the death of the worker', seconds(after), performance.now() - killed < 120_000),
    wanted('left in the queue', left, left === '0'),
  ];
}
