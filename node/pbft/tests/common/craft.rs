//! Messages made by hand with anybody's key, and messages in words.

use std::sync::Arc;

use tagma_crypto::{Digest, SecretKey, Signature};
use tagma_pbft::certificate::{CommitCertificate, Endorsement, PreparedCertificate, StableCertificate};
use tagma_pbft::message::{Checkpoint, Message, NewView, Phase, Reproposal, ViewChange, Vote};
use tagma_pbft::{Batch, Body, Event, Recipient};

use super::{Cluster, START_MS, id, n, request, v};

/// A batch of these requests, proposed at the start of the test.
pub(crate) fn batch(texts: &[&str]) -> Batch {
    batch_at(START_MS, texts)
}

pub(crate) fn batch_at(time_ms: u64, texts: &[&str]) -> Batch {
    let requests: Vec<_> = texts.iter().map(|text| request(text)).collect();
    Batch {
        time_ms,
        requests: requests.into(),
    }
}

impl Cluster {
    /// The body of a batch of these requests; its digest is known by name from now on.
    pub(crate) fn body(&mut self, texts: &[&str]) -> Arc<Body> {
        let body = Body::new(&self.ring.chain, batch(texts));
        self.learn_name(&body);
        body
    }

    pub(crate) fn digest(&mut self, texts: &[&str]) -> Digest {
        self.body(texts).digest()
    }

    pub(crate) fn null(&self) -> Digest {
        Body::null(&self.ring.chain).digest()
    }

    /// A replica's key; one who is no replica signs with somebody's.
    fn key(&self, sender: u16) -> &SecretKey {
        &self.keys[usize::from(sender) % self.keys.len()]
    }

    pub(crate) fn vote(&self, sender: u16, phase: Phase, view: u64, seq: u64, digest: Digest) -> Vote {
        let key = self.key(sender);
        Vote::sign(phase, v(view), n(seq), digest, id(sender), &self.ring.chain, key)
    }

    /// A PRE-PREPARE of the primary of `view` for a batch of these requests.
    pub(crate) fn pre_prepare(&mut self, view: u64, seq: u64, texts: &[&str]) -> Message {
        self.pre_prepare_batch(view, seq, batch(texts))
    }

    pub(crate) fn pre_prepare_batch(&mut self, view: u64, seq: u64, batch: Batch) -> Message {
        let primary = self.ring.quorum.primary(v(view)).get();
        let body = Body::new(&self.ring.chain, batch.clone());
        self.learn_name(&body);
        Message::PrePrepare {
            vote: self.vote(primary, Phase::PrePrepare, view, seq, body.digest()),
            batch: Some(batch),
        }
    }

    /// A PRE-PREPARE of the primary of `view` without a body.
    pub(crate) fn bare_pre_prepare(&self, view: u64, seq: u64, digest: Digest) -> Message {
        let primary = self.ring.quorum.primary(v(view)).get();
        Message::PrePrepare {
            vote: self.vote(primary, Phase::PrePrepare, view, seq, digest),
            batch: None,
        }
    }

    pub(crate) fn prepare(&self, sender: u16, view: u64, seq: u64, digest: Digest) -> Message {
        Message::Vote(self.vote(sender, Phase::Prepare, view, seq, digest))
    }

    pub(crate) fn commit(&self, sender: u16, view: u64, seq: u64, digest: Digest) -> Message {
        Message::Vote(self.vote(sender, Phase::Commit, view, seq, digest))
    }

    pub(crate) fn checkpoint(&self, sender: u16, seq: u64, header: Digest) -> Message {
        let key = self.key(sender);
        Message::Checkpoint(Checkpoint::sign(
            n(seq),
            header,
            id(sender),
            &self.ring.chain,
            key,
        ))
    }

    fn endorsements(&self, senders: &[u16], sign: impl Fn(u16) -> Signature) -> Vec<Endorsement> {
        let endorse = |sender: &u16| Endorsement {
            sender: id(*sender),
            signature: sign(*sender),
        };
        senders.iter().map(endorse).collect()
    }

    /// A prepared certificate with the PREPAREs of `senders`, as they are given.
    pub(crate) fn prepared(
        &self,
        senders: &[u16],
        view: u64,
        seq: u64,
        digest: Digest,
    ) -> PreparedCertificate {
        let primary = self.ring.quorum.primary(v(view)).get();
        let prepare = |sender| self.vote(sender, Phase::Prepare, view, seq, digest).signature;
        PreparedCertificate {
            view: v(view),
            seq: n(seq),
            digest,
            pre_prepare: self.vote(primary, Phase::PrePrepare, view, seq, digest).signature,
            prepares: self.endorsements(senders, prepare).into(),
        }
    }

    pub(crate) fn committed(
        &self,
        senders: &[u16],
        view: u64,
        seq: u64,
        digest: Digest,
    ) -> CommitCertificate {
        let commit = |sender| self.vote(sender, Phase::Commit, view, seq, digest).signature;
        CommitCertificate {
            view: v(view),
            seq: n(seq),
            digest,
            commits: self.endorsements(senders, commit).into(),
        }
    }

    pub(crate) fn stable(&self, senders: &[u16], seq: u64, header: Digest) -> StableCertificate {
        let sign = |sender: u16| {
            let key = self.key(sender);
            Checkpoint::sign(n(seq), header, id(sender), &self.ring.chain, key).signature
        };
        StableCertificate {
            seq: n(seq),
            header,
            checkpoints: self.endorsements(senders, sign).into(),
        }
    }

    pub(crate) fn view_change(
        &self,
        sender: u16,
        target: u64,
        stable: Option<StableCertificate>,
        prepared: Vec<PreparedCertificate>,
    ) -> Arc<ViewChange> {
        let key = self.key(sender);
        let (target, sender) = (v(target), id(sender));
        Arc::new(ViewChange::sign(
            target,
            stable,
            prepared,
            sender,
            &self.ring.chain,
            key,
        ))
    }

    /// A VIEW-CHANGE with nothing prepared.
    pub(crate) fn empty_view_change(&self, sender: u16, target: u64) -> Message {
        Message::ViewChange(self.view_change(sender, target, None, Vec::new()))
    }

    /// A NEW-VIEW of the primary of `view`; O is what `choices` says, from `first` on.
    pub(crate) fn new_view(
        &self,
        view: u64,
        view_changes: Vec<Arc<ViewChange>>,
        first: u64,
        choices: &[Digest],
    ) -> Arc<NewView> {
        let primary = self.ring.quorum.primary(v(view)).get();
        let propose = |(seq, digest): (u64, &Digest)| Reproposal {
            digest: *digest,
            signature: self
                .vote(primary, Phase::PrePrepare, view, seq, *digest)
                .signature,
        };
        let proposals: Vec<Reproposal> = (first..).zip(choices).map(propose).collect();
        let mut message = NewView {
            view: v(view),
            view_changes: view_changes.into(),
            proposals: proposals.into(),
            signature: Signature::from_bytes([0; 64]),
        };
        let content = message.content_digest();
        let key = self.key(primary);
        message.signature = key.sign(NewView::DOMAIN, &self.ring.chain, content.as_bytes());
        Arc::new(message)
    }
}

fn senders(endorsements: &[Endorsement]) -> String {
    let names: Vec<String> = endorsements.iter().map(|one| one.sender.to_string()).collect();
    names.join(",")
}

/// A line for a message that leaves; none for what only keeps replicas up to date.
pub(crate) fn describe(cluster: &Cluster, from: u16, to: Recipient, message: &Message) -> Option<String> {
    let to = match to {
        Recipient::Others => "all".to_owned(),
        Recipient::One(one) => one.to_string(),
    };
    let text = match message {
        Message::PrePrepare { vote, .. } => {
            let relayed = if vote.sender == id(from) {
                String::new()
            } else {
                format!(" of {}", vote.sender)
            };
            let name = cluster.name(&vote.digest);
            format!("PRE-PREPARE{relayed} {:?} {:?} {name}", vote.view, vote.seq)
        }
        Message::Vote(vote) => {
            let phase = if vote.phase == Phase::Prepare {
                "PREPARE"
            } else {
                "COMMIT"
            };
            format!(
                "{phase} {:?} {:?} {}",
                vote.view,
                vote.seq,
                cluster.name(&vote.digest)
            )
        }
        Message::Checkpoint(checkpoint) => format!("CHECKPOINT {:?}", checkpoint.seq),
        Message::Stable(certificate) => format!("stable certificate {:?}", certificate.seq),
        Message::ViewChange(message) => describe_view_change(cluster, message),
        Message::NewView(message) => {
            let supporters: Vec<String> = message
                .view_changes
                .iter()
                .map(|one| one.sender.to_string())
                .collect();
            let chosen: Vec<String> = message
                .proposals
                .iter()
                .map(|one| cluster.name(&one.digest))
                .collect();
            let (v, o) = (supporters.join(","), chosen.join(" "));
            format!("NEW-VIEW {:?} V={v} O=({o})", message.view)
        }
        Message::FetchBody { seq, digest } => format!("asks for the body {seq:?} {}", cluster.name(digest)),
        Message::Body(batch) => {
            let digest = Body::new(&cluster.ring.chain, batch.clone()).digest();
            format!("body {}", cluster.name(&digest))
        }
        Message::FetchBlocks { from, .. } => format!("asks for blocks from {from:?} on"),
        Message::Blocks { from, blocks } => format!("{} blocks from {from:?} on", blocks.len()),
        Message::Forward(requests) => {
            let texts: Vec<String> = requests
                .iter()
                .map(|request| String::from_utf8_lossy(&request.content).into_owned())
                .collect();
            format!("forwards {}", texts.join(" "))
        }
        Message::Status(_) | Message::FetchState { .. } | Message::StatePart { .. } => return None,
    };
    Some(format!("n{from} -> {to}: {text}"))
}

fn describe_view_change(cluster: &Cluster, message: &ViewChange) -> String {
    let prepared: Vec<String> = message
        .prepared
        .iter()
        .map(|one| {
            let name = cluster.name(&one.digest);
            format!(
                "{:?} {:?} {name} by {}",
                one.view,
                one.seq,
                senders(&one.prepares)
            )
        })
        .collect();
    let (target, h) = (message.target, message.stable_seq());
    format!("VIEW-CHANGE {target:?} h={h} P=({})", prepared.join("; "))
}

/// A line for an event that a reader of a transcript wants to see.
pub(crate) fn describe_event(i: u16, event: &Event) -> Option<String> {
    let text = match event {
        Event::Started => "votes".to_owned(),
        Event::Prepared { seq } => format!("has prepared {seq:?}"),
        Event::Committed { seq } => format!("has committed {seq:?}"),
        Event::Late { seq } => format!("finds {seq:?} late"),
        Event::ViewChangeStarted { target, reason } => format!("leaves for {target:?}: {}", reason.name()),
        Event::ViewEntered { view } => format!("enters {view:?}"),
        Event::StableCheckpoint { seq } => format!("moves h to {seq:?}"),
        Event::Rejected { from, why, .. } => format!("rejects what came from {from}: {why}"),
        Event::Fault { culprit, name } => format!("accuses {culprit}: {name}"),
        Event::Learner => "is a learner".to_owned(),
        Event::Halted(reason) => format!("halts: {reason}"),
        Event::Proposed { .. } => return None,
    };
    Some(format!("n{i} {text}"))
}
