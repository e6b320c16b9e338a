//! Runs of the protocol that a person can read: each `tests/transcripts/*.txt` is a script and what came of it.
//!
//! A file holds blocks: lines of commands, a line `----`, and the lines that were written while the commands ran, up to
//! an empty line. A line that begins with `#` is a remark. After a change that is meant to alter runs,
//! `TAGMA_REWRITE=1 cargo test -p tagma-pbft --test transcripts` writes what comes of the commands now; read the
//! difference before you commit it.
//!
//! | command | what it does |
//! | --- | --- |
//! | `replicas N` | N replicas that have started; must come first |
//! | `request n0 a` · `request all a` | a client's request reaches a replica, or all |
//! | `settle` | everything that is due happens, without time passing |
//! | `run 2500ms` | time passes, and everything that is due happens |
//! | `pass 2500ms` | time passes, timers fire, and nothing else happens |
//! | `work n1` | n1 syncs, executes and checks what it has to |
//! | `deliver n0 n1` | everything on its way from n0 to n1 arrives |
//! | `lose` · `lose n0 n1` | everything on its way (from n0 to n1) is lost |
//! | `isolate n3` · `heal` | cuts n3 off; mends all links |
//! | `crash n1` · `restart n1` | power failure; start from disk |
//! | `n0 -> n1: pre-prepare v0 #1 a b` | a PRE-PREPARE signed by n0, with its body, arrives at n1; also `prepare`, `commit` |
//! | `n1 -> n3: new-view v1 #1 a b` | a NEW-VIEW of the first Q replicas' empty VIEW-CHANGEs, with these choices |
//! | `n0 -> n3: view-change v1 #1 a` | a VIEW-CHANGE; with a certificate of view 0 if #n and a request are named |
//! | `state` | one line a replica: view, mode, h, what it has executed |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod common;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tagma_crypto::Digest;
use tagma_pbft::message::{Message, Mode, Phase};

use common::{Cluster, craft};

/// Reads `n3` as 3, `v1` as 1, `#2` as 2.
fn number<T: std::str::FromStr>(word: &str, mark: char) -> T {
    let digits = word.trim_end_matches(':').strip_prefix(mark);
    let parsed = digits.and_then(|digits| digits.parse().ok());
    parsed.unwrap_or_else(|| panic!("{word:?} is no {mark}<number>"))
}

fn span(word: &str) -> Duration {
    let millis = word.strip_suffix("ms").and_then(|millis| millis.parse().ok());
    Duration::from_millis(millis.unwrap_or_else(|| panic!("{word:?} is no <number>ms")))
}

fn run_command(slot: &mut Option<Cluster>, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["replicas", count] = words[..] {
        *slot = Some(Cluster::new(count.parse().unwrap()));
        return;
    }
    let cluster = slot.as_mut().expect("`replicas` comes first");
    match words[..] {
        ["request", "all", text] => cluster.submit_to_all(text),
        ["request", to, text] => cluster.submit(number(to, 'n'), text),
        ["settle"] => cluster.settle(),
        ["run", time] => cluster.run(span(time)),
        ["pass", time] => cluster.pass(span(time)),
        ["work", who] => while cluster.work(number(who, 'n')) {},
        ["deliver", from, to] => while cluster.deliver(number(from, 'n'), number(to, 'n')) {},
        ["lose"] => cluster.drop_all(),
        ["lose", from, to] => {
            cluster.links.remove(&(number(from, 'n'), number(to, 'n')));
        }
        ["isolate", who] => cluster.isolate(number(who, 'n')),
        ["heal"] => cluster.heal(),
        ["crash", who] => cluster.crash(number(who, 'n')),
        ["restart", who] => cluster.restart(number(who, 'n')),
        ["state"] => state(cluster),
        [from, "->", to, kind, view, ref rest @ ..] => {
            let (from, to) = (number(from, 'n'), number(to, 'n'));
            let message = crafted(cluster, from, kind, number(view, 'v'), rest);
            if let Err(why) = cluster.feed(to, from, message) {
                cluster.trace.push(format!("n{to} refuses it: {why}"));
            }
        }
        _ => panic!("unknown command: {line}"),
    }
}

/// The digest of a batch by its one request, or of the null batch.
fn digest(cluster: &mut Cluster, text: &str) -> Digest {
    if text == "null" {
        cluster.null()
    } else {
        cluster.digest(&[text])
    }
}

fn crafted(cluster: &mut Cluster, from: u16, kind: &str, view: u64, rest: &[&str]) -> Message {
    let (seq, texts) = match rest {
        [seq, texts @ ..] => (number(seq, '#'), texts),
        [] => (1, rest),
    };
    match kind {
        "pre-prepare" => {
            let digest = cluster.digest(texts);
            Message::PrePrepare {
                vote: cluster.vote(from, Phase::PrePrepare, view, seq, digest),
                batch: Some(craft::batch(texts)),
            }
        }
        "prepare" | "commit" => {
            let digest = digest(cluster, texts[0]);
            if kind == "prepare" {
                cluster.prepare(from, view, seq, digest)
            } else {
                cluster.commit(from, view, seq, digest)
            }
        }
        "view-change" => {
            let mut prepared = Vec::new();
            for text in texts {
                let digest = digest(cluster, text);
                prepared.push(cluster.prepared(&[1, 2], 0, seq, digest));
            }
            Message::ViewChange(cluster.view_change(from, view, None, prepared))
        }
        "new-view" => {
            let choices: Vec<Digest> = texts.iter().map(|text| digest(cluster, text)).collect();
            let quorum = u16::try_from(cluster.ring.quorum.quorum()).unwrap();
            let view_changes = (0..quorum)
                .map(|i| cluster.view_change(i, view, None, Vec::new()))
                .collect();
            Message::NewView(cluster.new_view(view, view_changes, seq, &choices))
        }
        _ => panic!("unknown message: {kind}"),
    }
}

fn state(cluster: &mut Cluster) {
    for i in 0..cluster.size() {
        let line = if cluster.is_up(i) {
            let replica = cluster.replica(i);
            let mode = match replica.mode() {
                Mode::Normal => format!("in {:?}", replica.view()),
                Mode::ViewChange => format!("from {:?} to {:?}", replica.view(), replica.target()),
            };
            let (h, chain) = (replica.stable_seq(), cluster.chain_of(i).join(" "));
            format!("n{i}: {mode}, h={h}, executed ({chain})")
        } else {
            format!("n{i}: down")
        };
        cluster.trace.push(line);
    }
}

/// What comes of a script, in the form of the file.
fn play(script: &str) -> String {
    let mut cluster = None;
    let mut played = String::new();
    let mut expected = false;
    for line in script.lines() {
        if line == "----" {
            expected = true;
            writeln!(played, "{line}").unwrap();
            let trace = cluster
                .as_mut()
                .map(|cluster: &mut Cluster| std::mem::take(&mut cluster.trace));
            for line in trace.into_iter().flatten() {
                writeln!(played, "{line}").unwrap();
            }
        } else if line.is_empty() {
            expected = false;
            writeln!(played).unwrap();
        } else if !expected {
            writeln!(played, "{line}").unwrap();
            if !line.starts_with('#') {
                run_command(&mut cluster, line);
            }
        }
    }
    let cluster = cluster.expect("a script has replicas");
    cluster.assert_agreement();
    played
}

/// From the folder of the package, where cargo runs its tests. Where that was when the test was compiled may be gone: checkouts can
/// share what is compiled.
const FOLDER: &str = "tests/transcripts";

fn check(name: &str) {
    let path = Path::new(FOLDER).join(name);
    let script = std::fs::read_to_string(&path).unwrap();
    let played = play(&script);
    if std::env::var_os("TAGMA_REWRITE").is_some() {
        std::fs::write(&path, played).unwrap();
        return;
    }
    for (number, (expected, found)) in script.lines().zip(played.lines()).enumerate() {
        assert_eq!(found, expected, "{name}, line {}", number + 1);
    }
    assert_eq!(
        played, script,
        "{name} is longer or shorter than what comes of it"
    );
}

/// One test a file, and no file without one.
macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(concat!(stringify!($name), ".txt"));
        })*

        #[test]
        fn every_transcript_is_played() {
            let mut files: Vec<String> = std::fs::read_dir(FOLDER)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut played = vec![$(concat!(stringify!($name), ".txt")),*];
            played.sort_unstable();
            assert_eq!(files, played);
        }
    };
}

transcripts!(
    bad_new_view,
    catch_up,
    crash_in_view_change,
    equivocating_primary,
    normal_case,
    null_filling,
    prepared_at_one_replica,
    two_view_changes,
);
