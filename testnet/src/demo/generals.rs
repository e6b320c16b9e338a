//! The story of the seven generals: two of seven replicas are malicious and want 1000 of alice's money for mallory.

use std::time::Duration;

use tagma_client::SubmitError;

use super::ending::Culprits;
use super::stage::Stage;
use crate::byzantine::forged_transfer::{AMOUNT, forged, mallory};
use crate::error::Error;
use crate::network::Network;
use crate::process::Programs;

/// The malicious ones.
const TRAITORS: [u16; 2] = [2, 5];
/// How long the replicas may take to refuse a request.
const REFUSAL: Duration = Duration::from_secs(30);

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Seven generals, two of them traitors: N = 3f + 1 = 7, f = 2. Whatever n2 and n5 say, and to whom, the other five\n\
                 must agree on every order, and obey none that its owner did not sign. A client believes f + 1 = 3 equal replies.";
    let mut story = Stage::begin(Network::ephemeral(7, programs)?, title).await?;

    story
        .narrator
        .step("A traitor is to command when it counts, so n0 and n1 fall and come back, one after the other");
    for (general, (from, to)) in [(0, ("carol", "alice")), (1, ("carol", "bob"))] {
        story.kill(general)?;
        story.pay(from, to, 1).await?;
        story.bring_back(&[general]).await?;
    }
    let (primary, view) = story.network.leader().await?;
    story
        .narrator
        .tell(&format!("view {view}: n{primary} commands, and is honest still"));

    story
        .narrator
        .step("n2 and n5 turn traitors: 1000 of alice's for mallory, by every way they have");
    for traitor in TRAITORS {
        story.betray(traitor, "forged-transfer:alice").await?;
    }
    story.narrator.show(&format!(
        "in proposals      as a primary: batches with the {AMOUNT} that alice never signed\n\
         in votes          for digests of batches that hold it\n\
         in forwards       to the primary, beside honest requests\n\
         in replies        to clients: alice is told that she has no money left"
    ));

    story.narrator.step("alice pays bob 100");
    let before = story.highest_view().await?;
    let paid = story.pay("alice", "bob", 100).await?;
    let after = story.highest_view().await?;
    story.narrator.tell(&if after > before {
        format!(
            "n2 had put the {AMOUNT} into its proposal: nobody prepared that, and n{} commands instead (view {before} → {after})",
            after % 7
        )
    } else {
        format!("n2 still commands in view {after}")
    });
    story.narrator.tell(&format!(
        "outage: {:.1} s, from the payment to its acknowledgement",
        paid.took.as_secs_f64()
    ));
    story
        .narrator
        .step("As backups they go on lying, and honest payments go on");
    story.pay("bob", "carol", 7).await?;

    story
        .narrator
        .step("mallory asks in person, with alice's name and the wrong key");
    let refused = refuse_mallory(&story).await?;
    story.narrator.tell(&refused);
    story.show_counted_faults()?;

    story.narrator.step("What the honest five hold now");
    let loot = mallorys_balances(&story).await?;
    let mut ending = story.end().await?;
    if loot.is_empty() {
        story.narrator.show("mallory owns nothing anywhere");
    }
    ending.wrong.extend(loot);
    ending.judge(
        &story.narrator,
        "with n2 and n5 lying to everybody",
        Culprits::Signed(&TRAITORS),
    )
}

/// What mallory owns at honest nodes: a line for each that knows of any.
async fn mallorys_balances(story: &Stage) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for node in story.honest() {
        let (_, account) = story.observer.account(node, mallory().public()).await?;
        if let Some(account) = account {
            lines.push(format!("mallory owns {} at n{node}", account.balance));
        }
    }
    Ok(lines)
}

/// Submits the forged transfer to all replicas as a client; tells how it is refused.
async fn refuse_mallory(story: &Stage) -> Result<String, Error> {
    let client = story.payer.client();
    let victim = story.network.genesis().account_key("alice");
    let victim = victim.ok_or_else(|| Error::Degraded("alice has no account".to_owned()))?;
    // A nonce in her look-ahead, so that nothing but the signature is wrong.
    let theft = forged(client.network().chain(), victim, 2);
    match client.submit(&theft, REFUSAL).await {
        Err(error @ SubmitError::Rejected { .. }) => Ok(format!("✔ refused: {error}")),
        Err(error) => Err(crate::payments::refused(&error)),
        Ok(accepted) => Err(Error::Verdict(format!(
            "mallory's transfer was executed at height {} as {:?}",
            accepted.height, accepted.outcome
        ))),
    }
}
