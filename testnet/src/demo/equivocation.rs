//! The story of a primary that tells two halves of the others two different things.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas bear one that lies: N = 3f + 1 = 4, f = 1. A batch is final when Q = 2f + 1 = 3 replicas have\n\
                 signed for it, and of any two such quorums at least one correct replica is in both: it signs for one batch only.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("A payment, all replicas honest");
    story.pay("alice", "bob", 25).await?;

    let traitor = story.network.primary().await?;
    story.narrator.step(&format!(
        "The primary n{traitor} turns traitor: one batch to some, another to the rest"
    ));
    story.betray(traitor, "equivocating-primary").await?;
    let before = story.highest_view().await?;
    let paid = story.pay("bob", "carol", 10).await?;
    let after = story.highest_view().await?;
    story.narrator.tell(&format!(
        "neither batch could get 3 votes; the backups replaced n{traitor}: view {before} → {after}, the primary is now n{}",
        after % 4
    ));
    story.narrator.tell(&format!(
        "outage: {:.1} s, from the payment to its acknowledgement",
        paid.took.as_secs_f64()
    ));

    story.narrator.step(&format!(
        "n{traitor} goes on as a backup, and the others go on without it"
    ));
    story.pay("carol", "alice", 5).await?;
    story.show_counted_faults()?;

    story.narrator.step("What the honest three hold now");
    let mut ending = story.end().await?;
    if after <= before {
        ending.wrong.push(format!(
            "the payment at height {} committed without a new primary",
            paid.height
        ));
    }
    ending.judge(
        &story.narrator,
        "with a primary that lied",
        Culprits::Signed(&[traitor]),
    )
}
