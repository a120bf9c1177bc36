//! Rows and SQL, one file for each family of tables. No rule of the domain and no time of its own.

pub mod among;
pub mod audit_chain;
pub mod audit_event;
pub mod background;
pub mod backlog;
pub mod cleaning;
pub mod credentials;
pub mod data_key;
pub mod email_change;
pub mod erasure;
pub mod export;
pub mod identity;
pub mod import_request;
pub mod job;
pub mod kept;
pub mod known_device;
pub mod login_event;
pub mod oauth_state;
pub mod passkey;
pub mod passkey_challenge;
pub mod password_history;
pub mod permission;
pub mod personalization;
pub mod profile;
pub mod rate_limit;
pub mod retention;
pub mod role;
pub mod role_snapshot;
pub mod session;
pub mod signing_key;
pub mod statistics;
pub mod trusted_device;
pub mod two_factor;
pub mod two_factor_challenge;
pub mod unsealed_value;
pub mod user;
pub mod user_import;
pub mod user_page;
pub mod verification_token;
pub mod webhook;

/// An enum that is kept as text and shown as a GraphQL enum; the doc comments are API text.
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(
            async_graphql::Enum, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
            Clone, Copy, Debug, PartialEq, Eq, Hash,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        $vis enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// The text in the database.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value whose text this is.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg>>::to_sql(self.as_str(), out)
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                let text = <String as diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg>>::from_sql(bytes)?;
                Self::from_text(&text).ok_or_else(|| format!(concat!("unknown ", stringify!($name), " {}"), text).into())
            }
        }
    };
}
pub(crate) use text_enum;
