// Programs that the harness starts: how they are started, measured and ended.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:net';

const ticksPerSecond = Number(spawnSync('getconf', ['CLK_TCK']).stdout) || 100;

const atTheEnd = [];

/** What is to be undone when the harness ends, however it ends; the latest first. Has to be synchronous. */
export function onEnd(undo) {
  atTheEnd.push(undo);
}

/** Ends everything that was started. */
export function endAll() {
  while (atTheEnd.length > 0) {
    try {
      atTheEnd.pop()();
    } catch (error) {
      process.stderr.write(`while ending: ${error.message}\n`);
    }
  }
}

process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(130));
}

/** A port of the loopback that nobody listens on. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Runs a program to its end, and gives what it printed. */
export function run(program, args, { input, env, show = false, cwd } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      // What is shown goes past the tables, which are all that stands in the output.
      stdio: ['pipe', show ? 2 : 'pipe', show ? 2 : 'pipe'],
    });
    const out = [];
    const err = [];
    child.stdout?.on('data', (chunk) => out.push(chunk));
    child.stderr?.on('data', (chunk) => err.push(chunk));
    child.on('error', reject);
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    // Not `close`: what `pg_ctl` starts keeps the pipes open.
    child.on('exit', async (code) => {
      await sleep(5);
      child.stdout?.destroy();
      child.stderr?.destroy();
      const text = Buffer.concat(out).toString();
      if (code === 0) resolve(text);
      else reject(new Error(`${program} ${args.join(' ')} ended with ${code}\n${text}${Buffer.concat(err)}`));
    });
  });
}

/** Ends a program from a handler that cannot wait: asks it, so that it ends what it started itself, and then insists. */
function endNow(child) {
  child.kill('SIGTERM');
  for (let turn = 0; turn < 100; turn += 1) {
    try {
      if (readFileSync(`/proc/${child.pid}/stat`, 'latin1').includes(') Z ')) return;
    } catch {
      return;
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  }
  child.kill('SIGKILL');
}

/** Starts a program that stays, and gives a handle on it. */
export function start(program, args, { env, cwd } = {}) {
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const log = [];
  const keep = (chunk) => {
    log.push(chunk.toString());
    if (log.length > 200) log.shift();
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  let ended = false;
  const end = new Promise((resolve) => {
    child.on('error', (error) => log.push(String(error)));
    child.on('close', (code) => {
      ended = true;
      resolve(code);
    });
  });
  onEnd(() => ended || endNow(child));
  return {
    pid: child.pid,
    child,
    log: () => log.join(''),
    running: () => !ended,
    stop: async () => {
      if (!ended) child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 12_000);
      await end;
      clearTimeout(late);
    },
  };
}

/** The fields of /proc/<pid>/stat behind the name, which may hold blanks. */
function stat(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ').map(Number);
}

/** Seconds of processor time that a process and those of its children that have ended took. */
export function cpuSeconds(pid) {
  const fields = stat(pid);
  return (fields[11] + fields[12] + fields[13] + fields[14]) / ticksPerSecond;
}

/** Seconds of processor time of a process and all below it. */
export function cpuSecondsOfTree(pid) {
  const children = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = stat(name)[1];
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended meanwhile.
    }
  }
  let sum = 0;
  const walk = (one) => {
    try {
      sum += cpuSeconds(one);
    } catch {
      return;
    }
    for (const child of children.get(one) ?? []) walk(child);
  };
  walk(pid);
  return sum;
}

/** Seconds of processor time that everything on the machine took. */
export function cpuSecondsOfAll() {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'latin1').split('\n')[0].split(/ +/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / ticksPerSecond;
}

/** MiB that a process and all below it hold in memory. */
export function rssOf(pid) {
  let kib = 0;
  const walk = (one) => {
    try {
      kib += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${one}/status`, 'latin1'))?.[1] ?? 0);
      const below = readFileSync(`/proc/${one}/task/${one}/children`, 'latin1').trim();
      for (const child of below.split(' ').filter(Boolean)) walk(child);
    } catch {
      // It has ended meanwhile.
    }
  };
  walk(pid);
  return kib / 1024;
}
