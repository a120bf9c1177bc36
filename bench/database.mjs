// A PostgreSQL of the harness's own, in a temporary folder, on a free port of the loopback.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { cpuSecondsOfTree, freePort, onEnd, run, sleep } from './processes.mjs';

/** The folder of the programs: that of the newest version, or the one that the variable names. */
function programs() {
  if (process.env.CARDEA_POSTGRES_BIN_DIR) return process.env.CARDEA_POSTGRES_BIN_DIR;
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).map(Number).sort((a, b) => b - a) : [];
  const version = versions.find((one) => existsSync(join(debian, String(one), 'bin/initdb')));
  if (version) return join(debian, String(version), 'bin');
  const config = spawnSync('pg_config', ['--bindir'], { encoding: 'utf8' });
  if (config.status === 0) return config.stdout.trim();
  throw new Error('PostgreSQL is not found; CARDEA_POSTGRES_BIN_DIR names the folder of its programs');
}

/** PostgreSQL refuses to run as root: then it runs as the user `postgres`. */
const asRoot = process.getuid() === 0;
const asPostgres = (program, args) => (asRoot ? ['runuser', ['-u', 'postgres', '--', program, ...args]] : [program, args]);

export class Database {
  /** Starts one, with PostgreSQL's own settings (and so with fsync) and room for the connections of all systems. */
  static async start(settings = {}) {
    const bin = programs();
    const dir = mkdtempSync(join(tmpdir(), 'bench-pg-'));
    onEnd(() => rmSync(dir, { recursive: true, force: true }));
    if (asRoot) await run('chown', ['postgres', dir]);
    const database = new Database(bin, join(dir, 'data'), dir, await freePort());
    const options = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C.UTF-8'];
    await database.#program('initdb', ['-D', database.data, ...options]);
    database.settings = { max_connections: 300, ...settings };
    onEnd(() => database.stop());
    await database.restart();
    return database;
  }

  /** Starts it where it does not run, with the settings that it had. */
  async restart() {
    const flags = Object.entries(this.settings).map(([name, value]) => `-c ${name}=${value}`);
    const listen = `-p ${this.port} -k ${this.dir} -c listen_addresses=127.0.0.1`;
    await this.#program('pg_ctl', ['-D', this.data, '-w', '-l', this.log, '-o', `${listen} ${flags.join(' ')}`, 'start']);
    this.pid = Number(readFileSync(join(this.data, 'postmaster.pid'), 'utf8').split('\n')[0]);
  }

  /** Kills it with all of its processes, as a machine that loses its power; what it had not written is lost. */
  async kill() {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number);
    const all = [this.pid, ...children];
    for (const pid of all) process.kill(pid, 'SIGKILL');
    while (all.some((pid) => existsSync(`/proc/${pid}`))) await sleep(5);
  }

  /** One that follows `primary` by streaming replication. */
  static async follow(primary) {
    const dir = mkdtempSync(join(tmpdir(), 'bench-pg-'));
    onEnd(() => rmSync(dir, { recursive: true, force: true }));
    if (asRoot) await run('chown', ['postgres', dir]);
    const follower = new Database(primary.bin, join(dir, 'data'), dir, await freePort());
    const from = ['-h', '127.0.0.1', '-p', `${primary.port}`, '-U', 'postgres'];
    await follower.#program('pg_basebackup', [...from, '-D', follower.data, '-R', '-X', 'stream', '-c', 'fast']);
    follower.settings = primary.settings;
    onEnd(() => follower.stop());
    await follower.restart();
    return follower;
  }

  /** Ends the following: from now on it takes writes. */
  promote() {
    return this.#program('pg_ctl', ['-D', this.data, '-w', 'promote']);
  }

  /** Keeps every segment of the log in a folder beside the data, from now on; it was started with `archive_mode=on`. */
  async archive() {
    this.archived = join(this.dir, 'archive');
    await run(...asPostgres('mkdir', [this.archived]));
    const command = `test ! -f ${this.archived}/%f && cp %p ${this.archived}/%f`;
    await this.psql('postgres', `ALTER SYSTEM SET archive_command = '${command}'`, 'postgres');
    await this.psql('postgres', 'SELECT pg_reload_conf()', 'postgres');
  }

  /** A copy of all of its files while it is written to; gives the folder. */
  async baseBackup() {
    const folder = join(this.dir, 'base');
    const from = ['-h', '127.0.0.1', '-p', `${this.port}`, '-U', 'postgres'];
    await this.#program('pg_basebackup', [...from, '-D', folder, '-c', 'fast']);
    return folder;
  }

  /** One that begins as the base backup of `primary` in `folder`, and follows its archive up to an instant. */
  static async recover(primary, folder, instant) {
    const dir = mkdtempSync(join(tmpdir(), 'bench-pg-'));
    onEnd(() => rmSync(dir, { recursive: true, force: true }));
    if (asRoot) await run('chown', ['postgres', dir]);
    const recovered = new Database(primary.bin, join(dir, 'data'), dir, await freePort());
    await run(...asPostgres('cp', ['-a', folder, recovered.data]), { cwd: '/' });
    await run(...asPostgres('touch', [join(recovered.data, 'recovery.signal')]), { cwd: '/' });
    const { archive_mode, ...settings } = primary.settings;
    recovered.settings = {
      ...settings,
      restore_command: `'cp ${primary.archived}/%f %p'`,
      recovery_target_time: `'${instant}'`,
      recovery_target_action: 'promote',
    };
    onEnd(() => recovered.stop());
    await recovered.restart();
    while ((await recovered.psql('postgres', 'SELECT pg_is_in_recovery()', 'postgres')) !== 'f') await sleep(20);
    return recovered;
  }

  constructor(bin, data, dir, port) {
    Object.assign(this, { bin, data, dir, port, log: join(dir, 'log') });
  }

  #program(name, args) {
    return run(...asPostgres(join(this.bin, name), args), { cwd: '/' });
  }

  url(name, user = 'cardea') {
    return `postgres://${user}@127.0.0.1:${this.port}/${name}`;
  }

  /** An empty database, owned by the role `cardea`. */
  async create(name) {
    const sql = `DO $$ BEGIN CREATE ROLE cardea LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;\nCREATE DATABASE ${name} OWNER cardea;`;
    await this.psql('postgres', sql, 'postgres');
  }

  /** Runs SQL and gives what it answered, without headings, columns between `|`. */
  async psql(name, sql, user = 'cardea') {
    const args = ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', `${this.port}`, '-U', user, '-d', name];
    return (await run(join(this.bin, 'psql'), args, { input: sql })).trim();
  }

  version() {
    return this.psql('postgres', 'SHOW server_version', 'postgres');
  }

  cpu() {
    return cpuSecondsOfTree(this.pid);
  }

  /** Stops it, by the pid that its own file names. */
  stop() {
    if (this.stopped) return;
    this.stopped = true;
    spawnSync(...asPostgres(join(this.bin, 'pg_ctl'), ['-D', this.data, '-m', 'fast', '-w', 'stop']), { cwd: '/' });
  }
}
