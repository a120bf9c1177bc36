// What graphql-inspector says of changes that `cardea schema diff` has judged: whatever it calls breaking, we
// must call breaking, too.
//
// `node opinion.mjs OLD NEW REPORT`, REPORT as `--format json` prints it, ends with 1 where that does not hold. With
// a file of cases in CASES it prints for each what it misses, and whether it calls anything breaking itself.
import { readFileSync } from 'node:fs';

import { CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

const read = (path) => readFileSync(path, 'utf8');

// `Query.users(first:)` is `Query.users.first` to it.
const dotted = (coordinate) => coordinate.replace('(', '.').replace(':)', '');

// A change of a type covers what is in it, and the other way round: a new argument of a directive is told at the
// directive there and at the argument here.
function covers(coordinate, path) {
  const ours = dotted(coordinate);
  if (path === undefined) return ours === 'schema';
  return ours === path || path.startsWith(`${ours}.`) || ours.startsWith(`${path}.`);
}

async function opinion({ old, new: changed, breaking }) {
  const changes = await diff(buildSchema(old), buildSchema(changed));
  const theirs = changes.filter(({ criticality }) => criticality.level === CriticalityLevel.Breaking);
  const missed = theirs.filter(({ path }) => !breaking.some((coordinate) => covers(coordinate, path)));
  const told = missed.map(({ type, path, message }) => `${type} ${path ?? 'schema'}: ${message}`);
  return { breaking: theirs.length > 0, missed: told };
}

if (process.env.CASES) {
  const opinions = [];
  for (const one of JSON.parse(read(process.env.CASES))) opinions.push(await opinion(one));
  console.log(JSON.stringify(opinions));
} else {
  const [old, changed, report] = process.argv.slice(2).map(read);
  const judged = JSON.parse(report).changes.filter(({ severity }) => severity === 'breaking');
  const breaking = judged.map(({ coordinate }) => coordinate);
  const { missed } = await opinion({ old, new: changed, breaking });
  for (const line of missed) console.log(`graphql-inspector calls this breaking: ${line}`);
  if (missed.length === 0) console.log('graphql-inspector calls nothing else breaking.');
  process.exitCode = missed.length === 0 ? 0 : 1;
}
