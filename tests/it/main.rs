//! The whole server, in-process over HTTP, each test with a database of its own.

mod harness;

mod login;
mod profile;
mod registration;
