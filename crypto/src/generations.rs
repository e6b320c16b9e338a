//! A bounded memory that forgets its oldest entries.

use std::hash::Hash;

use crate::hashed::HashedMap;

/// What was put in lately, by its key. Two generations bound it: when the young one is full it becomes the old one, which is
/// forgotten. So at least the newest `size` entries are there, and never more than twice as many.
#[derive(Clone, Debug)]
pub struct Generations<K, V> {
    size: usize,
    young: HashedMap<K, V>,
    old: HashedMap<K, V>,
}

impl<K, V> Default for Generations<K, V> {
    /// One that remembers nothing.
    fn default() -> Self {
        Self::new(0)
    }
}

impl<K, V> Generations<K, V> {
    /// A memory of two generations of `size` entries each; with none it remembers nothing. Room is taken as it is needed.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            size,
            young: HashedMap::default(),
            old: HashedMap::default(),
        }
    }

    /// How many entries there are, at most twice the size of a generation.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    /// What was put in under this key, if it is not forgotten yet.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Remembers `value` under `key`, in place of what was there.
    pub fn insert(&mut self, key: K, value: V) {
        if self.size == 0 {
            return;
        }
        if self.young.len() >= self.size && !self.young.contains_key(&key) {
            // The tables are used again: to let a new one grow would cost more than all else here.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn the_newest_are_there_and_never_more_than_two_generations() {
        let mut memory = Generations::new(10);
        for number in 0..100_u32 {
            memory.insert(number, number);
            for newest in number.saturating_sub(9)..=number {
                assert_eq!(memory.get(&newest), Some(&newest), "after {number}");
            }
            assert!(memory.len() <= 20);
        }
        assert_eq!(memory.get(&0), None);
        assert!(!memory.is_empty());
    }

    #[test]
    fn what_is_put_in_again_takes_no_more_room_and_the_last_value_counts() {
        let mut memory = Generations::new(2);
        memory.insert("a", 1);
        for number in 0..100 {
            memory.insert("b", number);
        }
        assert_eq!((memory.get(&"a"), memory.get(&"b")), (Some(&1), Some(&99)));
        // From the generation that has become old it comes back as new.
        memory.insert("c", 0);
        memory.insert("a", 2);
        assert_eq!(memory.get(&"a"), Some(&2));
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let mut memory = Generations::default();
        memory.insert(1, 1);
        assert_eq!((memory.get(&1), memory.is_empty()), (None, true));
    }
}
