//! §4.5.2: timers, their doubling, and the join rule.

use std::time::Duration;

use tagma_pbft::io::ViewChangeReason;
use tagma_pbft::message::{Message, Mode};
use tagma_pbft::{Event, Input, Tuning};

use crate::common::{Cluster, n, parameters, request, tuning, v};

const T: Duration = Duration::from_secs(2);

fn in_view_change(cluster: &Cluster, i: u16, target: u64) -> bool {
    let replica = cluster.replica(i);
    replica.mode() == Mode::ViewChange && replica.target() == v(target)
}

#[test]
fn an_idle_view_never_changes() {
    let mut cluster = Cluster::new(4);
    cluster.run(Duration::from_secs(600));
    for i in 0..4 {
        assert_eq!(
            (cluster.replica(i).view(), cluster.replica(i).mode()),
            (v(0), Mode::Normal)
        );
    }
}

#[test]
fn a_request_that_the_primary_ignores_makes_backups_leave_after_t() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(0);
    for i in 1..4 {
        cluster.submit(i, "a");
    }
    cluster.run(T - Duration::from_millis(1));
    assert_eq!(cluster.replica(1).mode(), Mode::Normal);
    cluster.run(Duration::from_millis(1));
    for i in 1..4 {
        assert_eq!(cluster.replica(i).view(), v(1), "n{i} has entered view 1");
    }
    cluster.run(Duration::from_secs(1));
    for i in 1..4 {
        assert_eq!(cluster.chain_of(i), ["[a]"]);
    }
}

/// The progress of others does not reset the timer, even while there is always some batch under way: or a primary
/// could ignore one client for ever.
#[test]
fn one_censored_client_is_enough_to_leave() {
    let mut cluster = Cluster::new(4);
    let step = Duration::from_millis(100);
    for round in 1..=21 {
        // The next proposal is prepared before the last one is executed: some n is always awaited.
        let name = format!("r{round}");
        let digest = cluster.digest(&[&name]);
        let proposal = cluster.pre_prepare(0, round, &[&name]);
        cluster.feed(1, 0, proposal).unwrap();
        cluster.sync(1);
        for sender in [2, 3] {
            let prepare = cluster.prepare(sender, 0, round, digest);
            cluster.feed(1, sender, prepare).unwrap();
        }
        cluster.sync(1);
        if round == 1 {
            cluster.submit(1, "censored");
        }
        if round > 1 {
            let last = cluster.digest(&[&format!("r{}", round - 1)]);
            for sender in [0, 2, 3] {
                let commit = cluster.commit(sender, 0, round - 1, last);
                cluster.feed(1, sender, commit).unwrap();
            }
            assert!(cluster.execute(1), "round {round}");
        }
        if round % 4 == 0 {
            let header = cluster
                .node(1)
                .app
                .at_checkpoint(n(round - 4))
                .map(|app| app.header());
            if let Some(header) = header {
                for sender in [0, 2, 3] {
                    let checkpoint = cluster.checkpoint(sender, round - 4, header);
                    cluster.feed(1, sender, checkpoint).unwrap();
                }
            }
        }
        cluster.drop_all();
        cluster.pass(step);
    }
    assert!(
        in_view_change(&cluster, 1, 1),
        "the censored request's time is over"
    );
}

#[test]
fn the_progress_of_others_does_not_reset_the_timer() {
    let mut cluster = Cluster::new(4);
    // What the backup forwards to the primary is lost.
    cluster.cut.insert((1, 0));
    cluster.submit(1, "censored");
    for round in 0..4 {
        cluster.run(Duration::from_millis(450));
        cluster.submit(0, &format!("r{round}"));
        cluster.settle();
        assert!(cluster.replica(1).executed() > n(round), "others are served");
    }
    cluster.run(Duration::from_millis(200));
    assert!(
        in_view_change(&cluster, 1, 1),
        "the censored request's time is over"
    );
}

/// The primary serves backup `me` one request after the other, each `delay` after it was submitted there, and everybody else
/// at once. Gives after how many requests the backup has left view `view`, if it does within `rounds`.
fn served_late(cluster: &mut Cluster, me: u16, view: u64, delay: Duration, rounds: u64) -> Option<u64> {
    let primary = u16::try_from(view % u64::from(cluster.size())).unwrap();
    let others: Vec<u16> = (0..cluster.size()).filter(|other| *other != me).collect();
    for round in 1..=rounds {
        let name = format!("v{view} r{round}");
        cluster.submit(me, &name);
        for _ in 0..100 {
            cluster.pass(delay / 100);
        }
        let seq = cluster.replica(me).executed().get() + 1;
        let proposal = cluster.pre_prepare(view, seq, &[&name]);
        let digest = cluster.digest(&[&name]);
        cluster.feed(me, primary, proposal).unwrap();
        for sender in &others {
            let commit = cluster.commit(*sender, view, seq, digest);
            cluster.feed(me, *sender, commit).unwrap();
        }
        assert!(cluster.execute(me), "round {round}");
        let header = cluster.node(me).app.at_checkpoint(n(seq)).map(|app| app.header());
        for sender in others.iter().filter(|_| seq.is_multiple_of(4)) {
            let checkpoint = cluster.checkpoint(*sender, seq, header.unwrap());
            cluster.feed(me, *sender, checkpoint).unwrap();
        }
        cluster.drop_all();
        if cluster.replica(me).mode() == Mode::ViewChange {
            return Some(round);
        }
    }
    None
}

/// Has backup `me`, which has left its view, enter `view`, in which nothing is proposed again.
fn enter_view(cluster: &mut Cluster, me: u16, view: u64) {
    let senders = (0..cluster.size()).filter(|sender| *sender != me);
    let view_changes = senders
        .take(cluster.ring.quorum.quorum())
        .map(|sender| cluster.view_change(sender, view, None, Vec::new()))
        .collect();
    let new_view = cluster.new_view(view, view_changes, 1, &[]);
    let primary = u16::try_from(view % u64::from(cluster.size())).unwrap();
    cluster.feed(me, primary, Message::NewView(new_view)).unwrap();
    cluster.check(me);
    assert_eq!(
        (cluster.replica(me).mode(), cluster.replica(me).view()),
        (Mode::Normal, v(view))
    );
}

/// What a primary is held to (protocol: leaving a view): nothing here comes near the request timer.
#[test]
fn a_primary_that_holds_requests_back_is_left_long_before_t() {
    let mut cluster = Cluster::new(4);
    assert_eq!(served_late(&mut cluster, 1, 0, T / 2, 20), Some(4));
    let reasons = cluster.node(1).events.iter().filter_map(|event| match event {
        Event::ViewChangeStarted { reason, .. } => Some(*reason),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [ViewChangeReason::SlowPrimary]);
}

/// T / 16 passes until the request is forwarded, and another T / 8 is the primary's.
#[test]
fn a_primary_within_its_allowance_stays() {
    let mut cluster = Cluster::new(4);
    assert_eq!(served_late(&mut cluster, 1, 0, T / 16 + T / 8, 100), None);
}

/// Where f + 1 primaries in a row are as slow the network is to blame, and the allowance doubles; up to f may be traitors.
#[test]
fn a_slow_network_keeps_its_primary_in_the_end() {
    let mut cluster = Cluster::new(4);
    for view in [0, 2, 4, 6] {
        assert_eq!(
            served_late(&mut cluster, 1, view, T / 2, 20),
            Some(4),
            "view {view}"
        );
        enter_view(&mut cluster, 1, view + 2);
    }
    assert_eq!(served_late(&mut cluster, 1, 8, T / 2, 20), None);
}

/// Of seven replicas the first two primaries may both be traitors that are a little too slow: the second is held to no more than
/// the first was. Three in a row are not all traitors.
#[test]
fn two_slow_primaries_of_seven_are_replaced_one_after_the_other() {
    let mut cluster = Cluster::new(7);
    for view in 0..3 {
        assert_eq!(
            served_late(&mut cluster, 6, view, T / 4, 20),
            Some(4),
            "view {view}"
        );
        enter_view(&mut cluster, 6, view + 1);
    }
    assert_eq!(served_late(&mut cluster, 6, 3, T / 4, 20), None);
}

/// Behind full batches a request waits its turn, however long that takes.
#[test]
fn a_primary_that_has_more_to_do_than_fits_is_not_slow() {
    let mut cluster = Cluster::new(4);
    cluster.submit(1, "last");
    for round in 1..=7 {
        for _ in 0..100 {
            cluster.pass(T / 800);
        }
        let names: Vec<String> = (0..parameters().max_batch_requests)
            .map(|number| format!("r{round}.{number}"))
            .collect();
        let texts: Vec<&str> = names.iter().map(String::as_str).collect();
        let proposal = cluster.pre_prepare(0, round, &texts);
        cluster.feed(1, 0, proposal).unwrap();
    }
    let proposal = cluster.pre_prepare(0, 8, &["last"]);
    cluster.feed(1, 0, proposal).unwrap();
    assert_eq!(cluster.replica(1).mode(), Mode::Normal);
}

/// A sequence number that only an older NEW-VIEW chose, and that the present one left out, will never be executed for
/// its own sake: no timer runs for it.
#[test]
fn what_an_older_new_view_chose_is_not_waited_for() {
    let mut cluster = Cluster::new(4);
    let digest = cluster.digest(&["a"]);
    // View 1 re-proposes #1 because one replica had prepared it; nobody prepares it in view 1, and the next V does not
    // hold that one replica's VIEW-CHANGE.
    let certificate = cluster.prepared(&[1, 2], 0, 1, digest);
    let first = vec![
        cluster.view_change(0, 1, None, vec![certificate]),
        cluster.view_change(1, 1, None, Vec::new()),
        cluster.view_change(2, 1, None, Vec::new()),
    ];
    let new_view = cluster.new_view(1, first, 1, &[digest]);
    cluster.feed(3, 1, Message::NewView(new_view)).unwrap();
    cluster.check(3);
    assert_eq!(cluster.replica(3).view(), v(1));
    let second = (1..4)
        .map(|i| cluster.view_change(i, 2, None, Vec::new()))
        .collect();
    let new_view = cluster.new_view(2, second, 1, &[]);
    cluster.feed(3, 2, Message::NewView(new_view)).unwrap();
    cluster.check(3);
    assert_eq!(cluster.replica(3).view(), v(2));
    cluster.isolate(3);
    cluster.run(Duration::from_secs(60));
    assert_eq!(
        cluster.replica(3).mode(),
        Mode::Normal,
        "an idle view never changes"
    );
}

/// f + 1 replicas have left while this one was starting: it joins them as soon as it votes, although their messages
/// came before.
#[test]
fn a_replica_joins_those_who_left_while_it_was_starting() {
    let mut cluster = Cluster::new(4);
    cluster.crash(1);
    cluster.restart(1);
    for sender in [2, 3] {
        let message = cluster.empty_view_change(sender, 1);
        cluster.feed(1, sender, message).unwrap();
    }
    assert_eq!(
        cluster.replica(1).mode(),
        Mode::Normal,
        "it signs nothing while it starts"
    );
    cluster.run(Duration::from_secs(1));
    assert_eq!(cluster.replica(1).view(), v(1), "with the two it is a quorum");
}

/// Two replicas that are both starting do not answer each other's answers for ever.
#[test]
fn starting_replicas_do_not_chatter() {
    let mut cluster = Cluster::unstarted(4, parameters(), tuning());
    cluster.restart(0);
    cluster.restart(1);
    cluster.settle();
    cluster.run(Duration::from_secs(1));
    let sent = cluster.take_sent(0).len();
    assert!(sent < 20, "{sent} messages in a second");
}

#[test]
fn requests_are_forwarded_oldest_first_and_those_that_could_execute_before_others() {
    let room = Tuning {
        forward_room: 2,
        ..tuning()
    };
    let mut cluster = Cluster::with(4, parameters(), room);
    for (text, timed) in [("later 1", false), ("later 2", false), ("now", true)] {
        let request = request(text);
        let digest = request.digest(&cluster.ring.chain);
        let request = std::sync::Arc::new(request);
        cluster.input(
            1,
            Input::Request {
                request,
                digest,
                timed,
            },
        );
    }
    cluster.pass(T / 4);
    let forwarded = cluster
        .take_sent(1)
        .into_iter()
        .find_map(|message| match message {
            Message::Forward(requests) => Some(requests),
            _ => None,
        });
    let texts: Vec<String> = forwarded
        .unwrap()
        .iter()
        .map(|request| String::from_utf8_lossy(&request.content).into_owned())
        .collect();
    assert_eq!(texts, ["now", "later 1"], "what is timed is forwarded");
}

/// f + 1 replicas with targets above the own one are joined, at the (f + 1)-th highest of them; fewer move nobody.
#[test]
fn f_plus_1_are_joined_and_fewer_are_not() {
    let mut cluster = Cluster::with(7, parameters(), tuning());
    for (sender, target) in [(0, u64::MAX), (1, 9)] {
        let message = cluster.empty_view_change(sender, target);
        cluster.feed(6, sender, message).unwrap();
    }
    assert_eq!(cluster.replica(6).mode(), Mode::Normal, "f = 2 move nobody");
    let message = cluster.empty_view_change(2, 4);
    cluster.feed(6, 2, message).unwrap();
    assert!(in_view_change(&cluster, 6, 4));
    // The same three do not move it again: only two are above now.
    for sender in [0, 1] {
        let message = cluster.empty_view_change(sender, u64::MAX);
        cluster.feed(6, sender, message).unwrap();
    }
    assert!(in_view_change(&cluster, 6, 4));
    let message = cluster.empty_view_change(3, 7);
    cluster.feed(6, 3, message).unwrap();
    assert!(in_view_change(&cluster, 6, 7));
}

fn leave_alone(cluster: &mut Cluster, i: u16) {
    cluster.submit(i, "ignored");
    cluster.pass(T);
    cluster.sync(i);
    assert_eq!(cluster.replica(i).mode(), Mode::ViewChange);
}

/// The view-change timer waits for Q replicas, this one included, with targets of at least its own: with "exactly its
/// own", replicas that drifted apart would wait for each other for ever.
#[test]
fn the_view_change_timer_counts_higher_targets_too() {
    let mut cluster = Cluster::new(4);
    leave_alone(&mut cluster, 3);
    cluster.pass(T * 100);
    assert!(in_view_change(&cluster, 3, 1), "one VIEW-CHANGE is no quorum");
    let message = cluster.empty_view_change(0, 1);
    cluster.feed(3, 0, message).unwrap();
    cluster.pass(T * 100);
    assert!(in_view_change(&cluster, 3, 1));
    let message = cluster.empty_view_change(1, 5);
    cluster.feed(3, 1, message).unwrap();
    cluster.pass(T * 2);
    assert!(in_view_change(&cluster, 3, 2), "no NEW-VIEW came in time");
}

/// Every view that fails doubles the time for the next, up to a cap.
#[test]
fn timeouts_double_up_to_a_cap() {
    let mut cluster = Cluster::new(4);
    for sender in [0, 1] {
        let message = cluster.empty_view_change(sender, 1_000);
        cluster.feed(3, sender, message).unwrap();
    }
    // It joins at 1000; nobody makes a NEW-VIEW.
    let mut waits = Vec::new();
    for round in 0..7_u64 {
        cluster.sync(3);
        let target = cluster.replica(3).target();
        for sender in [0, 1] {
            let message = cluster.empty_view_change(sender, 1_000 + round);
            cluster.feed(3, sender, message).unwrap();
        }
        while cluster.check(3) {}
        let before = cluster.now.clock;
        while cluster.replica(3).target() == target {
            cluster.pass(Duration::from_secs(1));
            assert!(cluster.now.clock.since(before) < T * 100, "it waits for ever");
        }
        waits.push(cluster.now.clock.since(before).as_secs());
    }
    assert_eq!(waits, [2, 4, 8, 16, 16, 16, 16]);
}

/// f primaries in a row are dead: the f + 1st view serves.
#[test]
fn f_dead_primaries_in_a_row_cost_f_views() {
    let mut cluster = Cluster::with(7, parameters(), tuning());
    for i in [0, 1] {
        cluster.crash(i);
    }
    for i in 2..7 {
        cluster.submit(i, "a");
    }
    cluster.run(Duration::from_secs(20));
    for i in 2..7 {
        assert_eq!(
            (cluster.replica(i).view(), cluster.chain_of(i)),
            (v(2), vec!["[a]".to_owned()])
        );
    }
}

/// Replicas that have drifted to different views come together again.
#[test]
fn replicas_in_different_views_converge() {
    let mut cluster = Cluster::new(4);
    // Each hears of other VIEW-CHANGEs than the next one, and none of what the others answer.
    for i in 0..4 {
        cluster.isolate(i);
        cluster.submit(i, "a");
    }
    for (i, target) in [(0, 1), (1, 4), (2, 7), (3, 2)] {
        for sender in (0..4).filter(|sender| *sender != i).take(2) {
            let message = cluster.empty_view_change(sender, target);
            cluster.feed(i, sender, message).unwrap();
        }
        cluster.sync(i);
        assert!(in_view_change(&cluster, i, target));
    }
    cluster.heal();
    cluster.run(Duration::from_secs(100));
    for i in 0..4 {
        assert_eq!(cluster.chain_of(i), ["[a]"], "n{i}");
    }
    // A quorum has met; who wants a view above theirs follows by commit certificates and waits there for them.
    let mut views: Vec<_> = (0..4).map(|i| cluster.replica(i).view()).collect();
    views.sort_unstable();
    assert_eq!(views[1], views[3]);
}

/// A replica that is kept busy looks at its timers all the same: whatever comes in, what is due happens.
#[test]
fn a_due_timer_fires_with_whatever_comes_in() {
    let mut cluster = Cluster::new(4);
    cluster.submit(1, "a");
    cluster.sync(1);
    cluster.now.clock = cluster.now.clock.plus(T);
    let digest = cluster.digest(&["b"]);
    let message = cluster.prepare(2, 0, 5, digest);
    cluster.feed(1, 2, message).unwrap();
    assert!(in_view_change(&cluster, 1, 1));
}

/// VIEW-CHANGEs that were lost are sent again until the view change is done.
#[test]
fn lost_view_changes_are_sent_again() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(0);
    for i in 1..4 {
        cluster.submit(i, "a");
    }
    cluster.run(T - Duration::from_millis(1));
    cluster.pass(Duration::from_millis(1));
    for i in 1..4 {
        cluster.sync(i);
    }
    cluster.drop_all();
    cluster.run(Duration::from_secs(5));
    for i in 1..4 {
        assert_eq!(cluster.chain_of(i), ["[a]"]);
    }
}

/// A replica that missed the NEW-VIEW is told of it in answer to its STATUS.
#[test]
fn a_replica_in_a_lower_view_gets_the_new_view() {
    let mut cluster = Cluster::new(4);
    cluster.isolate(3);
    for i in 0..3 {
        for sender in (0..3).filter(|sender| *sender != i) {
            let message = cluster.empty_view_change(sender, 1);
            cluster.feed(i, sender, message).unwrap();
        }
    }
    cluster.run(Duration::from_secs(1));
    cluster.submit(1, "a");
    cluster.run(Duration::from_secs(5));
    assert_eq!(cluster.replica(0).view(), v(1));
    assert_eq!(cluster.replica(3).view(), v(0));
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    assert_eq!(cluster.replica(3).view(), v(1));
    assert_eq!(cluster.chain_of(3), ["[a]"]);
}
