// What both clients do: follow until the last of three sessions ends.
export const { BASE_URL, TOKEN, OTHER } = process.env;
if (!BASE_URL || !TOKEN || !OTHER) throw new Error('BASE_URL, TOKEN and OTHER are to be set');

export const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

/**
 * Gives why the first and the last session ended. With the first it ends that of OTHER, which shows
 * whoever waits for it that events come.
 */
export async function follow(client) {
  const reasons = [];
  for await (const { data, errors } of client.iterate({ query: 'subscription { sessionRevoked { reason } }' })) {
    if (errors) throw new Error(JSON.stringify(errors));
    reasons.push(data.sessionRevoked.reason);
    if (reasons.length === 1) {
      await fetch(new URL('/graphql', BASE_URL), {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${OTHER}` },
        body: JSON.stringify({ query: 'mutation { logout { endedSessions } }' }),
      });
    }
    if (data.sessionRevoked.reason === 'USER') break;
  }
  return [reasons[0], reasons.at(-1)];
}
