//! The story of one traitor more than the replicas bear: two histories, as theory says.

use std::collections::BTreeSet;
use std::time::Duration;

use tagma_ledger::Parameters;

use super::stage::{Stage, names};
use crate::audit::audit;
use crate::check::{self, Verdict};
use crate::error::Error;
use crate::network::{GRACE, Network};
use crate::plan::Extras;
use crate::process::Programs;

/// How long the honest two may take to become equal, which they will not.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Four replicas bear f = 1 traitor, and here are two. A batch is final with Q = 3 signatures; two such quorums of four share\n\
                 at least two replicas, of which one is honest and signs one batch only. With two traitors both may be traitors.";
    // Who stands by would execute what the other honest one commits with the traitors.
    let mut extras = Extras::default();
    extras.settings += "consensus.standby = false\n";
    let network = Network::ephemeral_furnished(4, programs, Parameters::default(), extras)?;
    let mut story = Stage::begin(network, title).await?;

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
    let audit = audit(story.network.layout(), story.network.genesis())?;
    story.narrator.show(&audit.to_string());
    let culprits = audit.culprits();

    story
        .narrator
        .step("Verdict, from what the honest nodes' own stores hold");
    if report.verdict() != Verdict::Diverged {
        return Err(Error::Degraded(
            "the two honest replicas agree: the colluders did not succeed".to_owned(),
        ));
    }
    println!(
        "safety    ✘ two histories, each with three signatures: beyond f nothing is promised, and nothing is kept"
    );
    if culprits
        != BTreeSet::from([primary, accomplice])
            .into_iter()
            .collect::<Vec<_>>()
    {
        return Err(Error::Degraded(format!(
            "the audit names {culprits:?}, not the two that lied"
        )));
    }
    println!(
        "culprits  ✔ {}: both signed both batches, and nobody else is accused",
        names(&culprits)
    );
    Err(Error::Verdict(
        "two histories, as theory says of f + 1 colluders".to_owned(),
    ))
}
