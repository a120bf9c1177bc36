// Holds the server at BASE_URL against the GraphQL over HTTP specification, with the audits of
// graphql-http. Prints one JSON object: how many audits ended how, and those that did not end well.
import { auditServer } from 'graphql-http';

const { BASE_URL } = process.env;
if (!BASE_URL) throw new Error('BASE_URL is not set, e.g. to http://127.0.0.1:8000');

const results = await auditServer({ url: new URL('/graphql', BASE_URL).href, fetchFn: fetch });
const report = { total: results.length, ok: 0, notice: 0, warn: 0, error: 0, findings: [] };
for (const { id, name, status, reason } of results) {
  report[status] += 1;
  if (status !== 'ok') report.findings.push(`${status} ${id} ${name}: ${reason}`);
}
console.log(JSON.stringify(report));
