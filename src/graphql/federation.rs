//! The schema as a subgraph of Apollo Federation: accounts as entities that other services extend, in the
//! rights of the caller whose token the gateway passes on.

use async_graphql::{
    Context, ID, InputValueResult, Object, Scalar, ScalarType, SimpleObject, Union, Value,
};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::graphql::context::ContextExt as _;
use crate::graphql::directive::{cost, list_size, public, requires_session};
use crate::graphql::loader::{UserById, UserByUuid};
use crate::graphql::node::Kind;
use crate::models::permission::SystemPermission;
use crate::models::user::User;

/// Most representations in one request, as for `nodes`.
const MOST: usize = 100;
/// What is used of the specification.
const LINK: &str = "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.5\", import: [\"@key\", \"@shareable\"])\n\n";

/// The schema as text, as gateways read it.
pub struct SubgraphSdl(pub String);

/// Names an object of another service: its type and the fields of one of its keys.
pub struct Any(Value);

#[Scalar(name = "_Any")]
impl ScalarType for Any {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

/// An object that other services extend.
#[derive(Union)]
#[graphql(name = "_Entity")]
pub enum Entity {
    /// An account.
    User(User),
}

/// This service.
#[derive(SimpleObject)]
#[graphql(name = "_Service")]
pub struct Service {
    /// Its schema.
    sdl: String,
}

/// What gateways ask.
#[derive(Default)]
pub struct FederationQuery;

#[Object]
impl FederationQuery {
    /// Objects by their keys, in the order asked, at most 100; null for one that does not exist or is not visible.
    #[graphql(name = "_entities", directive = requires_session::apply(false, false), directive = list_size::apply(100, Vec::new()))]
    async fn entities(
        &self,
        ctx: &Context<'_>,
        representations: Vec<Any>,
    ) -> Result<Vec<Option<Entity>>> {
        if representations.len() > MOST {
            return Err(Error::BadInput(format!("At most {MOST} representations.")));
        }
        // All of them, before anything is read.
        let keys = representations.iter().map(|one| key(&one.0));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        futures_util::future::try_join_all(keys.into_iter().map(|key| load(ctx, key))).await
    }

    /// The schema that gateways compose with those of other services.
    // A long text for anybody: dear, so that a document does not ask for it many times.
    #[graphql(name = "_service", directive = public::apply(), directive = cost::apply(4000))]
    async fn service(&self, ctx: &Context<'_>) -> Service {
        Service {
            sdl: ctx.data_unchecked::<SubgraphSdl>().0.clone(),
        }
    }
}

/// A key of an account.
enum Key {
    Id(ID),
    Uuid(String),
}

fn key(representation: &Value) -> Result<Key> {
    let Value::Object(fields) = representation else {
        return Err(Error::BadInput("A representation is an object.".to_owned()));
    };
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    if text("__typename").as_deref() != Some("User") {
        return Err(Error::BadInput(
            "A representation is of the type User.".to_owned(),
        ));
    }
    let key = text("id").map(|id| Key::Id(ID(id)));
    key.or_else(|| text("uuid").map(Key::Uuid))
        .ok_or_else(|| Error::BadInput("A representation has an `id` or a `uuid`.".to_owned()))
}

/// The account that the key names, if the caller may see it, as `node` has it.
async fn load(ctx: &Context<'_>, key: Key) -> Result<Option<Entity>> {
    let (caller, loaders) = (ctx.caller(), ctx.loaders());
    let user = match key {
        Key::Id(id) => match Kind::User.uuid(&id) {
            Some(id) => loaders.one(UserById(id)).await?,
            None => None,
        },
        Key::Uuid(uuid) => match Uuid::parse_str(&uuid) {
            Ok(uuid) => loaders.one(UserByUuid(uuid)).await?,
            Err(_) => None,
        },
    };
    let visible =
        |user: &User| caller.is(user.id) || caller.requester().has(SystemPermission::ReadAll);
    Ok(user.filter(visible).map(Entity::User))
}

/// The text of the plain schema, with what makes it a subgraph.
#[must_use]
pub fn subgraph_sdl(plain: &str) -> String {
    let keyed = plain.replacen(
        "\ntype User implements Node {",
        "\ntype User implements Node @key(fields: \"id\") @key(fields: \"uuid\") {",
        1,
    );
    // The name that pages have in every schema.
    let shared = keyed.replacen("\ntype PageInfo {", "\ntype PageInfo @shareable {", 1);
    format!("{LINK}{shared}")
}
