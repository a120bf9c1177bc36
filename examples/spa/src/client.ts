// Requests to the server. The tokens lie in cookies that no script sees; an access token that is over is
// renewed without anybody noticing.
import { cacheExchange, Client, fetchExchange, mapExchange } from 'urql';
import { RefreshDocument } from './gql/graphql';

const meta = document.querySelector<HTMLMetaElement>('meta[name="cardea"]');
export const SERVER = meta?.content ?? '';
const ENDPOINT = new URL('/graphql', SERVER).href;

/** Sends the cookies along; without the header the server refuses them, for other sites cannot set it. */
const WITH_COOKIES = { credentials: 'include', headers: { 'graphql-require-preflight': '1' } } as const;

/** Where the session has ended the answer takes its cookies away, and what is sent again is sent by nobody. */
async function refresh(): Promise<void> {
  const bare = new Client({ url: ENDPOINT, fetchOptions: WITH_COOKIES, preferGetMethod: false, exchanges: [fetchExchange] });
  await bare.mutation(RefreshDocument, {});
}

let refreshing: Promise<void> | undefined;

/** As `fetch`, but once more after a 401, which says that the access token is over. */
async function fetchRenewing(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const response = await fetch(input, init);
  if (response.status !== 401 || init?.credentials !== 'include') return response;
  refreshing ??= refresh().finally(() => {
    refreshing = undefined;
  });
  await refreshing;
  return fetch(input, init);
}

/** A client with an empty cache, for each time that somebody else is signed in. */
export function newClient(onSignedOut: () => void): Client {
  return new Client({
    url: ENDPOINT,
    fetch: fetchRenewing,
    fetchOptions: WITH_COOKIES,
    // What people search for has no place in addresses, which servers write down.
    preferGetMethod: false,
    exchanges: [
      mapExchange({
        onError(error) {
          if (error.graphQLErrors.some(({ extensions }) => extensions['code'] === 'UNAUTHENTICATED')) onSignedOut();
        },
      }),
      cacheExchange,
      fetchExchange,
    ],
  });
}
