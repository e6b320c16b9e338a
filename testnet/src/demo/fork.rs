//! The story of one traitor more than the replicas bear: two histories, as theory says.

use std::time::Duration;

use super::stage::Stage;
use crate::check::{self, Verdict};
use crate::error::Error;
use crate::network::{GRACE, Network};
use crate::process::Programs;

/// How long the honest two may take to become equal, which they will not.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas bear f = 1 traitor, and here are two. A batch is final with Q = 3 signatures; two such quorums of four share\n\
                 at least two replicas, of which one is honest and signs one batch only. With two traitors both may be traitors.";
    let mut story = Stage::begin(Network::ephemeral(4, programs)?, title).await?;

    story.narrator.step("A payment, all replicas honest");
    story.pay("alice", "bob", 25).await?;

    let primary = story.network.primary().await?;
    let accomplice = (primary + 1) % 4;
    story.narrator.step(&format!(
        "n{primary}, the primary, and n{accomplice} turn traitors: n{primary} proposes two batches for one height, both vote for both"
    ));
    for traitor in [primary, accomplice] {
        story.betray(traitor, "collude").await?;
    }
    story.pay("bob", "carol", 10).await?;

    story.narrator.step("What the honest two hold now");
    let report = check::check(&story.network, PATIENCE).await?;
    story.narrator.show(&report.to_string());
    let nodes = story.network.nodes();
    story.network.stop(&nodes, GRACE)?;
    let mut wrong = Vec::new();
    let honest = story.honest();
    let convicted = story.convict(&honest, &mut wrong)?;

    story
        .narrator
        .step("Verdict, from what the honest nodes' own stores hold");
    for line in &wrong {
        println!("✘ {line}");
    }
    if report.verdict() != Verdict::Diverged {
        return Err(Error::Degraded(
            "the two honest replicas agree: the colluders did not succeed".to_owned(),
        ));
    }
    println!(
        "safety    ✘ two histories, each with three signatures: beyond f nothing is promised, and nothing is kept"
    );
    let convicted: Vec<String> = convicted.iter().map(|node| format!("n{node}")).collect();
    println!(
        "culprits  {}",
        if convicted.is_empty() {
            "nobody is convicted by the evidence in a single store".to_owned()
        } else {
            format!("✔ convicted by what they signed: {}", convicted.join(" "))
        }
    );
    if !wrong.is_empty() {
        return Err(Error::Degraded(wrong.join("; ")));
    }
    Err(Error::Verdict(
        "two histories, as theory says of f + 1 colluders".to_owned(),
    ))
}
