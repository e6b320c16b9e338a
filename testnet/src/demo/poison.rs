//! The story of a replica that was away for too long, and of another one that gives it a spoiled state.

use std::fs::OpenOptions;
use std::io::Write;

use tagma_ledger::Parameters;

use super::ending::Culprits;
use super::stage::Stage;
use crate::error::Error;
use crate::network::Network;
use crate::observe::Metrics;
use crate::process::{self, Programs};

/// Payments that the replica misses, each a block of its own: more than the others keep.
const MISSED: u8 = 60;
/// What a replica says when it finds out a spoiled part.
const FOUND_OUT: &str = "a part of a state does not check out";
/// The end of its log in which that must stand.
const LINES: usize = 500;

pub(super) async fn tell(programs: Programs) -> Result<(), Error> {
    let title = "Seven replicas, f = 2, that keep the state and drop old blocks. One was away, so it has to ask for the state. It knows\n\
                 the root that 2f + 1 = 5 of them signed, checks every part against it, and asks a liar no more.";
    let parameters = Parameters {
        checkpoint_interval: 8,
        window: 16,
        ..Parameters::default()
    };
    let network = Network::ephemeral_with(7, programs, parameters)?;
    drop_old_blocks(&network)?;
    let mut story = Stage::begin(network, title).await?;
    story.keeps_blocks = false;

    story.narrator.step("A payment, all replicas honest");
    story.pay("alice", "bob", 25).await?;
    let primary = story.network.primary().await?;
    let (liar, away) = ((primary + 2) % 7, (primary + 3) % 7);

    story.narrator.step(&format!(
        "n{away} is away while the others go on, and n{liar} waits for its return"
    ));
    story.betray(liar, "corrupt-state-transfer").await?;
    story.kill(away)?;
    story.give_away("bob", MISSED).await?;

    story
        .narrator
        .step(&format!("n{away} comes back and asks the others for the state"));
    story.bring_back(&[away]).await?;
    let metrics = Metrics::of(story.network.genesis(), away)?;
    let installed = metrics.sum("tagma_states_installed_total", &[]) > 0.0;
    let refused = metrics.sum("tagma_messages_rejected_total", &[("kind", "state_part")]) > 0.0;
    if refused {
        story.narrator.tell(&format!(
            "n{away} was given spoiled parts and refused them; from its log:"
        ));
        let log = process::log_tail(story.network.layout(), away, LINES);
        for line in log.lines().filter(|line| line.contains(FOUND_OUT)).take(3) {
            story.narrator.show(line);
        }
    }
    if installed {
        story.narrator.tell(&format!(
            "n{away} asked others for those parts, and took over the state when it had all"
        ));
    }
    story.pay("carol", "alice", 5).await?;

    story.narrator.step("What the honest six hold now");
    let mut ending = story.end().await?;
    if !installed {
        ending.wrong.push(format!("n{away} took over no state"));
    }
    if !refused {
        ending.wrong.push(format!("n{away} refused nothing of n{liar}'s"));
    }
    ending.judge(
        &story.narrator,
        "with one replica away and another one lying",
        Culprits::Nobody,
    )
}

/// Has all nodes keep no more blocks than they need.
fn drop_old_blocks(network: &Network) -> Result<(), Error> {
    for node in network.nodes() {
        let path = network.layout().home(node).join("config.toml");
        let written = OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| writeln!(file, "[storage]\nkeep_blocks = 1"));
        written.map_err(|source| Error::io("write", &path, source))?;
    }
    Ok(())
}
