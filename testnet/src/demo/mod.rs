//! Stories told step by step: a network of real processes, something done to it, the evidence, and a verdict computed from
//! what the nodes themselves show.

mod censorship;
mod consecutive;
mod crash;
mod ending;
mod equivocation;
mod flood;
mod fork;
mod generals;
mod narrator;
mod partition;
mod poison;
mod replies;
mod slow;
mod stage;

use std::pin::Pin;
use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::cli::block_on;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::process::Programs;

/// What `demo` can be asked for.
#[derive(Args)]
pub struct DemoArgs {
    /// Which story
    #[arg(default_value = "seven-generals")]
    name: String,
    /// Only say which stories there are
    #[arg(long, conflicts_with = "all")]
    list: bool,
    /// Tell all of them, and compare how each ends with how it must
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Also a story with more than f traitors, in which nothing is promised any more
    #[arg(long)]
    allow_beyond_f: bool,
}

type Telling = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A story that can be told.
struct Story {
    name: &'static str,
    about: &'static str,
    /// Whether it has more traitors than the replicas bear.
    beyond_f: bool,
    /// The exit code that it ends with if all is as theory says.
    exit: i32,
    tell: fn(Programs) -> Telling,
}

impl Story {
    /// A story with at most f faults, which ends well.
    const fn new(name: &'static str, about: &'static str, tell: fn(Programs) -> Telling) -> Self {
        Self {
            name,
            about,
            beyond_f: false,
            exit: 0,
            tell,
        }
    }
}

const STORIES: [Story; 11] = [
    Story::new(
        "seven-generals",
        "seven replicas, n2 and n5 malicious: alice's 100 go to bob, and the forged 1000 go nowhere",
        |programs| Box::pin(generals::tell(programs)),
    ),
    Story::new(
        "equivocating-primary",
        "the primary tells some one thing and the rest another, is replaced, and convicted",
        |programs| Box::pin(equivocation::tell(programs)),
    ),
    Story::new(
        "slow-primary",
        "the primary holds every proposal back, for not quite as long as anybody's timer",
        |programs| Box::pin(slow::tell(programs)),
    ),
    Story::new(
        "censorship",
        "the primary serves everybody but alice, until the backups have waited long enough for her",
        |programs| Box::pin(censorship::tell(programs)),
    ),
    Story::new(
        "lying-replies",
        "a replica tells clients of payments that never failed that they did, and is named by them",
        |programs| Box::pin(replies::tell(programs)),
    ),
    Story::new(
        "poisoned-state-transfer",
        "a replica that was away asks for the state, a liar gives it a spoiled one, and it is found out part by part",
        |programs| Box::pin(poison::tell(programs)),
    ),
    Story::new(
        "flood",
        "a replica sends the others thousands of messages a second, and costs itself its good name",
        |programs| Box::pin(flood::tell(programs)),
    ),
    Story::new(
        "crash",
        "a backup and then the primary are killed, and nobody's money notices",
        |programs| Box::pin(crash::tell(programs)),
    ),
    Story::new(
        "consecutive-primaries",
        "seven replicas; two primaries in a row are killed together",
        |programs| Box::pin(consecutive::tell(programs)),
    ),
    Story::new(
        "partition-heal",
        "the network falls into halves that can do nothing, then loses its primary, and is whole again",
        |programs| Box::pin(partition::tell(programs)),
    ),
    Story {
        name: "fork",
        about: "two of four replicas collude, one more than four bear: two histories (needs --allow-beyond-f)",
        beyond_f: true,
        exit: 9,
        tell: |programs| Box::pin(fork::tell(programs)),
    },
];

/// Tells a story, or all of them, or says which there are.
///
/// # Errors
/// [`Error::Verdict`] if one ends otherwise than it must, and whatever keeps it from being told.
pub fn run(args: &DemoArgs) -> Result<(), Error> {
    if args.list {
        for story in &STORIES {
            println!("{:<24} {}", story.name, story.about);
        }
        return Ok(());
    }
    let programs = Programs::find()?;
    if args.all {
        return tell_all(&programs);
    }
    let story = STORIES.iter().find(|story| story.name == args.name);
    let story = story.ok_or_else(|| {
        Error::usage(
            format!("there is no demo {:?}", args.name),
            "tagma-testnet demo --list",
        )
    })?;
    if story.beyond_f && !args.allow_beyond_f {
        return Err(Error::usage(
            format!("{} has more traitors than its replicas bear", story.name),
            format!(
                "tagma-testnet demo {} --allow-beyond-f: then nothing is promised any more",
                story.name
            ),
        ));
    }
    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        interrupts.unless((story.tell)(programs)).await
    })
}

/// Tells all stories, each in a process of its own, and compares the exit codes with what they must be.
fn tell_all(programs: &Programs) -> Result<(), Error> {
    let mut lines = Vec::new();
    let mut unexpected = Vec::new();
    for story in &STORIES {
        println!("\n════ {}: {}\n", story.name, story.about);
        let began = Instant::now();
        let mut command = Command::new(&programs.testnet);
        command.args(["demo", story.name]);
        if story.beyond_f {
            command.arg("--allow-beyond-f");
        }
        let status = command
            .status()
            .map_err(|source| Error::io("run", &programs.testnet, source))?;
        let expected = status.code() == Some(story.exit);
        if !expected {
            unexpected.push(story.name);
        }
        let ended = status
            .code()
            .map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit {code}"));
        lines.push(format!(
            "{} {:<24} {ended} (must be {})  {:5.1} s",
            if expected { "✔" } else { "✘" },
            story.name,
            story.exit,
            began.elapsed().as_secs_f64()
        ));
    }
    println!("\n════ All stories");
    for line in lines {
        println!("{line}");
    }
    if unexpected.is_empty() {
        return Ok(());
    }
    Err(Error::Verdict(format!(
        "told otherwise than it must: {}",
        unexpected.join(", ")
    )))
}
