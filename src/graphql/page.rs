//! Pages of connections: their arguments and their cursors (GraphQL Cursor Connections Specification).

use async_graphql::{Enum, InputObject, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::models::user_page::Span;
use crate::scalar::DateTime;

/// Elements on a page when no argument says.
pub const DEFAULT_SIZE: usize = 20;
/// Most elements on a page.
pub const MAX_SIZE: usize = 100;

/// Where a page of a connection lies within the whole list. Cursors are opaque, and hold only for the list and the
/// order that they come from.
#[derive(SimpleObject, Clone, Debug)]
pub struct PageInfo {
    /// Cursor of the last edge of this page, for `after`; null for an empty page.
    pub end_cursor: Option<String>,
    /// More edges follow this page.
    pub has_next_page: bool,
    /// More edges precede this page.
    pub has_previous_page: bool,
    /// Cursor of the first edge of this page, for `before`; null for an empty page.
    pub start_cursor: Option<String>,
}

/// Which way a list is ordered.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortDirection {
    /// Smallest, oldest or first in the alphabet first.
    Asc,
    /// Largest, newest or last in the alphabet first.
    Desc,
}

/// A half-open span of time: `from` is in it, `to` is not.
#[derive(InputObject, Clone, Copy, Debug)]
pub struct DateTimeRange {
    /// Start of the span; unbounded when left out.
    pub from: Option<DateTime>,
    /// End of the span; unbounded when left out.
    pub to: Option<DateTime>,
}

impl From<DateTimeRange> for Span {
    fn from(range: DateTimeRange) -> Self {
        (range.from, range.to)
    }
}

/// The four arguments of a connection.
#[derive(Debug)]
pub struct PageArguments {
    /// Behind this cursor.
    pub after: Option<String>,
    /// Before this cursor.
    pub before: Option<String>,
    /// The first so many.
    pub first: Option<i32>,
    /// The last so many.
    pub last: Option<i32>,
}

impl PageArguments {
    /// How many elements are wanted, and whether from the end.
    ///
    /// # Errors
    /// [`Error::BadInput`] for both `first` and `last`, or a number outside 1 to 100.
    pub fn size(&self) -> Result<(usize, bool)> {
        let (size, backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(Error::BadInput(
                    "Either `first` or `last`, not both.".to_owned(),
                ));
            }
            (None, None) => return Ok((DEFAULT_SIZE, false)),
            (Some(first), None) => (first, false),
            (None, Some(last)) => (last, true),
        };
        match usize::try_from(size) {
            Ok(size @ 1..=MAX_SIZE) => Ok((size, backward)),
            _ => Err(Error::BadInput(format!(
                "A page has between 1 and {MAX_SIZE} elements."
            ))),
        }
    }
}

/// Writes a position as a cursor.
#[must_use]
pub fn encode(position: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// Reads a position from a cursor.
///
/// # Errors
/// [`Error::BadInput`] for anything that is no cursor of this list.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T> {
    let refused = || Error::BadInput("This is no cursor of this list.".to_owned());
    // The longest key is an address of 254 characters.
    let bytes = (cursor.len() <= 1024)
        .then(|| URL_SAFE_NO_PAD.decode(cursor).ok())
        .flatten()
        .ok_or_else(refused)?;
    serde_json::from_slice(&bytes).map_err(|_| refused())
}
