// A second subgraph that knows accounts by their UUID, and a real gateway that composes it with the server:
// one query reads from both, in the rights of the caller whose token the gateway passes on.
import { ApolloGateway, IntrospectAndCompose, LocalGraphQLDataSource, RemoteGraphQLDataSource } from '@apollo/gateway';
import { buildSubgraphSchema } from '@apollo/subgraph';
import { parse } from 'graphql';
import { createServer } from 'node:http';
import { graphql } from 'graphql';
import assert from 'node:assert/strict';

const { SERVER, ADMIN, OWN, ADA, BOB, GONE } = process.env;

// Each account has one order; the third one's account is gone.
const orders = [ADA, BOB, GONE].map((uuid, at) => ({ number: at + 1, uuid }));
const schema = buildSubgraphSchema({
  typeDefs: parse(`
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key"])
    type Query { orders: [Order!]! }
    type Order @key(fields: "number") { number: Int!, buyer: User }
    type User @key(fields: "uuid") { uuid: UUID!, orders: [Order!]! }
    scalar UUID
  `),
  resolvers: {
    Query: { orders: () => orders },
    Order: { buyer: (order) => ({ uuid: order.uuid }) },
    User: { orders: (user) => orders.filter((order) => order.uuid === user.uuid) },
  },
});

const shop = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { query, variables } = JSON.parse(Buffer.concat(chunks));
  const result = await graphql({ schema, source: query, variableValues: variables });
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(result));
});
await new Promise((done) => shop.listen(0, '127.0.0.1', done));

class Source extends RemoteGraphQLDataSource {
  willSendRequest({ request, context }) {
    if (context?.token) request.http.headers.set('authorization', `Bearer ${context.token}`);
  }
}
const gateway = new ApolloGateway({
  supergraphSdl: new IntrospectAndCompose({
    subgraphs: [
      { name: 'accounts', url: `${SERVER}/graphql` },
      { name: 'shop', url: `http://127.0.0.1:${shop.address().port}/` },
    ],
  }),
  buildService: ({ url }) => new Source({ url }),
});
const { executor, schema: composed } = await gateway.load();

async function ask(token, query) {
  const result = await executor({
    request: { query, variables: {} },
    document: parse(query),
    operationName: null,
    queryHash: query,
    context: { token },
    cache: new Map(),
    schema: composed,
    metrics: {},
    overallCachePolicy: {},
  });
  return JSON.parse(JSON.stringify(result));
}

// From the server's root to the other service's field.
assert.deepEqual(await ask(OWN, '{ me { fullName orders { number } } }'), {
  data: { me: { fullName: 'ada Example', orders: [{ number: 1 }] } },
});
// From the other service's root to the server's entities, by their UUID.
const list = '{ orders { number buyer { fullName email orders { number } } } }';
const all = await ask(ADMIN, list);
assert.deepEqual(all.data.orders.slice(0, 2), [
  { number: 1, buyer: { fullName: 'ada Example', email: 'ada@example.org', orders: [{ number: 1 }] } },
  { number: 2, buyer: { fullName: 'bob Example', email: 'bob@example.org', orders: [{ number: 2 }] } },
]);
assert.equal(all.data.orders[2].buyer, null);
// Somebody else's account is not there for who may not see it.
const own = await ask(OWN, list);
assert.equal(own.data.orders[0].buyer.email, 'ada@example.org');
assert.equal(own.data.orders[1].buyer, null);
// And nobody's without a token.
const nobody = await ask(undefined, list);
assert.deepEqual(nobody.data.orders.map((order) => order.buyer), [null, null, null]);
assert.ok(!JSON.stringify(nobody).includes('example.org'));

await gateway.stop();
shop.close();
shop.closeAllConnections();
console.log('joined');
