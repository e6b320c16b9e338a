//! The story of two primaries in a row that are dead: as many as seven replicas bear.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Seven replicas, f = 2. The primary of view v is replica v mod 7. Two primaries in a row die together, so the first view\n\
                 change leads to a dead replica, and only the second one to one that is alive.";
    let mut story = Stage::begin(Network::ephemeral(7, programs)?, title).await?;

    story.narrator.step("A payment, all replicas well");
    story.pay("alice", "bob", 25).await?;

    let (primary, before) = story.network.leader().await?;
    let next = (primary + 1) % 7;
    story.narrator.step(&format!(
        "The primary n{primary} and its successor n{next} die: kill -9"
    ));
    for node in [primary, next] {
        story.kill(node)?;
    }
    let paid = story.pay("bob", "carol", 10).await?;
    let after = story.highest_view().await?;
    story.narrator.tell(&format!(
        "view {before} → {after}: n{next} was waited for in vain too, the primary is now n{}",
        after % 7
    ));
    story.narrator.tell(&format!(
        "outage: {:.1} s, from the payment to its acknowledgement",
        paid.took.as_secs_f64()
    ));
    story.pay("carol", "alice", 5).await?;

    story.narrator.step("Both come back");
    story.bring_back(&[primary, next]).await?;
    story.pay("alice", "carol", 1).await?;

    story.narrator.step("What the seven of them hold now");
    let mut ending = story.end().await?;
    if after < before + 2 {
        ending
            .wrong
            .push(format!("view {after} needed no second view change"));
    }
    ending.judge(
        &story.narrator,
        "with two dead primaries in a row",
        Culprits::Nobody,
    )
}
