//! The HTTP door: routes, what every request passes, and the pages beside GraphQL. No logic of the product.

pub mod client_ip;
mod cores;
pub mod cors;
pub mod exposition;
pub mod health;
pub mod inbox;
pub mod layers;
pub mod metrics;
pub mod oauth_callback;
pub mod pages;
mod patience;
pub mod playground;
pub mod serve;
mod trace;

use axum::routing::get;
use axum::{Extension, Router, middleware};

use crate::app::App;
use crate::config::Config;
use crate::graphql::trusted::TrustedDocuments;
use crate::graphql::{Api, handler};

/// Everything that the server answers.
///
/// # Errors
/// If the schema is not sound, or a trusted document does not fit it.
pub fn router(app: App) -> anyhow::Result<Router> {
    let api = api(&app.config)?;
    Ok(routes(app, api))
}

/// The same with a schema that was built before.
pub fn routes(app: App, api: Api) -> Router {
    let graphql = get(handler::graphql).post(handler::graphql);
    let cors = middleware::from_fn_with_state(app.clone(), cors::cors);
    let mut routes = Router::new()
        .route("/graphql", graphql.layer(cors))
        .merge(health::routes())
        .merge(oauth_callback::routes())
        .merge(pages::routes());
    if app.config.playground() {
        routes = routes.merge(playground::routes());
    }
    if app.mailer.inbox().is_some() {
        routes = routes.merge(inbox::routes());
    }
    routes
        .layer(Extension(api))
        .layer(middleware::from_fn_with_state(app.clone(), layers::request))
        .with_state(app)
}

/// The schema as the settings have it, with the documents that they trust.
///
/// # Errors
/// As [`router`].
pub fn api(config: &Config) -> anyhow::Result<Api> {
    let api = if config.http.federation {
        Api::federated()?
    } else {
        Api::new()?
    };
    let path = config.http.trusted_documents.as_deref();
    let trusted = TrustedDocuments::load(&api, &config.limits, pages::DOCUMENTS, path)?;
    Ok(api.trusting(trusted))
}
