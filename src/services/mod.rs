//! What the product does, one file for each noun or flow. It knows nothing of GraphQL's schema or of HTTP.

pub mod account;
pub mod audit;
pub mod background;
pub mod cleaning;
pub mod common_passwords;
pub mod confirm;
pub mod devices;
pub mod email;
pub mod json;
pub mod keys;
pub mod limits;
pub mod login;
pub mod mails;
pub mod password;
pub mod password_policy;
pub mod personalization;
pub mod profile;
pub mod registration;
pub mod roles;
pub mod session;
pub mod sign_in;
pub mod two_factor;
pub mod users;
pub mod validate;
