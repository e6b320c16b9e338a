//! The story of a network that falls into two halves, and later loses its primary, and is whole again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

/// How long the halves may take until all in them have given up waiting for the primary.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, f = 1, and real UDP links between them that can be cut. Q = 3 of 4 must agree on everything, so of two\n\
                 halves neither can go on, and neither can go on differently. A minority waits; nothing that was asked for is lost.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;
    let links = story.network.links()?;

    story.narrator.step("A payment, all links good");
    let before = story.pay("alice", "bob", 25).await?;

    story
        .narrator
        .step("The network falls into two halves: n0 n1 | n2 n3");
    links.partition(&[&[0, 1], &[2, 3]])?;
    story.narrator.cut_off(&[2, 3]);
    let payment = story.send("bob", "carol", 10).await?;
    wait_until_all_gave_up(&story).await?;
    let heights = heights(&story).await?;
    story
        .narrator
        .tell(&if heights == BTreeSet::from([before.height]) {
            format!(
                "all four have waited for their primary in vain, and have executed nothing since height {}",
                before.height
            )
        } else {
            format!("heights {heights:?}")
        });

    story.narrator.step("The links are whole again");
    links.heal()?;
    story.narrator.joined();
    let paid = story.arrive(payment).await?;
    story.narrator.tell(&format!(
        "outage: {:.1} s, from the payment to its acknowledgement",
        paid.took.as_secs_f64()
    ));

    let (primary, view) = story.network.leader().await?;
    story.narrator.step(&format!(
        "The primary of view {view}, n{primary}, is cut off alone"
    ));
    links.isolate(primary)?;
    story.narrator.cut_off(&[primary]);
    let paid = story.pay("carol", "alice", 5).await?;
    story.narrator.tell(&format!(
        "three of four are enough; outage: {:.1} s, until they had another primary",
        paid.took.as_secs_f64()
    ));
    story.pay("alice", "carol", 1).await?;

    story
        .narrator
        .step(&format!("n{primary} is reached again, and asks what it missed"));
    links.heal()?;
    story.narrator.joined();
    story.pay("bob", "alice", 1).await?;

    story.narrator.step("What the four of them hold now");
    let mut ending = story.end().await?;
    if heights != BTreeSet::from([before.height]) {
        ending
            .wrong
            .push(format!("half of the replicas went on: heights {heights:?}"));
    }
    ending.judge(
        &story.narrator,
        "the one that was asked for in halves among them",
        Culprits::Nobody,
    )
}

/// Waits until every replica wants another view than the one it was in.
async fn wait_until_all_gave_up(story: &Stage) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let statuses = story.network.statuses(&story.observer).await;
        let gave_up = |status: &tagma_wire::client_protocol::StatusReport| status.target > 0;
        if statuses
            .iter()
            .all(|(_, status)| status.as_ref().is_ok_and(gave_up))
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout {
                what: "the end of their patience in both halves".to_owned(),
                seconds: PATIENCE.as_secs(),
                state: "some still wait for their primary".to_owned(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How far all of them have come.
async fn heights(story: &Stage) -> Result<BTreeSet<u64>, Error> {
    let mut heights = BTreeSet::new();
    for node in story.network.nodes() {
        heights.insert(story.observer.status(node).await?.executed);
    }
    Ok(heights)
}
