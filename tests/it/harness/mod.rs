//! What tests begin with: a server on its own database, and callers that go through its API.

pub mod app;
pub mod client;
pub mod db;

pub use app::TestApp;
pub use client::{Answer, Client};
