//! The whole server, in-process over HTTP, each test with a database of its own.

mod harness;

mod access;
mod access_token;
mod cli;
mod client_info;
mod conformance;
mod constraints;
mod cors;
mod docs;
mod document;
mod errors;
mod headers;
mod http;
mod jobs;
mod keys;
mod layers;
mod leak;
mod login;
mod media;
mod migrations;
mod nulls;
mod operation;
mod outage;
mod password_policy;
mod playground;
mod profile;
mod registration;
mod roles;
mod schema;
mod server;
mod signing_key;
mod username;
mod users;
mod viewer;
mod wire;
