//! The story of a replica that sends the others more than they can use.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::observe::Metrics;
use crate::process::Programs;

/// Payments in each part, enough for a median.
const PAYMENTS: usize = 40;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, f = 1. One of them sends each other one thousands of messages a second: votes that it signed and that\n\
                 count for nothing, and questions. Each replica takes from each peer no more than its share.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("All replicas honest");
    story.pay_often("alice", "bob", PAYMENTS).await?;

    let traitor = (story.network.primary().await? + 2) % 4;
    story
        .narrator
        .step(&format!("The backup n{traitor} floods the others"));
    story.betray(traitor, "flood").await?;
    let before = received(&story)?;
    story.pay_often("bob", "carol", PAYMENTS).await?;
    let flood = received(&story)? - before;
    story.narrator.tell(&format!(
        "meanwhile the other three took in {flood:.0} messages, and answered what was worth it"
    ));
    story.show_counted_faults()?;

    story.narrator.step("What the honest three hold now");
    let ending = story.end().await?;
    ending.judge(
        &story.narrator,
        "in the middle of a flood",
        Culprits::Signed(&[traitor]),
    )
}

/// How many messages the honest nodes have received so far.
fn received(story: &Stage) -> Result<f64, Error> {
    let mut sum = 0.0;
    for node in story.honest() {
        sum += Metrics::of(story.network.genesis(), node)?.sum("tagma_messages_received_total", &[]);
    }
    Ok(sum)
}
