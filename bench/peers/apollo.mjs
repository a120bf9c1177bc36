// Apollo Server on its own HTTP server, with a set of DataLoaders for each request.

import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
import DataLoader from 'dataloader';

import { caller, newestUsers, permissionsOf, port, profilesOf, rolesOf, serve, typeDefs, userByToken } from './_shared.mjs';

await serve(async () => {
  const server = new ApolloServer({
    typeDefs,
    introspection: false,
    resolvers: {
      Query: {
        me: (_, __, { sub }) => (sub ? userByToken(sub) : null),
        users: async (_, { first }, { sub }) => (sub ? { nodes: await newestUsers(first) } : null),
      },
      User: {
        profile: ({ id }, _, { profiles }) => profiles.load(id),
        roles: ({ id }, _, { roles }) => roles.load(id),
      },
      Role: { permissions: ({ id }, _, { permissions }) => permissions.load(id) },
    },
  });
  await startStandaloneServer(server, {
    listen: { port, host: '127.0.0.1' },
    context: async ({ req }) => ({
      sub: caller(req.headers.authorization),
      profiles: new DataLoader(profilesOf),
      roles: new DataLoader(rolesOf),
      permissions: new DataLoader(permissionsOf),
    }),
  });
});
