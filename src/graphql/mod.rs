//! The GraphQL door: the schema, its guard layer and its HTTP handler. It parses, asks a service, shapes
//! the answer; what the product does lies in `services`.

pub mod access;
pub mod account;
mod activity;
pub mod at_hand;
pub mod audit;
mod beside;
pub mod context;
pub mod cookie;
pub mod diff;
pub mod directive;
pub mod document;
mod documents;
pub mod email;
pub mod encode;
pub mod erasure;
pub mod error;
mod export;
pub mod federation;
pub mod handler;
pub mod identity;
pub mod import;
pub mod known;
mod literals;
pub mod live;
pub mod loader;
pub mod login;
pub mod media;
pub mod metrics;
pub mod node;
pub mod oauth;
pub mod page;
mod params;
pub mod passkey;
pub mod password;
pub mod permission;
pub mod profile;
mod request;
pub mod role;
pub mod scan;
pub mod sdl;
pub mod session;
pub mod statistics;
pub mod subscription;
pub mod trusted;
pub mod turn;
pub mod two_factor;
pub mod user;
pub mod user_page;
mod variables;
pub mod verification;
pub mod viewer;
pub mod witness;

use std::sync::Arc;

use async_graphql::{MergedObject, ObjectType, Request, Response, SchemaBuilder};
use uuid::Uuid;

use crate::error::{GeneralError, InvalidValueError, TooManyAttemptsError};
use access::{AccessLayer, SharedRules};
use documents::KnownDocuments;
use federation::{SubgraphSdl, subgraph_sdl};
use metrics::Operations;
use sdl::Rules;
use subscription::Subscription;
use trusted::TrustedDocuments;

/// Everything that can be read.
#[derive(MergedObject, Default)]
pub struct Query(
    viewer::ViewerQuery,
    user::UserQuery,
    role::RoleQuery,
    permission::PermissionQuery,
    node::NodeQuery,
    session::SessionQuery,
    statistics::StatisticsQuery,
    audit::AuditQuery,
);

/// Everything that can be read where the server is a subgraph.
#[derive(MergedObject, Default)]
#[graphql(name = "Query")]
pub struct FederatedQuery(
    viewer::ViewerQuery,
    user::UserQuery,
    role::RoleQuery,
    permission::PermissionQuery,
    node::NodeQuery,
    session::SessionQuery,
    statistics::StatisticsQuery,
    audit::AuditQuery,
    federation::FederationQuery,
);

/// Everything that can be changed. A mutation that is refused says why in the `errors` of its payload; the mutation
/// itself is null where the top-level `errors` say why. A document has at most 3, unless the operator says
/// otherwise.
#[derive(MergedObject, Default)]
pub struct Mutation(
    login::LoginMutation,
    session::SessionMutation,
    passkey::PasskeyMutation,
    password::PasswordMutation,
    two_factor::TwoFactorMutation,
    email::EmailMutation,
    account::AccountMutation,
    export::ExportMutation,
    erasure::ErasureMutation,
    profile::ProfileMutation,
    role::RoleMutation,
    permission::PermissionMutation,
    oauth::OAuthMutation,
    identity::IdentityMutation,
    import::ImportMutation,
);

/// The schema.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// A schema with the rules that its directives state. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The schema.
    pub schema: Schema,
    /// The same with what gateways ask, where that is on. Subscriptions do not go through it.
    federated: Option<async_graphql::Schema<FederatedQuery, Mutation, Subscription>>,
    rules: SharedRules,
    trusted: TrustedDocuments,
    known: KnownDocuments,
    operations: Arc<Operations>,
}

impl Api {
    /// Builds the schema and reads the rules from its text.
    ///
    /// # Errors
    /// If a directive does not say what it must.
    pub fn new() -> anyhow::Result<Self> {
        let rules = SharedRules::default();
        let schema = build::<Query>(&rules).finish();
        let parsed = Rules::parse(&schema.sdl_with_options(sdl::options()))?;
        let operations = Arc::new(Operations::new(&parsed));
        set(&rules, parsed)?;
        Ok(Self {
            schema,
            federated: None,
            rules,
            trusted: TrustedDocuments::default(),
            known: KnownDocuments::default(),
            operations,
        })
    }

    /// Builds the schema of a subgraph.
    ///
    /// # Errors
    /// As [`Api::new`].
    pub fn federated() -> anyhow::Result<Self> {
        let rules = SharedRules::default();
        let schema = build::<Query>(&rules).finish();
        let told = subgraph_sdl(&schema.sdl_with_options(sdl::options()));
        let federated = build::<FederatedQuery>(&rules)
            .data(SubgraphSdl(told))
            .finish();
        let parsed = Rules::parse(&federated.sdl_with_options(sdl::options()))?;
        let operations = Arc::new(Operations::new(&parsed));
        set(&rules, parsed)?;
        Ok(Self {
            schema,
            federated: Some(federated),
            rules,
            trusted: TrustedDocuments::default(),
            known: KnownDocuments::default(),
            operations,
        })
    }

    /// The same with documents that can be run by their ids.
    #[must_use]
    pub fn trusting(self, trusted: TrustedDocuments) -> Self {
        Self { trusted, ..self }
    }

    /// The documents that can be run by their ids.
    #[must_use]
    pub fn trusted(&self) -> &TrustedDocuments {
        &self.trusted
    }

    /// The documents that came before.
    fn known(&self) -> &KnownDocuments {
        &self.known
    }

    /// What its requests are counted as.
    #[must_use]
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// Runs a query or a mutation.
    pub async fn execute(&self, request: Request) -> Response {
        match &self.federated {
            Some(federated) => federated.execute(request).await,
            None => self.schema.execute(request).await,
        }
    }

    /// What the directives say.
    ///
    /// # Panics
    /// Never: [`Api::new`] sets them.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        self.rules.get().expect("set when the schema was built")
    }

    /// The schema as text, the content of `schema.graphql`.
    #[must_use]
    pub fn sdl(&self) -> String {
        self.schema.sdl_with_options(sdl::options())
    }
}

fn set(rules: &SharedRules, parsed: Rules) -> anyhow::Result<()> {
    rules
        .set(parsed)
        .map_err(|_| anyhow::anyhow!("the rules are set once"))
}

fn build<Q: ObjectType + Default + 'static>(
    rules: &SharedRules,
) -> SchemaBuilder<Q, Mutation, Subscription> {
    async_graphql::Schema::build(Q::default(), Mutation::default(), Subscription)
        .register_output_type::<InvalidValueError>()
        .register_output_type::<TooManyAttemptsError>()
        .register_output_type::<GeneralError>()
        .override_output_type_description::<Uuid>(
            "A 128-bit identifier in its 36-character lower-case form.",
        )
        .data(Arc::clone(rules))
        .extension(AccessLayer(Arc::clone(rules)))
        .disable_suggestions()
}
