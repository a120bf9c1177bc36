//! What tests begin with: a server on its own database, and callers that go through its API.

pub mod app;
pub mod authenticator;
pub mod authority;
pub mod chromium;
pub mod client;
pub mod collector;
pub mod db;
pub mod device;
pub mod erasing;
pub mod http;
pub mod importing;
pub mod node;
pub mod oauth;
pub mod page;
pub mod pgbouncer;
pub mod player;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod python;
pub mod raw;
pub mod receiver;
pub mod replica;
pub mod roles;
pub mod served;
pub mod server;
pub mod shown;
pub mod smtp;
pub mod socket;
pub mod stream;
pub mod told;
pub mod verbs;

pub use app::TestApp;
pub use client::{Answer, Client};
pub use process::Program;
pub use server::Server;
