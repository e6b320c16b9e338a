//! The story of a primary that is as slow as it can be without running into anybody's timer.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

/// Payments that a slow primary is given to be slow with.
const PAYMENTS: usize = 6;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, f = 1. A primary that sends nothing is replaced after the request timeout. This one sends everything,\n\
                 and each proposal only after half of that timeout: no timer expires, and nothing that it signs is false.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("All replicas honest");
    story.pay_often("alice", "bob", 10).await?;

    let traitor = story.network.primary().await?;
    story
        .narrator
        .step(&format!("The primary n{traitor} holds every proposal back"));
    story.betray(traitor, "slow-primary").await?;
    let before = story.highest_view().await?;
    for _ in 0..PAYMENTS {
        story.pay("bob", "carol", 1).await?;
    }
    let after = story.highest_view().await?;
    story.narrator.tell(&if after > before {
        format!(
            "the backups have had enough of n{traitor}: view {before} → {after}, the primary is now n{}",
            after % 4
        )
    } else {
        format!("n{traitor} is still the primary: it was slow, and never too slow")
    });

    story.narrator.step("Payments after that");
    story.pay_often("carol", "alice", 3).await?;

    story.narrator.step("What the honest three hold now");
    let ending = story.end().await?;
    ending.judge(
        &story.narrator,
        "as late as a slow primary can make them",
        Culprits::Nobody,
    )
}
