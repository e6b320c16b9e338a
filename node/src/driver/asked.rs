//! Which answers each peer owes this replica: what nobody asked for is worth no work.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tagma_pbft::{Kind, ReplicaId};

/// Most answers of one kind that a peer can owe: who never answers cannot save up.
const MAX_OWED: u32 = 64;

/// The questions that were sent and not answered.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<HashMap<(ReplicaId, Kind), u32>>);

/// What a question of this kind is answered with; none if it is no question.
const fn answer(question: Kind) -> Option<Kind> {
    match question {
        Kind::FetchBody => Some(Kind::Body),
        Kind::FetchBlocks => Some(Kind::Blocks),
        Kind::FetchState => Some(Kind::StatePart),
        _ => None,
    }
}

impl Asked {
    /// A message of this kind was sent to `peer`.
    pub(super) fn sent(&self, peer: ReplicaId, kind: Kind) {
        let Some(answer) = answer(kind) else { return };
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = owed.entry((peer, answer)).or_default();
        *owed = (*owed + 1).min(MAX_OWED);
    }

    /// A message of this kind came from `peer`: whether it owed one, which it does no more.
    pub(super) fn came(&self, peer: ReplicaId, kind: Kind) -> bool {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match owed.get_mut(&(peer, kind)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_answered_once_by_who_was_asked() {
        let asked = Asked::default();
        let [one, two] = [1, 2].map(ReplicaId::new);
        asked.sent(one, Kind::FetchBody);
        asked.sent(one, Kind::Prepare);
        assert!(!asked.came(two, Kind::Body));
        assert!(!asked.came(one, Kind::Blocks));
        assert!(asked.came(one, Kind::Body));
        assert!(!asked.came(one, Kind::Body));
        assert!(!asked.came(one, Kind::Prepare));
    }

    #[test]
    fn who_never_answers_cannot_save_up() {
        let asked = Asked::default();
        let peer = ReplicaId::new(1);
        (0..1000).for_each(|_| asked.sent(peer, Kind::FetchBlocks));
        let answers = (0..1000).filter(|_| asked.came(peer, Kind::Blocks)).count();
        assert_eq!(u32::try_from(answers), Ok(MAX_OWED));
    }
}
