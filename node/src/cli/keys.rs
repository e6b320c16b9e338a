//! `tagma-node keys`: the two keys of a replica. Genesis holds their public halves, so they are made first.

use std::path::PathBuf;

use tagma_crypto::SecretKey;

use super::{Output, OutputArgs, print};
use crate::exit::{Exit, Failure};
use crate::home::Home;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make both keys in a home that has none.
    Generate(Args),
    /// Show the public keys, as genesis has to hold them.
    Show(Args),
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// The replica's home directory.
    #[arg(long, env = "TAGMA_HOME", value_name = "DIR")]
    home: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let config = Failure::with(Exit::Config);
    match command {
        Command::Generate(args) => {
            let home = Home::new(&args.home);
            std::fs::create_dir_all(home.keys()).map_err(config)?;
            for path in [home.vote_key(), home.network_key()] {
                SecretKey::generate()
                    .save(&path)
                    .map_err(Failure::with(Exit::Config))?;
            }
            show(&home, args.output.output)
        }
        Command::Show(args) => show(&Home::new(&args.home), args.output.output),
    }
}

fn show(home: &Home, output: Output) -> Result<(), Failure> {
    let public = |path: PathBuf| {
        SecretKey::load(&path)
            .map(|key| key.public())
            .map_err(Failure::with(Exit::Config))
    };
    let (vote, network) = (public(home.vote_key())?, public(home.network_key())?);
    match output {
        Output::Table => print(&format!("vote_key     {vote}\nnetwork_key  {network}\n")),
        Output::Json => {
            let keys = serde_json::json!({
                "schema": "keys/v1", "vote_key": vote, "network_key": network,
            });
            print(&format!("{keys}\n"))
        }
    }
}
