// Follows the sessions of who holds TOKEN at the server at BASE_URL with the client graphql-ws, through a
// restart of the server.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { BASE_URL, TOKEN, follow, pause } from './follow.mjs';

const codes = [];
const client = createClient({
  url: new URL('/graphql', BASE_URL).href.replace('http', 'ws'),
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: `Bearer ${TOKEN}` },
  retryAttempts: 200,
  retryWait: pause,
  // Without it, a server that is not back yet is tried no more.
  shouldRetry: () => true,
  on: { closed: ({ code }) => codes.push(code) },
});
const events = await follow(client);

// A mutation does not run here, and what is wrong with it is said.
const query = 'mutation { logout { endedSessions } }';
const refused = await client.iterate({ query }).next().catch((errors) => errors);
await client.dispose();
// A false token is not tried for ever: the client is told why.
const stranger = createClient({
  url: new URL('/graphql', BASE_URL).href.replace('http', 'ws'),
  webSocketImpl: WebSocket,
  connectionParams: { Authorization: 'Bearer x' },
  retryAttempts: 0,
});
const kept = await stranger.iterate({ query }).next().catch(({ code }) => code);
console.log(JSON.stringify({ events, restart: codes.includes(1001), refused: refused[0].extensions.code, kept }));
