// Follows the sessions of who holds TOKEN at the server at BASE_URL with the client graphql-sse, through a
// restart of the server.
import { createClient } from 'graphql-sse';
import { BASE_URL, TOKEN, follow, pause } from './follow.mjs';

let connections = 0;
const url = new URL('/graphql', BASE_URL).href;
const client = createClient({
  url,
  headers: { authorization: `Bearer ${TOKEN}` },
  retryAttempts: 200,
  retry: pause,
  on: { connected: () => { connections += 1; } },
});
const events = await follow(client);
client.dispose();

const stranger = createClient({ url, retryAttempts: 0 });
const query = 'subscription { sessionRevoked { reason } }';
const refused = await stranger.iterate({ query }).next().catch(({ response }) => response.status);
console.log(JSON.stringify({ events, restart: connections > 1, refused }));
