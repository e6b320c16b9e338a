//! How a story ends: what the honest nodes hold is compared with each other and with what was paid, and their stores say whom
//! they can convict.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use super::narrator::Narrator;
use super::stage::{CATCH_UP, Stage, names};
use crate::audit::evidence_files;
use crate::byzantine::blame;
use crate::check;
use crate::error::Error;
use crate::network::GRACE;

/// What was left in the end.
pub(super) struct Ending {
    /// What all honest nodes hold.
    kept: String,
    supply: u128,
    /// What should not be as it is.
    pub(super) wrong: Vec<String>,
    payments: usize,
    /// Whom the others can convict.
    convicted: BTreeSet<u16>,
    named: BTreeSet<u16>,
    outage: Duration,
}

/// Who must be found at fault in the end, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Culprits<'a> {
    /// Nobody: nothing was done that can be told from bad luck.
    Nobody,
    /// By statements that they signed, in the stores of the honest nodes.
    Signed(&'a [u16]),
    /// By clients, whom they told something else than f + 1 others did.
    Named(&'a [u16]),
}

impl Stage {
    /// Compares the honest nodes with each other, and with what this story paid; stops the network, and reads in their stores
    /// whom they can convict of what.
    pub(super) async fn end(&mut self) -> Result<Ending, Error> {
        let report = check::check(&self.network, CATCH_UP).await?;
        let mut wrong = report.contradictions.clone();
        if self.keeps_blocks {
            self.narrator.show(&report.to_string());
            wrong.extend(report.gaps.iter().cloned());
        }
        self.renew_observer()?;
        let honest = self.honest();
        let kept = self.compare_kept(&honest, &mut wrong).await?;
        self.compare_money(&honest, &mut wrong).await?;
        for paid in &self.payments {
            for node in &honest {
                let found = self.observer.transaction(*node, paid.request).await?;
                let found = found.map(|found| (found.height, found.outcome));
                let forgotten = found.is_none() && !self.keeps_blocks;
                if !forgotten && found != Some((paid.height, paid.outcome)) {
                    wrong.push(format!(
                        "n{node} does not have the payment {} as it was acknowledged",
                        paid.request.short()
                    ));
                }
            }
        }
        for named in self.named.difference(&self.traitors) {
            wrong.push(format!("the client names n{named}, which is honest"));
        }
        let nodes = self.network.nodes();
        let stubborn = self.network.stop(&nodes, GRACE)?;
        if !stubborn.is_empty() {
            wrong.push("nodes had to be killed in the end".to_owned());
        }
        let convicted = self.convict(&honest, &mut wrong)?;
        self.verify_offline(&honest, &convicted, &mut wrong)?;
        Ok(Ending {
            kept,
            supply: report.supply,
            wrong,
            payments: self.payments.len(),
            convicted,
            named: self.named.clone(),
            outage: self.outage,
        })
    }

    /// Whether the honest nodes hold the same: says what that is.
    async fn compare_kept(&self, honest: &[u16], wrong: &mut Vec<String>) -> Result<String, Error> {
        let mut kept = BTreeSet::new();
        for node in honest {
            let status = self.observer.status(*node).await?;
            kept.insert((
                status.executed,
                status.tip,
                status.state_height,
                status.state_root,
            ));
        }
        let mut said = kept.iter().map(|(executed, tip, checkpoint, root)| {
            format!(
                "header {} of height {executed}, state {} of checkpoint {checkpoint}",
                tip.short(),
                root.short()
            )
        });
        match (said.next(), said.next()) {
            (Some(one), None) => {
                if !self.keeps_blocks {
                    self.narrator
                        .show(&format!("{} hold the same: {one}", names(honest)));
                }
                Ok(one)
            }
            (one, other) => {
                let differ = [one, other].into_iter().flatten().collect::<Vec<_>>();
                wrong.push(format!("not all hold the same: {}", differ.join("; ")));
                Ok(String::new())
            }
        }
    }

    /// Whether every honest node gives every account what this story left in it.
    async fn compare_money(&self, honest: &[u16], wrong: &mut Vec<String>) -> Result<(), Error> {
        for (name, expected) in &self.expected {
            let Some(key) = self.network.genesis().account_key(name) else {
                continue;
            };
            for node in honest {
                let (_, account) = self.observer.account(*node, key).await?;
                let balance = account.map(|account| account.balance);
                if balance != Some(*expected) {
                    wrong.push(format!("{name} should own {expected}, n{node} says {balance:?}"));
                }
            }
            self.narrator
                .show(&format!("{name:<6} {expected} at {}", names(honest)));
        }
        Ok(())
    }

    /// Whom the stores of honest nodes, all down, prove guilty; what is wrong with their evidence goes to `wrong`.
    fn convict(&self, honest: &[u16], wrong: &mut Vec<String>) -> Result<BTreeSet<u16>, Error> {
        let mut proofs: BTreeMap<(u16, &str), BTreeSet<u16>> = BTreeMap::new();
        for (by, faults) in blame::recorded(&self.network, honest)? {
            for fault in faults {
                let culprit = fault.culprit.get();
                if !fault.proved {
                    wrong.push(format!("n{by} accuses n{culprit} without proof"));
                } else if self.traitors.contains(&culprit) {
                    proofs.entry((culprit, fault.name)).or_default().insert(by);
                } else {
                    wrong.push(format!("n{by} accuses n{culprit}, which is honest"));
                }
            }
        }
        for ((culprit, name), by) in &proofs {
            self.narrator.show(&format!(
                "proof against n{culprit}: {name}, in the stores of {}",
                names(by)
            ));
        }
        Ok(proofs.into_keys().map(|(culprit, _)| culprit).collect())
    }

    /// Has the client judge a file against each of the convicted, as anybody can who has the file and genesis: no node runs
    /// any more.
    fn verify_offline(
        &self,
        honest: &[u16],
        convicted: &BTreeSet<u16>,
        wrong: &mut Vec<String>,
    ) -> Result<(), Error> {
        let layout = self.network.layout();
        let files = evidence_files(layout, self.network.genesis())?;
        for culprit in convicted {
            let against = files.iter().find(|file| {
                let verdict = file.verdict.as_ref();
                honest.contains(&file.node) && verdict.is_ok_and(|proved| proved.culprit.get() == *culprit)
            });
            let Some(file) = against else {
                wrong.push(format!("no evidence file convicts n{culprit}"));
                continue;
            };
            let program = &self.network.programs().client;
            let output = Command::new(program)
                .args(["evidence", "verify"])
                .arg(&file.path)
                .env("TAGMA_HOME", layout.root())
                .output()
                .map_err(|source| Error::io("run", program, source))?;
            let name = file.path.file_name().unwrap_or_default();
            self.narrator.show(&format!(
                "$ tagma evidence verify {}\n{}",
                name.to_string_lossy(),
                String::from_utf8_lossy(&output.stdout).trim_end()
            ));
            if !output.status.success() {
                wrong.push(format!(
                    "`tagma evidence verify` does not accept {}",
                    name.to_string_lossy()
                ));
            }
        }
        Ok(())
    }
}

impl Ending {
    /// Tells the verdict. `liveness` says under which circumstances all payments were committed.
    ///
    /// # Errors
    /// [`Error::Verdict`] if anything is not as it must be.
    pub(super) fn judge(
        mut self,
        narrator: &Narrator,
        liveness: &str,
        culprits: Culprits<'_>,
    ) -> Result<(), Error> {
        narrator.step("Verdict, from what the honest nodes' own stores hold");
        let blamed = match culprits {
            Culprits::Nobody => {
                "culprits  none: what happened cannot be told from bad luck, and nobody is accused".to_owned()
            }
            Culprits::Signed(guilty) => {
                for culprit in guilty.iter().filter(|culprit| !self.convicted.contains(culprit)) {
                    self.wrong.push(format!("nobody can convict n{culprit}"));
                }
                let how = "convicted by statements that they signed themselves; nobody else is accused";
                format!("culprits  ✔ {}: {how}", names(guilty))
            }
            Culprits::Named(guilty) => {
                for culprit in guilty.iter().filter(|culprit| !self.named.contains(culprit)) {
                    self.wrong.push(format!("no client names n{culprit}"));
                }
                let how = "named by the client, as f + 1 others replied otherwise; nobody else is accused";
                format!("culprits  ✔ {}: {how}", names(guilty))
            }
        };
        if self.wrong.is_empty() {
            println!("safety    ✔ all honest nodes hold the same: {}", self.kept);
            println!(
                "          ✔ every account has what it must have, supply {}",
                self.supply
            );
            println!(
                "liveness  ✔ {} of {} payments committed, {liveness}; the longest wait for one: {:.2} s",
                self.payments,
                self.payments,
                self.outage.as_secs_f64()
            );
            println!("{blamed}");
            return Ok(());
        }
        for line in &self.wrong {
            println!("✘ {line}");
        }
        Err(Error::Verdict(self.wrong.join("; ")))
    }
}
