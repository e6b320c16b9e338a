//! The tracker without a network: time is a number, and what it wants sent is compared to the last frame.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

use tagma_crypto::{List, SecretKey, Text};
use tagma_ledger::{Genesis, GenesisAccount, GenesisReplica, Parameters};

use super::*;

const T_C: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(10);

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed([seed; 32]).public()
}

fn network(n: u16) -> Network {
    let address = |id: u16, port: u16| Text::from(format!("127.0.0.{}:{port}", id + 1));
    let replica = |id: u16| GenesisReplica {
        id,
        vote_key: key(u8::try_from(id).unwrap()),
        network_key: key(u8::try_from(id).unwrap() + 100),
        peer_address: address(id, 1),
        client_address: address(id, 2),
        http_address: address(id, 3),
    };
    let genesis = Genesis {
        chain_name: Text::from("test"),
        time_ms: 0,
        replicas: (0..n).map(replica).collect(),
        accounts: List::from(vec![GenesisAccount {
            name: None,
            key: key(200),
            balance: 1,
        }]),
        parameters: Parameters::default(),
    };
    genesis.validate().unwrap();
    Network::from_genesis(&genesis).unwrap()
}

struct Bench {
    tracker: Tracker,
    start: Instant,
    completed: mpsc::UnboundedReceiver<Completion>,
    completions: mpsc::UnboundedSender<Completion>,
}

fn hash(number: u64) -> Digest {
    Digest::of("test request", &[&number.to_le_bytes()])
}

fn frame(number: u64) -> Bytes {
    Bytes::from(number.to_le_bytes().to_vec())
}

fn reply(number: u64, height: u64, view: u64) -> Reply {
    Reply {
        request: hash(number),
        outcome: Outcome::Transferred,
        height,
        header: Some(Digest::of("test header", &[&height.to_le_bytes()])),
        view,
    }
}

impl Bench {
    /// A tracker whose replicas `up` are connected.
    fn new(n: u16, up: &[u16]) -> Self {
        let retry = Retry {
            first: T_C,
            longest: Duration::from_secs(2),
        };
        let mut tracker = Tracker::new(&network(n), retry, 4, 2);
        let mut out = Vec::new();
        up.iter().for_each(|id| tracker.connected(*id, &mut out));
        assert_eq!(out, []);
        let (completions, completed) = mpsc::unbounded_channel();
        Self {
            tracker,
            start: Instant::now(),
            completed,
            completions,
        }
    }

    /// Submits request `number` of account `account` after `at`; gives who is sent the request, and who is told to
    /// follow the account.
    fn submit(&mut self, at: Duration, number: u64, account: u8) -> (Vec<u16>, Vec<u16>) {
        let submission = Submission {
            hash: hash(number),
            account: key(account),
            frame: frame(number),
            deadline: self.start + at + DEADLINE,
        };
        let mut out = Vec::new();
        let waiter = Waiter::Many(self.completions.clone());
        self.tracker.submit(self.start + at, submission, waiter, &mut out);
        let follow = Bytes::from(encode(&ClientRequest::Follow(key(account))));
        assert!(
            out.iter()
                .all(|send| send.frame == frame(number) || send.frame == follow)
        );
        let to = |wanted: &Bytes| {
            let sent = out.iter().filter(|send| send.frame == *wanted);
            sent.map(|send| send.to).collect()
        };
        (to(&frame(number)), to(&follow))
    }

    /// Lets time pass until the next wakeup, which must be at `at`; gives who is sent something.
    fn wake(&mut self, at: Duration) -> Vec<u16> {
        assert_eq!(self.tracker.next_wakeup(), Some(self.start + at));
        let mut out = Vec::new();
        self.tracker.timeout(self.start + at, || 1.0, &mut out);
        out.iter().map(|send| send.to).collect()
    }

    fn reply(&mut self, at: Duration, from: u16, reply: &Reply) -> Option<Completion> {
        self.tracker.reply(self.start + at, from, reply);
        self.completed.try_recv().ok()
    }
}

#[test]
fn a_request_goes_to_the_primary_then_to_all_then_rarely_then_no_more() {
    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    assert_eq!(bench.submit(Duration::ZERO, 1, 9), (vec![0], vec![0, 1, 2, 3]));
    let mut at = T_C;
    let mut pause = T_C;
    assert_eq!(bench.wake(at), [0, 1, 2, 3]);
    while at + pause < DEADLINE {
        at += pause;
        pause = (pause * 2).min(Duration::from_secs(2));
        assert_eq!(bench.wake(at), [0, 1, 2, 3]);
    }
    assert!(bench.wake(DEADLINE).is_empty());
    let completion = bench.completed.try_recv().unwrap();
    assert!(matches!(completion.result, Err(SubmitError::OutcomeUnknown(_))));
    assert_eq!(bench.tracker.next_wakeup(), None);
    assert_eq!(bench.tracker.in_flight(), 0);
}

#[test]
fn who_has_replied_is_not_asked_again() {
    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    bench.submit(Duration::ZERO, 1, 9);
    assert!(bench.reply(T_C / 2, 1, &reply(1, 5, 0)).is_none());
    assert!(
        bench.reply(T_C / 2, 1, &reply(1, 5, 0)).is_none(),
        "one replica counts once"
    );
    assert!(
        bench.reply(T_C / 2, 0, &reply(1, 6, 0)).is_none(),
        "another height is another verdict"
    );
    assert_eq!(bench.wake(T_C), [2, 3]);
    let accepted = bench.reply(T_C * 2, 3, &reply(1, 5, 0)).unwrap().result.unwrap();
    assert_eq!(accepted.supporters, [1, 3]);
    assert_eq!(accepted.liars, [0]);
    assert_eq!((accepted.height, accepted.latency), (5, T_C * 2));
    assert_eq!(accepted.headers.len(), 2);
    assert_eq!(bench.tracker.settled().take_contradictions().len(), 1);
}

#[test]
fn the_primary_follows_the_view_of_f_plus_1() {
    let mut bench = Bench::new(7, &[0, 1, 2, 3, 4, 5, 6]);
    bench.submit(Duration::ZERO, 1, 9);
    bench.reply(T_C, 0, &reply(1, 5, u64::MAX));
    bench.reply(T_C, 1, &reply(1, 5, 9));
    assert_eq!((bench.tracker.view(), bench.tracker.primary()), (0, 0));
    bench.reply(T_C, 2, &reply(1, 5, 8));
    assert_eq!((bench.tracker.view(), bench.tracker.primary()), (8, 1));
    assert_eq!(
        bench.submit(T_C, 2, 9),
        (vec![1], vec![]),
        "the account is followed already"
    );
}

#[test]
fn without_the_primary_a_request_goes_to_all_that_are_there() {
    let mut bench = Bench::new(4, &[1, 3]);
    assert_eq!(bench.submit(Duration::ZERO, 1, 9), (vec![1, 3], vec![1, 3]));
    let mut out = Vec::new();
    bench.tracker.connected(2, &mut out);
    let frames: Vec<&Bytes> = out.iter().map(|send| &send.frame).collect();
    assert_eq!(
        frames,
        [&Bytes::from(encode(&ClientRequest::Follow(key(9)))), &frame(1)]
    );
    bench.tracker.disconnected(1);
    assert_eq!(bench.wake(T_C), [2, 3]);
}

#[test]
fn a_request_without_any_connection_leaves_with_the_first() {
    let mut bench = Bench::new(4, &[]);
    assert_eq!(bench.submit(Duration::ZERO, 1, 9), (vec![], vec![]));
    let mut out = Vec::new();
    bench.tracker.connected(3, &mut out);
    assert_eq!(out.last().unwrap().frame, frame(1));
    assert_eq!(bench.wake(T_C), [3]);
}

#[test]
fn a_request_that_never_left_is_unreachable() {
    let mut bench = Bench::new(4, &[]);
    bench.submit(Duration::ZERO, 1, 9);
    let mut out = Vec::new();
    bench.tracker.timeout(bench.start + DEADLINE, || 1.0, &mut out);
    let completion = bench.completed.try_recv().unwrap();
    assert_eq!(completion.result, Err(SubmitError::Unreachable { hash: hash(1) }));
}

#[test]
fn a_refusal_sends_the_request_to_all_others_once() {
    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    bench.submit(Duration::ZERO, 1, 9);
    let refusal = Refusal::NonceTooFar { next: 0 };
    let mut out = Vec::new();
    assert!(!bench.tracker.refused(0, hash(1), refusal, &mut out));
    assert_eq!(out.iter().map(|send| send.to).collect::<Vec<_>>(), [1, 2, 3]);
    out.clear();
    assert!(!bench.tracker.refused(1, hash(1), refusal, &mut out));
    assert_eq!(out, []);
    assert!(!bench.tracker.refused(3, hash(1), refusal, &mut out));
    let completion = bench.completed.try_recv().unwrap();
    let by = vec![0, 1, 3];
    assert_eq!(
        completion.result,
        Err(SubmitError::Rejected {
            hash: hash(1),
            refusal,
            by
        })
    );
}

#[test]
fn busy_is_a_hint_that_counts_as_nothing() {
    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    bench.submit(Duration::ZERO, 1, 9);
    (0..4).for_each(|id| bench.tracker.busy(id, hash(1)));
    assert!(bench.completed.try_recv().is_err());
    assert_eq!(bench.wake(T_C), [0, 1, 2, 3], "busy replicas are asked again");
}

#[test]
fn what_is_in_flight_and_what_is_remembered_is_bounded() {
    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    for number in 0..5 {
        bench.submit(Duration::ZERO, number, 9);
    }
    let refused = bench.completed.try_recv().unwrap();
    assert_eq!(refused.result, Err(SubmitError::TooManyInFlight { limit: 4 }));
    for number in 0..4 {
        bench.reply(T_C, 0, &reply(number, 1, 0));
        assert!(bench.reply(T_C, 1, &reply(number, 1, 0)).is_some());
    }
    let remembered: Vec<u64> = (0..4)
        .filter(|number| bench.tracker.settled().standing(&hash(*number)).is_some())
        .collect();
    assert_eq!(remembered, [2, 3]);
    assert!(!bench.tracker.reply(bench.start, 2, &reply(0, 7, 0)), "forgotten");
    assert!(bench.tracker.reply(bench.start, 2, &reply(3, 7, 0)));
    let lies = bench.tracker.settled().take_contradictions();
    assert_eq!(
        lies.iter()
            .map(|lie| (lie.replica, lie.request))
            .collect::<Vec<_>>(),
        [(2, hash(3))]
    );
}

#[test]
fn replies_of_replicas_that_do_not_exist_or_to_nothing_do_nothing() {
    let mut bench = Bench::new(4, &[0]);
    bench.submit(Duration::ZERO, 1, 9);
    assert!(!bench.tracker.reply(bench.start, 0, &reply(8, 1, 0)));
    bench.tracker.saw_view(99, 7);
    let mut out = Vec::new();
    let refusal = Refusal::NonceConsumed { next: 1 };
    assert!(!bench.tracker.refused(0, hash(8), refusal, &mut out));
    assert!(
        !bench
            .tracker
            .looked_up(bench.start, 0, hash(8), refusal, Some(None))
    );
    bench.tracker.busy(0, hash(8));
    bench.tracker.disconnected(99);
    assert_eq!((out.len(), bench.tracker.in_flight()), (0, 1));
}

#[test]
fn an_account_beyond_those_that_may_be_followed_is_sent_to_all() {
    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    for number in 0..MAX_FOLLOWED as u64 {
        let account = PublicKey::from_bytes(*hash(number).as_bytes());
        assert!(bench.tracker.follow(account, &mut Vec::new()));
    }
    assert_eq!(bench.submit(Duration::ZERO, 1, 9), (vec![0, 1, 2, 3], vec![]));
}

/// An account remembers its last outcomes only. A request that was executed longer ago is refused for its consumed nonce,
/// and whoever still waits for it wants the outcome, not the refusal.
#[test]
fn a_consumed_nonce_decides_only_once_the_same_replica_has_not_executed_the_request() {
    let refusal = Refusal::NonceConsumed { next: 40 };
    let executed = |height| {
        Some(Some(TransactionReport {
            height,
            position: 0,
            outcome: Outcome::Transferred,
        }))
    };
    let refused = |bench: &mut Bench, id| bench.tracker.refused(id, hash(1), refusal, &mut Vec::new());
    let looked_up = |bench: &mut Bench, id, found| {
        let at = bench.start + T_C;
        bench.tracker.looked_up(at, id, hash(1), refusal, found)
    };

    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    bench.submit(Duration::ZERO, 1, 9);
    assert!((0..4).all(|id| refused(&mut bench, id)), "each is asked");
    assert!(!refused(&mut bench, 0), "but once");
    assert!(bench.completed.try_recv().is_err());
    // The first replica does not answer, the second lies, and the third alone is no quorum.
    assert!(!looked_up(&mut bench, 0, None));
    assert!(!looked_up(&mut bench, 1, Some(None)));
    assert!(!looked_up(&mut bench, 2, executed(5)));
    assert!(bench.completed.try_recv().is_err());
    assert!(refused(&mut bench, 0), "asked again, as it refuses again");
    assert!(looked_up(&mut bench, 0, executed(5)));
    let accepted = bench.completed.try_recv().unwrap().result.unwrap();
    assert_eq!((accepted.height, accepted.supporters), (5, vec![0, 2]));

    let mut bench = Bench::new(4, &[0, 1, 2, 3]);
    bench.submit(Duration::ZERO, 1, 9);
    assert!((0..2).all(|id| refused(&mut bench, id)));
    assert!((0..2).all(|id| !looked_up(&mut bench, id, Some(None))));
    let by = vec![0, 1];
    let error = SubmitError::Rejected {
        hash: hash(1),
        refusal,
        by,
    };
    assert_eq!(bench.completed.try_recv().unwrap().result, Err(error));
}

/// What was sent to the primary before its connection was lost is sent to whoever is connected first, at once: later
/// requests of the account could otherwise be executed until its outcome is forgotten.
#[test]
fn a_lost_connection_has_what_is_in_flight_sent_again_with_the_next_one() {
    let mut bench = Bench::new(4, &[0, 1]);
    bench.submit(Duration::ZERO, 1, 9);
    let again = |bench: &mut Bench, replica| {
        let mut out = Vec::new();
        bench.tracker.connected(replica, &mut out);
        out.iter().any(|send| send.frame == frame(1))
    };
    assert!(!again(&mut bench, 2), "nothing was lost yet");
    bench.tracker.disconnected(0);
    assert!(again(&mut bench, 0) && again(&mut bench, 3));
}
