//! No honest replica leaps ahead alone (OSDI '99 §4.5.2): it leaves for the view after the one it wants, or for one that another
//! honest replica wanted before it. The word of f liars moves nobody (VC9), nor does a NEW-VIEW that nobody waits for (VC8).

use std::collections::BTreeMap;

use tagma_pbft::ReplicaId;
use tagma_pbft::record::Record;

use super::{Checked, Violation};

#[derive(Default)]
pub(super) struct Targets {
    /// The highest view that any honest replica has wanted.
    highest: u64,
    /// What each wants.
    wanted: BTreeMap<ReplicaId, u64>,
}

impl Targets {
    /// An honest replica hands this to its disk.
    pub(super) fn persisted(&mut self, id: ReplicaId, record: &Record) -> Checked {
        let wanted = self.wanted.entry(id).or_default();
        let target = match record {
            Record::LeftView { message, .. } => message.target.get(),
            Record::EnteredView(new) => {
                // By a quorum of VIEW-CHANGEs, f + 1 of honest replicas.
                *wanted = new.view.get();
                return Ok(());
            }
            _ => return Ok(()),
        };
        if target > self.highest.max(wanted.saturating_add(1)) {
            let detail = format!("replica {id} leaves for view {target}, alone, from {wanted}");
            return Err(Violation::new("nobody leaps ahead", detail));
        }
        *wanted = (*wanted).max(target);
        self.highest = self.highest.max(target);
        Ok(())
    }
}
