//! The story of a replica that tells clients lies.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

/// Payments at a time, and how often: the client has its answer when two replies are equal, and does not wait for the liar's.
const PAYMENTS: usize = 20;
const ROUNDS: usize = 20;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, f = 1. A client believes an outcome when f + 1 = 2 replicas report it alike, as one of those must be\n\
                 honest. One of the four reports that payments failed which were made, at heights where they are not.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("A payment, all replicas honest");
    story.pay("alice", "bob", 25).await?;

    let liar = (story.network.primary().await? + 3) % 4;
    story
        .narrator
        .step(&format!("The backup n{liar} lies to every client"));
    story.betray(liar, "wrong-reply").await?;
    for _ in 0..ROUNDS {
        let paid = story.pay_often("bob", "carol", PAYMENTS).await?;
        let heard = paid.iter().filter(|paid| paid.liars.contains(&liar)).count();
        story.narrator.tell(&format!(
            "in {heard} of them n{liar} said in time that bob has no money; two others said that he paid, so he did"
        ));
        if heard > 0 {
            break;
        }
    }
    story.pay("carol", "alice", 1).await?;

    story.narrator.step("What the honest three hold now");
    let ending = story.end().await?;
    ending.judge(
        &story.narrator,
        "with a replica that told everybody otherwise",
        Culprits::Named(&[liar]),
    )
}
