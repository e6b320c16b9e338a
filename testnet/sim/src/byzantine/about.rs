//! What a behaviour that people can choose by name is, and what must hold in spite of it.

/// A behaviour as people choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// By which it is chosen.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub does: &'static str,
    /// What must hold of safety while at most f replicas do so.
    pub safety: &'static str,
    /// What must hold of liveness while at most f replicas do so.
    pub liveness: &'static str,
    /// Who can be shown to be at fault, and how.
    pub caught: &'static str,
}

/// Of every behaviour: whatever f replicas do, the others stay equal.
pub const SAFE: &str = "one chain, equal states";
