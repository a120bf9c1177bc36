//! `….kept()`: statements that are written by hand, or hold a piece that is, with the same text each time.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// A statement that is prepared once for each connection.
#[derive(Clone, Copy, Debug)]
pub struct Kept<Q>(Q);

/// `.kept()`.
pub trait KeptExt: Sized {
    /// Has connections keep the statement, with its plan. Diesel prepares what holds `sql_query` or `sql` anew each time, because the
    /// text might be another one each time; where it is not, planning is most of what a small statement costs.
    fn kept(self) -> Kept<Self> {
        Kept(self)
    }
}

impl<Q: QueryFragment<Pg>> KeptExt for Q {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> QueryId for Kept<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
