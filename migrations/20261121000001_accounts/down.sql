DROP TABLE personalizations;
DROP TABLE backgrounds;
DROP TABLE profiles;
DROP TABLE registration_claims;
DROP TABLE username_reservations;
DROP TABLE users;
DROP FUNCTION users_refuse_auth_token_change();
