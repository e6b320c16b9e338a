//! The story of crashes: four replicas, a backup killed and brought back, the primary killed and brought back.

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas, each a process of its own, bear one fault at a time: N = 3f + 1 = 4, f = 1.\n\
                 A client believes an outcome when f + 1 = 2 replicas report it alike, as one of those must be correct.";
    let mut story = Stage::begin(Network::ephemeral(4, programs.clone())?, title).await?;

    story.narrator.step("A payment, all replicas well");
    story.pay("alice", "bob", 25).await?;

    let primary = story.network.primary().await?;
    let backup = (primary + 2) % 4;
    story.narrator.step(&format!("A backup dies: kill -9 n{backup}"));
    story.kill(backup)?;
    story.pay("bob", "carol", 10).await?;

    story.narrator.step(&format!("n{backup} comes back"));
    story.bring_back(&[backup]).await?;

    story
        .narrator
        .step(&format!("The primary dies: kill -9 n{primary}"));
    let before = story.highest_view().await?;
    story.kill(primary)?;
    let paid = story.pay("carol", "alice", 5).await?;
    let after = story.highest_view().await?;
    story.narrator.tell(&format!(
        "the backups replaced n{primary}: view {before} → {after}, the primary is now n{}, and the payment committed there",
        after % 4
    ));
    story.wait_until_missed(primary).await?;
    story.show_command(&programs, "status")?;
    if after <= before {
        let what = format!(
            "the payment at height {} committed without a new primary",
            paid.height
        );
        return Err(Error::Verdict(what));
    }

    story.narrator.step(&format!("n{primary} comes back"));
    story.bring_back(&[primary]).await?;

    story.narrator.step("What the four of them hold now");
    let ending = story.end().await?;
    ending.judge(
        &story.narrator,
        "with a backup and then the primary dead",
        Culprits::Nobody,
    )
}
