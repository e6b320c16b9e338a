//! The story of a primary that leaves out one client's payments and serves everybody else.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, f = 1. The primary chooses what is proposed, and this one never chooses alice. The backups know her\n\
                 request too, as she sends it to all of them, and the oldest request that is not executed has a timer.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("Payments, all replicas honest");
    story.pay("alice", "bob", 25).await?;
    story.pay("bob", "carol", 10).await?;

    let traitor = story.network.primary().await?;
    story.narrator.step(&format!(
        "The primary n{traitor} ignores alice from here on, and nobody else"
    ));
    story.betray(traitor, "censor:alice").await?;
    let before = story.highest_view().await?;
    story.pay("bob", "carol", 1).await?;
    let alices = story.send("alice", "bob", 100).await?;
    story.pay_often("bob", "carol", 10).await?;
    story.narrator.tell("bob is served, alice is not");

    story.narrator.step("The backups' timer for the oldest request");
    let paid = story.arrive(alices).await?;
    let after = story.highest_view().await?;
    story.narrator.tell(&format!(
        "the backups replaced n{traitor}: view {before} → {after}, the primary is now n{}",
        after % 4
    ));
    story.narrator.tell(&format!(
        "outage: {:.1} s, and for alice alone, until her payment was acknowledged",
        paid.took.as_secs_f64()
    ));
    story.pay("alice", "carol", 5).await?;

    story.narrator.step("What the honest three hold now");
    let mut ending = story.end().await?;
    if after <= before {
        ending
            .wrong
            .push("alice was served without a new primary: nobody ignored her".to_owned());
    }
    ending.judge(
        &story.narrator,
        "alice's among them, with a primary that ignored her",
        Culprits::Nobody,
    )
}
