//! Hash maps for keys that are digests or public keys, or begin with one.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

/// A hash map with a hash that is quicker than the standard one, seeded anew for each map. Peers choose the keys, but only from
/// what comes out of SHA-256 or of a group, and do not see the seed. Where order matters nobody may iterate over it.
pub type HashedMap<K, V> = HashMap<K, V, RandomState>;

/// The same without values.
pub type HashedSet<K> = HashSet<K, RandomState>;
