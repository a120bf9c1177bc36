//! Who asks: the caller of a request, from where, and the access token that says so.

pub mod access_cache;
pub mod access_token;
pub mod keys;
pub mod requester;
