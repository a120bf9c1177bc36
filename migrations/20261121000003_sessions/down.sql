DROP TABLE sessions;
DROP TABLE verification_tokens;
