// Faults of what there is more than one of: servers behind a proxy, databases that follow each other.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Database } from '../bench/database.mjs';
import { Connection } from '../bench/load.mjs';
import { bodyOf } from '../bench/operations.mjs';
import { freePort, sleep, start } from '../bench/processes.mjs';
import { Instance, asksMe, clients, counted, filled, isGood, lostChanges, ms, p99, repository, seconds, slowest, told, until, wanted, writesBios } from './world.mjs';

/** The proxy of `deploy/nginx.conf`, without TLS and on other ports. */
async function proxy(dir, instances) {
  const port = await freePort();
  const [first, second] = instances.map((one) => `127.0.0.1:${one.port}`);
  const text = readFileSync(join(repository, 'deploy/nginx.conf'), 'utf8')
    .replace('cardea-1:8000', first)
    .replace('cardea-2:8000', second)
    .replace(/listen 8443 ssl;\s+http2 on;/, `listen 127.0.0.1:${port};`)
    .replace(/^\s*ssl_.*$/gm, '')
    .replace('127.0.0.1:8081', `127.0.0.1:${await freePort()}`)
    .replace(/\/tmp\//g, `${dir}/nginx-`)
    .replace('worker_processes auto;', 'worker_processes 2; daemon off;')
    .replace('/dev/stdout', join(dir, 'access.log'))
    .replace('/dev/stderr', join(dir, 'nginx-error.log'));
  const file = join(dir, 'nginx.conf');
  writeFileSync(file, process.getuid() === 0 ? `user root;\n${text}` : text);
  const program = start('nginx', ['-p', dir, '-c', file]);
  const url = `http://127.0.0.1:${port}/graphql`;
  await until('the proxy', async () => {
    const connection = new Connection(url);
    try {
      return (await connection.ask(bodyOf('{ __typename }'))).status === 200;
    } catch {
      return false;
    } finally {
      connection.close();
    }
  });
  return { program, url };
}

/** Two instances behind nginx are started anew in turns, three times each, under load. */
export async function rolling(world) {
  const cardea = await filled(world, 'rolling');
  const instances = [0, 1].map(() => new Instance(cardea, ['--shutdown-delay-secs', '2', '--trusted-proxies', '127.0.0.1']));
  for (const one of instances) await one.start();
  const { program, url } = await proxy(world.database.dir, instances);
  const reads = clients({ count: 16, pause: 2, next: asksMe(cardea, url) });
  const writes = clients({
    count: 8,
    pause: 5,
    next: writesBios(cardea, url),
  });
  await sleep(2000);
  let notReady = 0;
  const stops = [];
  for (let round = 0; round < 3; round += 1) {
    for (const one of instances) {
      const began = performance.now();
      const stopping = one.stop();
      await sleep(500);
      const health = await fetch(`http://127.0.0.1:${one.port}/health/ready`).catch(() => undefined);
      if (health?.status === 503) notReady += 1;
      await stopping;
      stops.push(performance.now() - began);
      await one.start();
      // nginx asks one that failed again after five seconds.
      await sleep(5500);
      world.say(`rolling: ${stops.length} of 6`);
    }
  }
  const written = await writes.stop();
  const all = [...(await reads.stop()), ...written];
  for (const one of instances) await one.stop();
  const lost = await lostChanges(world.database, cardea.name, written);
  await program.stop();
  const log = readFileSync(join(world.database.dir, 'access.log'), 'utf8').split('\n');
  for (const line of log.filter((one) => !/ 200 \d+ [\d.]+ /.test(one)).slice(0, 5)) world.say(line);
  const failed = all.filter((one) => !isGood(one));
  return [
    wanted('requests, and those that failed', `${all.length.toLocaleString('en-US')}, ${failed.length ? counted(failed) : 0}`, failed.length === 0 && all.length > 5000),
    wanted('slowest answer', ms(slowest(all)), slowest(all) < 3000),
    told('p99', ms(p99(all))),
    lost,
    wanted('not ready while it still answers', `${notReady} of 6`, notReady === 6),
    told('from SIGTERM to the end, slowest', seconds(Math.max(...stops))),
  ];
}

/** The primary database dies under load, and the one that follows it is promoted a second later. */
export async function failover(world) {
  const cardea = await filled(world, 'failover');
  const follower = await Database.follow(world.database);
  // What is acknowledged is on both.
  await world.database.psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '*'", 'postgres');
  await world.database.psql('postgres', 'SELECT pg_reload_conf()', 'postgres');
  const both = `postgres://cardea@127.0.0.1:${world.database.port},127.0.0.1:${follower.port}/${cardea.name}?target_session_attrs=read-write`;
  const instance = new Instance(cardea, [], { DATABASE_URL: both });
  await instance.start();
  const reads = clients({ count: 8, pause: 2, next: asksMe(cardea, instance.url) });
  const writes = clients({
    count: 8,
    pause: 2,
    next: writesBios(cardea, instance.url),
  });
  await sleep(3000);
  const killed = performance.now();
  await world.database.kill();
  await sleep(1000);
  await follower.promote();
  const promoted = performance.now();
  await sleep(6000);
  const [all, written] = [await reads.stop(), await writes.stop()];
  const runs = instance.program.running();
  await instance.stop();
  const lost = await lostChanges(follower, cardea.name, written);
  follower.stop();
  const first = (answers) => Math.min(...answers.filter((one) => isGood(one) && one.asked > killed).map(({ at }) => at));
  const away = [...all, ...written].filter(({ asked }) => asked > killed && asked < promoted);
  const late = [...all, ...written].filter((one) => one.asked > promoted + 3000 && !isGood(one)).length;
  const untyped = [...all, ...written].filter(({ as }) => !['ok', 'SERVICE_UNAVAILABLE'].includes(as));
  return [
    told('promoted after', ms(promoted - killed)),
    told('answers between', counted(away)),
    wanted('answers without a proper code', untyped.length ? counted(untyped) : 0, untyped.length === 0),
    wanted('first good read after the promotion', ms(first(all) - promoted), first(all) - promoted < 3000),
    wanted('first good write after the promotion', ms(first(written) - promoted), first(written) - promoted < 3000),
    lost,
    wanted('slowest answer', ms(slowest([...all, ...written])), slowest([...all, ...written]) < 8000),
    wanted('refused later than 3 s after it', late, late === 0),
    wanted('the server went on', runs, runs),
  ];
}
