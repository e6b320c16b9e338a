//! Stories told step by step: a network of real processes, something done to it, the evidence, and a verdict computed from
//! what the nodes themselves show.

mod crash;
mod narrator;

use clap::Args;

use crate::cli::block_on;
use crate::error::Error;
use crate::interrupt::Interrupts;
use crate::process::Programs;

/// What `demo` can be asked for.
#[derive(Args)]
pub struct DemoArgs {
    /// Which story
    #[arg(default_value = "crash")]
    name: String,
    /// Only say which stories there are
    #[arg(long)]
    list: bool,
}

/// A story that can be told.
struct Story {
    name: &'static str,
    about: &'static str,
}

const STORIES: [Story; 1] = [Story {
    name: "crash",
    about: "four replicas; a backup and then the primary are killed, and nobody's money notices",
}];

/// Tells a story, or says which there are.
///
/// # Errors
/// [`Error::Verdict`] if it ends otherwise than it must, and whatever keeps it from being told.
pub fn run(args: &DemoArgs) -> Result<(), Error> {
    if args.list {
        for story in &STORIES {
            println!("{:<10} {}", story.name, story.about);
        }
        return Ok(());
    }
    if !STORIES.iter().any(|story| story.name == args.name) {
        return Err(Error::usage(
            format!("there is no demo {:?}", args.name),
            "tagma-testnet demo --list",
        ));
    }
    let programs = Programs::find()?;
    block_on(async {
        let mut interrupts = Interrupts::listen()?;
        interrupts.unless(crash::tell(programs)).await
    })
}
