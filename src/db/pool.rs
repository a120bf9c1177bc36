//! How a pool of connections is set up.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use diesel::ConnectionError;
use diesel_async::SimpleAsyncConnection as _;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use futures_util::FutureExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::db::statement::count_statements;
use crate::db::{CONNECT_TIMEOUT, Conn, Tally, connect, replica};

/// A pool of so many connections to the database at `url`, for each of which somebody waits so long; it connects when
/// first asked. Each runs `setup` at its beginning, and has to lead to a replica of `primary` where that is given.
pub(super) fn build(
    url: &SecretString,
    (size, wait): (usize, Duration),
    setup: String,
    primary: Option<Arc<OnceLock<String>>>,
    counter: Tally,
) -> anyhow::Result<Pool<Conn>> {
    let mut manager = ManagerConfig::default();
    // A check by query costs a round trip at each checkout; a connection that broke is found
    // by its first statement and dropped then.
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |url| {
        let (setup, primary, counter) = (setup.clone(), primary.clone(), counter.clone());
        async move {
            let refused =
                |error: anyhow::Error| ConnectionError::BadConnection(format!("{error:#}"));
            let mut conn = connect(url).await.map_err(refused)?;
            if !setup.is_empty() {
                conn.batch_execute(&setup)
                    .await
                    .map_err(ConnectionError::CouldntSetupConfiguration)?;
            }
            if let Some(primary) = primary {
                let told = replica::tell(&conn).await.map_err(refused)?;
                told.refuse_stranger(&primary).map_err(refused)?;
            }
            count_statements(&mut conn, counter);
            Ok(conn)
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::new_with_config(url.expose_secret(), manager);
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(wait))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .context("the database pool cannot be set up")
}
