//! Which view a replica says it is in: only one that it will be in after a crash as well.

use tagma_pbft::{ReplicaId, Ticket};

/// View, target, and the primary of the target.
pub(super) type Views = (u64, u64, ReplicaId);

/// The views to be shown: the last ones whose records are on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncedViews {
    shown: Views,
    /// The newest, and the ticket that covers their records.
    newest: (Views, Ticket),
}

impl SyncedViews {
    /// Those of a replica that has just started: they were read from the disk.
    pub(super) fn new(views: Views) -> Self {
        Self {
            shown: views,
            newest: (views, Ticket::default()),
        }
    }

    /// What is to be shown of `views`, when records have been handed to the disk up to `issued` and are on it up to
    /// `synced`. Otherwise a replica that is killed in between would be seen to go back to a lower view.
    pub(super) fn show(&mut self, views: Views, issued: Ticket, synced: Ticket) -> Views {
        if views != self.newest.0 {
            self.newest = (views, issued);
        }
        let (views, ticket) = self.newest;
        if ticket <= synced {
            self.shown = views;
        }
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_shown_once_its_record_is_on_disk() {
        let at = |view| (view, view, ReplicaId::new(0));
        let mut views = SyncedViews::new(at(3));
        assert_eq!(views.show(at(3), Ticket(7), Ticket(0)), at(3));
        assert_eq!(views.show(at(4), Ticket(8), Ticket(7)), at(3));
        // Later records do not delay it further, and a later view waits for its own.
        assert_eq!(views.show(at(4), Ticket(9), Ticket(7)), at(3));
        assert_eq!(views.show(at(4), Ticket(9), Ticket(8)), at(4));
        assert_eq!(views.show(at(5), Ticket(10), Ticket(8)), at(4));
        assert_eq!(views.show(at(6), Ticket(11), Ticket(10)), at(4));
        assert_eq!(views.show(at(6), Ticket(11), Ticket(11)), at(6));
    }
}
