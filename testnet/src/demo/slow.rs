//! The story of a primary that is as slow as it can be without running into anybody's timer.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

/// Payments within which the backups must have had enough.
const MOST: usize = 20;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, f = 1. A primary that sends nothing is replaced after the request timeout. This one sends everything,\n\
                 and each proposal only after half of that timeout. The backups know how fast it has been, and hold it to that.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("All replicas honest");
    story.pay_often("alice", "bob", 10).await?;

    let traitor = story.network.primary().await?;
    story
        .narrator
        .step(&format!("The primary n{traitor} holds every proposal back"));
    story.betray(traitor, "slow-primary").await?;
    let before = story.highest_view().await?;
    let mut after = before;
    for _ in 0..MOST {
        story.pay("bob", "carol", 1).await?;
        after = story.highest_view().await?;
        if after > before {
            break;
        }
    }
    if after > before {
        story.narrator.tell(&format!(
            "the backups have had enough of n{traitor}: view {before} → {after}, the primary is now n{}",
            after % 4
        ));
    }

    story.narrator.step("Payments after that");
    story.pay_often("carol", "alice", 10).await?;

    story.narrator.step("What the honest three hold now");
    let mut ending = story.end().await?;
    if after <= before {
        ending
            .wrong
            .push(format!("n{traitor} sets the pace, {MOST} payments long"));
    }
    ending.judge(
        &story.narrator,
        "some of them late, with a slow primary",
        Culprits::Nobody,
    )
}
