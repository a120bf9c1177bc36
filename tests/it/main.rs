//! The whole server, in-process over HTTP, each test with a database of its own.

mod harness;

mod access;
mod cli;
mod docs;
mod jobs;
mod leak;
mod login;
mod operation;
mod profile;
mod registration;
mod roles;
mod schema;
mod server;
mod users;
mod viewer;
