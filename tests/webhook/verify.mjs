// Verifies an event with the library of Standard Webhooks, under either secret; a changed one must not pass.
import { Webhook } from 'standardwebhooks';
import { createHmac } from 'node:crypto';
import assert from 'node:assert/strict';

const { SECRET, OTHER_SECRET, ID, TIMESTAMP, SIGNATURES, BODY } = process.env;
const headers = {
  'webhook-id': ID,
  'webhook-timestamp': TIMESTAMP,
  'webhook-signature': SIGNATURES,
};
// The library refuses what is older or newer than five minutes; the clock of the test stands elsewhere.
Date.now = () => Number(TIMESTAMP) * 1000;
for (const secret of [SECRET, OTHER_SECRET]) {
  assert.deepEqual(new Webhook(secret).verify(BODY, headers), JSON.parse(BODY));
  assert.throws(() => new Webhook(secret).verify(BODY + ' ', headers));
  assert.throws(() => new Webhook(secret).verify(BODY, { ...headers, 'webhook-id': 'other' }));
}
// And by hand.
const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
const code = createHmac('sha256', key).update(`${ID}.${TIMESTAMP}.${BODY}`).digest('base64');
assert.ok(SIGNATURES.split(' ').includes(`v1,${code}`));
console.log('verified');
