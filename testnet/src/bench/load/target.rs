//! What a load is sent to.

use std::hash::Hash;
use std::time::Instant;

/// A system with a client, as a load sees it.
pub trait Target: Send + 'static {
    /// Tells requests that are under way from each other.
    type Id: Copy + Eq + Hash + Send;

    /// Begins a request. None if there is no room for one now.
    fn begin(&mut self) -> Option<Self::Id>;

    /// A request that has ended, if there is one nobody was told of yet.
    fn ended(&mut self) -> Option<Ended<Self::Id>>;

    /// Waits for a request to end. None if none ever will. Cancel safe.
    fn next_ended(&mut self) -> impl Future<Output = Option<Ended<Self::Id>>> + Send;
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<Id> {
    /// Which.
    pub id: Id,
    /// When the client saw it.
    pub at: Instant,
    /// The reason in a few words, if it failed.
    pub result: Result<(), &'static str>,
}
