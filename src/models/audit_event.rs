//! The table `audit_events`: what was done, by whom, to whom. Appended only; the database refuses the rest.

use std::collections::HashMap;
use std::ops::Range;

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{Array, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::db::Conn;
use crate::models::among::AmongExt as _;
use crate::models::text_enum;
use crate::models::user_page::Span;
use crate::scalar::{DateTime, Json};
use crate::schema::audit_events;

text_enum! {
    /// What was done, as the audit trail names it. New values may be added.
    pub enum AuditAction {
        /// Something was asked for that the caller may not do or read.
        AccessDenied = "access_denied",
        /// The account was opened; as a failure, somebody tried to register with its address.
        AccountCreated = "account_created",
        /// The account was closed.
        AccountDeactivated = "account_deactivated",
        /// The account was erased, or could not be.
        AccountErased = "account_erased",
        /// The account was opened again.
        AccountReactivated = "account_reactivated",
        /// Wrong passwords and codes that shut somebody out were forgotten.
        AccountUnlocked = "account_unlocked",
        /// Everything kept about the account was exported.
        DataExported = "data_exported",
        /// The account moved to another mail address, or back.
        EmailChanged = "email_changed",
        /// A move to another mail address was asked for.
        EmailChangeRequested = "email_change_requested",
        /// The mail address was proved.
        EmailVerified = "email_verified",
        /// The erasure of the account was called off.
        ErasureCancelled = "erasure_cancelled",
        /// The erasure of the account was asked for.
        ErasureRequested = "erasure_requested",
        /// Somebody who signs in has proved one thing, and is asked for another, or for a new password.
        FirstFactorProved = "first_factor_proved",
        /// The owner was warned that the account is not used.
        InactivityWarned = "inactivity_warned",
        /// Somebody signed in, or tried to.
        Login = "login",
        /// Somebody signed out.
        Logout = "logout",
        /// The keys of sealed values were wrapped with another master key.
        MasterKeyRotated = "master_key_rotated",
        /// A passkey was added.
        PasskeyAdded = "passkey_added",
        /// A passkey was refused whose counter has not grown: somebody may hold a copy of it.
        PasskeyRefused = "passkey_refused",
        /// A passkey was removed.
        PasskeyRemoved = "passkey_removed",
        /// The password was changed, reset or set for the first time.
        PasswordChanged = "password_changed",
        /// A mail to reset the password was asked for.
        PasswordResetRequested = "password_reset_requested",
        /// A permission was added.
        PermissionCreated = "permission_created",
        /// A permission was deleted.
        PermissionDeleted = "permission_deleted",
        /// Somebody else's personal data was read.
        PersonalDataRead = "personal_data_read",
        /// Names, profile or coaching data were changed.
        ProfileUpdated = "profile_updated",
        /// A provider was tied to the account.
        ProviderLinked = "provider_linked",
        /// A provider was untied from the account.
        ProviderUnlinked = "provider_unlinked",
        /// The person at the keyboard proved anew who they are, or failed to.
        Reauthenticated = "reauthenticated",
        /// A recovery code was used.
        RecoveryCodeUsed = "recovery_code_used",
        /// The recovery codes were replaced.
        RecoveryCodesReplaced = "recovery_codes_replaced",
        /// A refresh token was used twice, and its session ended.
        RefreshTokenReused = "refresh_token_reused",
        /// A role was given to the account.
        RoleAssigned = "role_assigned",
        /// A role or what it grants was changed.
        RoleChanged = "role_changed",
        /// A role was added.
        RoleCreated = "role_created",
        /// A role was deleted.
        RoleDeleted = "role_deleted",
        /// A role was taken from the account.
        RoleRemoved = "role_removed",
        /// Sessions were ended from elsewhere.
        SessionRevoked = "session_revoked",
        /// A key that signs access tokens was added, taken into use or removed.
        SigningKeyChanged = "signing_key_changed",
        /// The second factor was switched off.
        TwoFactorDisabled = "two_factor_disabled",
        /// The second factor was switched on, or its authenticator app replaced.
        TwoFactorEnabled = "two_factor_enabled",
        /// The second factor was taken off by an administrator, or when a change of the address was undone.
        TwoFactorReset = "two_factor_reset",
        /// Accounts were taken in from elsewhere, or it was tried whether they can be.
        UsersImported = "users_imported",
    }
}

text_enum! {
    /// How something ended that the audit trail tells of.
    pub enum AuditOutcome {
        /// Who asked may not.
        Denied = "denied",
        /// It was tried and did not succeed.
        Failure = "failure",
        /// It was done.
        Success = "success",
    }
}

/// An entry of the audit trail.
#[derive(HasQuery, QueryableByName, Insertable, Clone, Debug)]
#[diesel(table_name = audit_events)]
#[expect(missing_docs, reason = "the columns are described in the database")]
pub struct AuditEvent {
    pub id: Uuid,
    pub occurred_at: DateTime,
    pub action: AuditAction,
    pub outcome: AuditOutcome,
    pub actor_id: Option<Uuid>,
    pub subject_id: Option<Uuid>,
    pub request_id: Option<String>,
    pub client: Option<Vec<u8>>,
    pub reason: Option<Vec<u8>>,
    pub details: Json,
    pub mac: Vec<u8>,
    /// In order, each once.
    pub subjects: Option<Vec<Uuid>>,
}

/// Most accounts that one entry is about.
pub const MOST_SUBJECTS: usize = 100;

/// An entry, and one of the accounts that it is about.
#[derive(QueryableByName)]
struct About {
    #[diesel(sql_type = SqlUuid)]
    about: Uuid,
    #[diesel(embed)]
    event: AuditEvent,
}

/// All of time in three pieces: a month and a year back from `at`, or ahead of it, and the rest.
fn spans(back: bool, at: DateTime) -> [Range<DateTime>; 3] {
    // No clock that is merely wrong tells such instants.
    let least = DateTime(chrono::DateTime::UNIX_EPOCH);
    let most = DateTime(*least + TimeDelta::days(366 * 8000));
    let by = |days: i64| TimeDelta::days(if back { -days } else { days });
    let [month, year] = [31, 366].map(|days| DateTime(*at + by(days)));
    if back {
        [month..most, year..month, least..year]
    } else {
        [least..month, month..year, year..most]
    }
}

/// Which entries; all conditions must hold.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each is a column")]
pub struct AuditFilter {
    pub actions: Option<Vec<AuditAction>>,
    pub outcomes: Option<Vec<AuditOutcome>>,
    pub actor_id: Option<Uuid>,
    pub subject_id: Option<Uuid>,
    /// Half open: from the first, before the second.
    pub occurred_at: Span,
}

impl AuditFilter {
    /// Whether the entry is one of those.
    #[must_use]
    pub fn matches(&self, event: &AuditEvent) -> bool {
        let (from, to) = self.occurred_at;
        self.actions
            .as_ref()
            .is_none_or(|actions| actions.contains(&event.action))
            && self
                .outcomes
                .as_ref()
                .is_none_or(|outcomes| outcomes.contains(&event.outcome))
            && (self.actor_id.is_none() || self.actor_id == event.actor_id)
            && self
                .subject_id
                .is_none_or(|subject| event.is_about(|one| one == subject))
            && from.is_none_or(|from| event.occurred_at >= from)
            && to.is_none_or(|to| event.occurred_at < to)
    }
}

/// Where an entry stands in the trail.
pub type AuditPosition = (DateTime, Uuid);

impl AuditEvent {
    /// Whether one of the accounts that it was done to is a certain one.
    #[must_use]
    pub fn is_about(&self, is: impl Fn(Uuid) -> bool) -> bool {
        self.all_subjects().iter().any(|subject| is(*subject))
    }

    /// The accounts that it was done to.
    #[must_use]
    pub fn all_subjects(&self) -> &[Uuid] {
        self.subjects
            .as_deref()
            .unwrap_or(self.subject_id.as_slice())
    }

    /// Appends entries.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn insert(conn: &mut Conn, events: &[Self]) -> QueryResult<()> {
        diesel::insert_into(audit_events::table)
            .values(events)
            .execute(conn)
            .await
            .map(drop)
    }

    /// The entries with these ids, in no order; unknown ids are left out.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn by_ids(conn: &Conn, ids: &[Uuid]) -> QueryResult<Vec<Self>> {
        Self::query()
            .filter(audit_events::id.among(ids))
            .load(&mut &*conn)
            .await
    }

    /// For each of these accounts at most `limit` entries of what was done to it, with the account: the newest, the newest
    /// first, or the oldest, the oldest first.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn ends(
        conn: &Conn,
        accounts: &[Uuid],
        newest: bool,
        limit: usize,
        now: DateTime,
    ) -> QueryResult<Vec<(Uuid, Self)>> {
        let order = if newest { "DESC" } else { "ASC" };
        let order = format!("ORDER BY occurred_at {order}, id {order} LIMIT {limit}");
        let alone = format!(
            "SELECT one.id AS about, events.* FROM unnest($1) AS one (id) CROSS JOIN LATERAL ( \
                 SELECT * FROM audit_events WHERE subject_id = one.id {order} \
             ) AS events"
        );
        let alone = diesel::sql_query(alone).bind::<Array<SqlUuid>, _>(accounts);
        let mut found: Vec<About> = alone.load(&mut &*conn).await?;
        let first = found.iter().map(|about| about.event.occurred_at).min();
        // No index has those about several accounts in order: they are gathered. Who is in a list that somebody keeps
        // open is named by thousands a month; so it is looked no further back than needed, and in spans that grow. The
        // fence keeps the planner from reading the whole span in order where it expects to find enough of them soon.
        let several = format!(
            "SELECT one.id AS about, events.* FROM unnest($1) AS one (id) CROSS JOIN LATERAL ( \
                 SELECT * FROM ( \
                     SELECT * FROM audit_events \
                     WHERE subjects @> ARRAY[one.id] AND occurred_at >= $2 AND occurred_at < $3 OFFSET 0 \
                 ) AS gathered {order} \
             ) AS events"
        );
        let mut missing = accounts.to_vec();
        for span in spans(newest, if newest { now } else { first.unwrap_or(now) }) {
            let several = diesel::sql_query(&several)
                .bind::<Array<SqlUuid>, _>(&missing)
                .bind::<Timestamptz, _>(span.start)
                .bind::<Timestamptz, _>(span.end);
            found.extend(several.load::<About>(&mut &*conn).await?);
            let seen = |event: &Self| {
                if newest {
                    event.occurred_at >= span.start
                } else {
                    event.occurred_at < span.end
                }
            };
            missing.retain(|account| {
                let theirs = found.iter().filter(|about| about.about == *account);
                theirs.filter(|about| seen(&about.event)).count() < limit
            });
            if missing.is_empty() {
                break;
            }
        }
        found.sort_unstable_by_key(|about| (about.event.occurred_at, about.event.id));
        if newest {
            found.reverse();
        }
        let mut counts: HashMap<Uuid, usize> = HashMap::new();
        found.retain(|about| {
            let count = counts.entry(about.about).or_default();
            *count += 1;
            *count <= limit
        });
        let found = found.into_iter();
        Ok(found.map(|found| (found.about, found.event)).collect())
    }

    /// At most `limit` entries that match, younger than `older` and older than `younger`; the newest first with
    /// `descending`.
    ///
    /// # Errors
    /// If the database cannot answer.
    pub async fn page(
        conn: &mut Conn,
        filter: &AuditFilter,
        (older, younger): (Option<AuditPosition>, Option<AuditPosition>),
        descending: bool,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        use audit_events::{action, actor_id, id, occurred_at, outcome, subject_id, subjects};
        let mut query = audit_events::table
            .select(Self::as_select())
            .limit(limit)
            .into_boxed();
        if let Some(actions) = &filter.actions {
            query = query.filter(action.eq_any(actions));
        }
        if let Some(outcomes) = &filter.outcomes {
            query = query.filter(outcome.eq_any(outcomes));
        }
        if let Some(actor) = filter.actor_id {
            query = query.filter(actor_id.eq(actor));
        }
        if let Some(subject) = filter.subject_id {
            query = query.filter(subject_id.eq(subject).or(subjects.contains(vec![subject])));
        }
        let (from, to) = filter.occurred_at;
        if let Some(from) = from {
            query = query.filter(occurred_at.ge(from));
        }
        if let Some(to) = to {
            query = query.filter(occurred_at.lt(to));
        }
        // The first half of each condition says which months are looked at.
        if let Some((at, last)) = older {
            query = query.filter(occurred_at.ge(at).and(occurred_at.gt(at).or(id.gt(last))));
        }
        if let Some((at, last)) = younger {
            query = query.filter(occurred_at.le(at).and(occurred_at.lt(at).or(id.lt(last))));
        }
        query = if descending {
            query.order((occurred_at.desc(), id.desc()))
        } else {
            query.order((occurred_at.asc(), id.asc()))
        };
        query.load(conn).await
    }
}
