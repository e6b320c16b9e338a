//! Starting: from genesis or from what is on disk (protocol: durability).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::batch::Body;
use crate::config::Config;
use crate::fetch::Fetcher;
use crate::io::{Event, Outputs, Recipient};
use crate::log::{Extent, Log};
use crate::message::{Phase, Vote};
use crate::new_view::decide;
use crate::pool::Pool;
use crate::record::{Executed, Recovered, Voter};
use crate::replica::{Replica, Standing};
use crate::standby::Standby;
use crate::timer::{Timer, Timers};
use crate::turnaround::Turnaround;
use crate::types::{Now, SeqNum, Ticket, View};
use crate::view_change::Departure;

impl Replica {
    /// A replica as it was when it last synced. It signs nothing new before others have told what they know it to
    /// have signed; what is in `out` afterwards asks them.
    pub fn recover(
        config: Config,
        recovered: Recovered,
        executed: &Executed,
        now: Now,
        out: &mut Outputs,
    ) -> Self {
        let quorum = config.ring.quorum;
        let null = Body::null(&config.ring.chain);
        let stable_seq = recovered
            .stable
            .as_ref()
            .map_or(SeqNum::ZERO, |certificate| certificate.seq);
        let (durable, durable_header) = executed.checkpoint;
        let new_view = recovered.new_views.get(&recovered.view).cloned();
        let decision = new_view
            .as_ref()
            .and_then(|message| decide(&message.view_changes, null.digest()).ok());
        let choices: BTreeMap<_, _> = decision
            .iter()
            .flat_map(|decision| decision.choices.iter().copied())
            .collect();
        let mut replica = Self {
            quorum,
            null,
            now,
            standing: match recovered.voter {
                Some(Voter::Complete) => Standing::Starting,
                None if mutant!(AmnesiacVotes) => Standing::Starting,
                Some(Voter::Learner) | None => Standing::Learner,
            },
            view: recovered.view,
            departure: recovered
                .left_by
                .clone()
                .filter(|_| !mutant!(RestoresViewNotMode))
                .map(|message| Departure {
                    target: message.target,
                    message,
                    released: true,
                }),
            new_view,
            choices: choices.into_iter().filter(|(seq, _)| *seq > stable_seq).collect(),
            candidates: BTreeMap::new(),
            making_new_view: None,
            doublings: 0,
            watch: None,
            awaited: BTreeMap::new(),
            turnaround: Turnaround::new(config.tuning.request_timeout, quorum.weak() - 1),
            standby: Standby::new(config.tuning.request_timeout),
            log: Log::new(stable_seq.min(durable)),
            pool: Pool::default(),
            timers: Timers::default(),
            fetcher: Fetcher::default(),
            peers: BTreeMap::new(),
            proposed: decision
                .map_or(SeqNum::ZERO, |decision| decision.max_s)
                .max(stable_seq),
            dispatched: executed.tip,
            executed: executed.tip,
            execution_held: false,
            history: executed.recent.iter().copied().collect(),
            stable: recovered.stable.clone(),
            checkpoints: BTreeMap::new(),
            own_headers: executed
                .headers
                .iter()
                .copied()
                .chain([(durable, durable_header)])
                .collect(),
            durable,
            ticket: Ticket(0),
            synced: Ticket(0),
            waiting: VecDeque::new(),
            condemned: BTreeMap::new(),
            evidence_counts: recovered.evidence.clone(),
            batch_delay_over: false,
            heard: BTreeSet::new(),
            progress_mark: (View::ZERO, SeqNum::ZERO),
            config,
        };
        replica.restore_log(recovered);
        // It is stuck from the start: until it has heard from others it asks at every tick.
        replica.progress_mark = (replica.target(), replica.executed);
        if replica.standing == Standing::Learner {
            out.events.push(Event::Learner);
        }
        replica.compare_with_stable(out);
        replica.send_status(Recipient::Others, out);
        replica.timers.set(
            Timer::Status,
            now.clock.plus(replica.config.tuning.status_interval),
        );
        replica
    }

    fn restore_log(&mut self, recovered: Recovered) {
        let collected = self.log.collected();
        for (_, (seq, body)) in recovered.bodies {
            if seq > collected {
                // How much of it was checked is not on disk.
                self.log.keep_body(seq, body, Extent::Share);
            }
        }
        for ((seq, view), accepted) in recovered.accepted {
            if seq <= collected || mutant!(RestartDropsVotes) {
                continue;
            }
            let has_body = self.find_certified_body(seq, &accepted.digest).is_some();
            let slot = self.log.slot(seq);
            slot.signed.insert(view, accepted.digest);
            if has_body {
                slot.accepted.insert(view, accepted);
            }
            if view == self.view {
                let sender = self.quorum.primary(view);
                let (digest, signature) = (accepted.digest, accepted.signature);
                let phase = Phase::PrePrepare;
                slot.proposals.insert(
                    view,
                    Vote {
                        phase,
                        view,
                        seq,
                        digest,
                        sender,
                        signature,
                    },
                );
                self.proposed = self.proposed.max(seq);
            }
        }
        for (seq, certificate) in recovered.prepared {
            if seq <= collected || mutant!(RestartDropsCertificates) {
                continue;
            }
            if seq > self.executed {
                self.awaited.insert(seq, self.now.clock);
            }
            self.log.slot(seq).prepared = Some(certificate);
        }
        let open = self.choices.keys().filter(|seq| **seq > self.executed);
        self.awaited.extend(open.map(|seq| (*seq, self.now.clock)));
        if self.standing == Standing::Starting {
            self.restore_choices();
            self.restore_own_votes();
        }
    }

    /// What the NEW-VIEW of this view chose is proposed again by it, accepted before the crash or not.
    fn restore_choices(&mut self) {
        let Some(message) = self.new_view.clone() else {
            return;
        };
        let Ok(decision) = decide(&message.view_changes, self.null.digest()) else {
            return;
        };
        let sender = self.quorum.primary(self.view);
        for ((seq, digest), proposal) in decision.choices.into_iter().zip(message.proposals.iter()) {
            if seq <= self.log.collected() {
                continue;
            }
            let (view, signature) = (self.view, proposal.signature);
            let vote = Vote {
                phase: Phase::PrePrepare,
                view,
                seq,
                digest,
                sender,
                signature,
            };
            let own = sender == self.id();
            let slot = self.log.slot(seq);
            slot.proposals.entry(view).or_insert(vote);
            if own {
                // Signed with the NEW-VIEW, whether or not the records that follow it reached the disk.
                slot.signed.insert(view, digest);
            }
        }
    }

    /// The votes that the records promise. Signing is deterministic, so they are the ones that may have left before.
    fn restore_own_votes(&mut self) {
        let (me, view) = (self.id(), self.view);
        let primary = self.quorum.primary(view);
        let chain = self.config.ring.chain;
        let mut votes = Vec::new();
        for (seq, slot) in self.log.iter() {
            if let Some(accepted) = slot.accepted.get(&view).filter(|_| me != primary) {
                votes.push((Phase::Prepare, view, seq, accepted.digest));
            }
            if let Some(certificate) = &slot.prepared {
                votes.push((Phase::Commit, certificate.view, seq, certificate.digest));
            }
        }
        for (phase, view, seq, digest) in votes {
            let vote = Vote::sign(phase, view, seq, digest, me, &chain, &self.config.key);
            self.log.slot(seq).add_vote(&vote, self.view);
        }
    }

    /// A fresh replica's records: it has never signed anything, and says so.
    pub fn genesis_records() -> Vec<crate::record::Record> {
        vec![crate::record::Record::Voter(Voter::Complete)]
    }

    /// Everything an outsider may look at of the replica's peers: who is known to have executed how much.
    pub fn peer_heights(&self) -> impl Iterator<Item = (crate::types::ReplicaId, SeqNum)> {
        self.peers.iter().map(|(id, peer)| (*id, peer.executed))
    }

    /// The digest of the null batch.
    pub fn null_body(&self) -> &Arc<Body> {
        &self.null
    }
}
