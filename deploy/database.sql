-- Run once, when the database is made: the server gets a role that is no superuser. The superuser is left without a
-- password, so that it is reached from inside the container alone.
\set password `cat /run/secrets/database-password`
CREATE ROLE cardea LOGIN PASSWORD :'password';
CREATE DATABASE cardea OWNER cardea;
ALTER ROLE postgres PASSWORD NULL;
