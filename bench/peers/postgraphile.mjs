// PostGraphile on its own HTTP server: types and relations from the tables, `me` and two short cuts by hand.

import './_node20.mjs';

import { createServer } from 'node:http';

import { PgSimplifyInflectionPreset } from '@graphile/simplify-inflection';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { makePgService } from 'postgraphile/adaptors/pg';
import { context, each } from 'postgraphile/grafast';
import { grafserv } from 'postgraphile/grafserv/node';
import { extendSchema, gql } from 'postgraphile/utils';
import { postgraphile } from 'postgraphile';

import { caller, pool, port, serve } from './_shared.mjs';

/** The rows that a table in between leads to. */
const through = (between, by, to, column) => each(between.find(by), ($row) => to.get({ id: $row.get(column) }));

// The fields are called as Cardea calls them, and lead through the tables in between.
const additions = extendSchema((build) => {
  const { users, user_roles: userRoles, role_permissions: rolePermissions } = build.pgResources;
  return {
    typeDefs: gql`
      extend type Query { me: User }
      extend type User { roles: [Role!]! }
      extend type Role { permissions: [Permission!]! }
    `,
    objects: {
      Query: { plans: { me: () => users.get({ auth_token: context().get('sub') }) } },
      User: { plans: { roles: ($user) => through(userRoles, { user_id: $user.get('id') }, build.pgResources.roles, 'role_id') } },
      Role: {
        plans: { permissions: ($role) => through(rolePermissions, { role_id: $role.get('id') }, build.pgResources.permissions, 'permission_id') },
      },
    },
  };
});

await serve(async () => {
  const instance = postgraphile({
    extends: [PostGraphileAmberPreset, PgSimplifyInflectionPreset],
    plugins: [additions],
    pgServices: [makePgService({ pool, schemas: ['public'] })],
    schema: { defaultBehavior: '-insert -update -delete', jsonScalarAsString: false },
    grafast: {
      explain: false,
      context: (request) => ({ sub: caller(request.node?.req.headers.authorization) }),
    },
    grafserv: { graphqlPath: '/graphql', graphiql: false, watch: false },
  });
  const service = instance.createServ(grafserv);
  const server = createServer();
  await service.addTo(server);
  server.listen(port, '127.0.0.1');
});
