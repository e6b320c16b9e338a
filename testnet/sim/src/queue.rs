//! What is due when, on one virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Events by time. Among equal times what was pushed first comes first, so that nothing is left to chance.
///
/// The heap orders small keys; the events themselves stay where they are put, as moving them costs more than anything else.
#[derive(Debug)]
pub struct Queue<E> {
    /// Time, the how manieth push, and the place of the event.
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    pushed: u64,
    events: Vec<Option<E>>,
    free: Vec<usize>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            due: BinaryHeap::new(),
            pushed: 0,
            events: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<E> Queue<E> {
    /// Has `event` come at `at`.
    pub fn push(&mut self, at: u64, event: E) {
        let place = self.free.pop().unwrap_or(self.events.len());
        match self.events.get_mut(place) {
            Some(slot) => *slot = Some(event),
            None => self.events.push(Some(event)),
        }
        self.pushed += 1;
        self.due.push(Reverse((at, self.pushed, place)));
    }

    /// The next event with its time, unless it comes after `end`.
    pub fn pop_until(&mut self, end: u64) -> Option<(u64, E)> {
        let Reverse((at, _, place)) = *self.due.peek()?;
        if at > end {
            return None;
        }
        self.due.pop();
        self.free.push(place);
        let event = self.events.get_mut(place)?.take()?;
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn events_come_by_time_and_equal_ones_in_the_order_they_were_pushed() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'a'), (3, 'b'), (5, 'c'), (1, 'd')] {
            queue.push(at, event);
        }
        assert_eq!(queue.pop_until(0), None);
        assert_eq!(queue.pop_until(3), Some((1, 'd')));
        queue.push(3, 'e');
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop_until(4)).collect();
        assert_eq!(rest, [(3, 'b'), (3, 'e')]);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop_until(9)).collect();
        assert_eq!(rest, [(5, 'a'), (5, 'c')]);
        assert!(queue.events.len() <= 4, "places are used again");
    }
}
