// Mercurius on Fastify, with graphql-jit and its own loaders.

import Fastify from 'fastify';
import mercurius from 'mercurius';

import { caller, newestUsers, permissionsOf, port, profilesOf, rolesOf, serve, typeDefs, userByToken } from './_shared.mjs';

await serve(async () => {
  const app = Fastify({ logger: false });
  app.register(mercurius, {
    schema: typeDefs,
    resolvers: {
      Query: {
        me: (_, __, { sub }) => (sub ? userByToken(sub) : null),
        users: async (_, { first }, { sub }) => (sub ? { nodes: await newestUsers(first) } : null),
      },
    },
    loaders: {
      User: {
        profile: (queries) => profilesOf(queries.map(({ obj }) => obj.id)),
        roles: (queries) => rolesOf(queries.map(({ obj }) => obj.id)),
      },
      Role: { permissions: (queries) => permissionsOf(queries.map(({ obj }) => obj.id)) },
    },
    context: (request) => ({ sub: caller(request.headers.authorization) }),
    jit: 1,
    graphiql: false,
    subscription: false,
  });
  await app.listen({ port, host: '127.0.0.1' });
});
