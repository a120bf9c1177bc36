//! Accounts that come from elsewhere: through `importUsers`, and by the command `import`.

mod batch;
mod held;
mod plain;
mod present;
mod request;
mod row;

pub use batch::{Importer, Outcome, run};
pub use plain::hash_plain;
pub use request::{ImportFailure, ImportUsersInput, Imported, import};
pub use row::{Checked, Former, ImportUserRow, Row, Seen, check};

/// Most accounts that are taken in by one transaction.
pub const BATCH: usize = 500;
