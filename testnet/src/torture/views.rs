//! The views that replicas tell, watched all the time: over crashes and restarts as well, no replica may ever tell a
//! lower one than before (OSDI '99 §4.4: a replica that has left a view never returns to it).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tagma_ledger::Genesis;
use tokio::task::JoinSet;

use crate::error::Error;
use crate::observe::Observer;

/// Between two looks at one replica.
const POLL: Duration = Duration::from_millis(20);
/// Most contradictions kept: one is one too many.
const MOST_KEPT: usize = 16;

/// What the replicas have told so far.
#[derive(Debug, Default)]
struct Told {
    /// View and target, by replica.
    last: BTreeMap<u16, (u64, u64)>,
    looks: u64,
    shrunk: Vec<String>,
}

impl Told {
    fn hear(&mut self, node: u16, view: u64, target: u64) {
        self.looks += 1;
        let last = self.last.entry(node).or_default();
        let (before, wanted) = *last;
        *last = (before.max(view), wanted.max(target));
        if (view < before || target < wanted) && self.shrunk.len() < MOST_KEPT {
            self.shrunk.push(format!(
                "n{node} was in view {before} with target {wanted}, and then in view {view} with target {target}"
            ));
        }
    }
}

/// A watch over the views of all replicas. It ends with this value.
pub struct ViewWatch {
    told: Arc<Mutex<Told>>,
    _tasks: JoinSet<()>,
}

impl ViewWatch {
    /// Begins to look, every 20 ms at each replica. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn start(genesis: &Genesis) -> Result<Self, Error> {
        let told = Arc::new(Mutex::new(Told::default()));
        let observer = Arc::new(Observer::new(genesis)?);
        let mut tasks = JoinSet::new();
        for replica in genesis.replicas.iter() {
            let (node, told, observer) = (replica.id, told.clone(), observer.clone());
            tasks.spawn(async move {
                loop {
                    // One that is down has nothing to tell.
                    if let Ok(status) = observer.status(node).await {
                        lock(&told).hear(node, status.view, status.target);
                    }
                    tokio::time::sleep(POLL).await;
                }
            });
        }
        Ok(Self { told, _tasks: tasks })
    }

    /// The highest view that one of these replicas has told so far.
    #[must_use]
    pub fn highest(&self, nodes: impl IntoIterator<Item = u16>) -> u64 {
        let told = lock(&self.told);
        let views = nodes
            .into_iter()
            .filter_map(|node| told.last.get(&node).map(|(view, _)| *view));
        views.max().unwrap_or_default()
    }

    /// How many answers there were so far, and every time one was lower than the one before it.
    #[must_use]
    pub fn verdict(&self) -> (u64, Vec<String>) {
        let told = lock(&self.told);
        (told.looks, told.shrunk.clone())
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_shrinks_is_told() {
        let mut told = Told::default();
        told.hear(0, 1, 1);
        told.hear(1, 3, 3);
        told.hear(0, 1, 2);
        told.hear(0, 2, 2);
        assert_eq!(told.shrunk, Vec::<String>::new());
        told.hear(1, 2, 3);
        told.hear(0, 2, 1);
        assert_eq!(told.shrunk.len(), 2, "{:?}", told.shrunk);
        assert!(
            told.shrunk
                .iter()
                .any(|line| line.starts_with("n1 was in view 3"))
        );
    }
}
