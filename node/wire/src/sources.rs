//! How many connections or handshakes a socket has, in all and for each source address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what is open; [`Sources::enter`] refuses beyond the limits.
#[derive(Debug)]
pub(crate) struct Sources {
    max_total: usize,
    max_per_source: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A place among the open ones, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    pub(crate) fn new(max_total: usize, max_per_source: usize) -> Arc<Self> {
        Arc::new(Self {
            max_total,
            max_per_source,
            open: Mutex::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub(crate) fn total(&self) -> usize {
        self.open().total
    }

    /// Takes a place for `address`, unless all or those of its source are taken.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = source_of(address);
        let mut open = self.open();
        let of_source = open.by_source.get(&source).copied().unwrap_or(0);
        if open.total >= self.max_total || of_source >= self.max_per_source {
            return None;
        }
        open.total += 1;
        open.by_source.insert(source, of_source + 1);
        Some(Place {
            sources: self.clone(),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sources.open();
        open.total = open.total.saturating_sub(1);
        match open.by_source.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.by_source.remove(&self.source);
            }
        }
    }
}

/// One subscriber has a whole IPv6 /64, so its addresses count as one source.
fn source_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]
    use super::*;

    #[test]
    fn limits_hold_for_all_and_for_each_source() {
        let sources = Sources::new(3, 2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = sources.enter(address("2001:db8::1")).unwrap();
        let _second = sources.enter(address("2001:db8::2")).unwrap();
        assert!(sources.enter(address("2001:db8::3")).is_none(), "the same /64");
        let _third = sources.enter(address("10.0.0.1")).unwrap();
        assert!(sources.enter(address("10.0.0.2")).is_none(), "all places taken");
        drop(first);
        assert_eq!(sources.total(), 2);
        assert!(
            sources.enter(address("::ffff:10.0.0.1")).is_some(),
            "the second of 10.0.0.1"
        );
    }
}
