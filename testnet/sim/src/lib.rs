//! The deterministic simulator: the real replica core and the real ledger of every replica, with real signatures, on one thread
//! and in simulated time, over a network and disks that do their worst.
//!
//! A run is a seed and a commit: the same seed gives the same events in the same order, and the same hash over all of them. It has
//! two phases. In the first one anything may fail, up to f replicas lie, and only safety is demanded; then everything heals but
//! the liars, and within a bound every correct client must have been served and every correct replica must hold the same chain.
//!
//! | to see | look at |
//! | --- | --- |
//! | what a seed decides: chain, clients, liars, faults and when | [`schedule`], [`plans`] for runs with a name |
//! | the queue of what is due, and the hosts | [`world`], [`host`] |
//! | what may fail: links, disks, power, clocks | [`network`], [`disk`], [`schedule::Disturbance`] |
//! | a world that is told what happens, step by step | [`script`] |
//! | how many messages of which kind replicas send | [`sent`] |
//! | who lies, and how | [`byzantine`], one small file a behaviour |
//! | clients, and those that do not play by the rules | [`clients`] |
//! | what must hold, computed apart from the code under test | [`check`], one invariant a file |
//! | every run of a small instance, every scenario of twins | [`model`] |
//! | planted bugs, and how many runs it takes to see each | [`mutation`] |
//! | which test or fault covers which row of the fault list | [`coverage`] |
//!
//! `tagma-testnet sim --seeds 100` runs it; a run that fails prints the command that replays it, with a trace for people.
#![forbid(unsafe_code)]

pub mod audit;
pub mod byzantine;
mod carry;
pub mod chain;
pub mod check;
pub mod clients;
pub mod command;
pub mod counts;
pub mod coverage {
    #![doc = include_str!("coverage.md")]
}
mod crafted;
mod describe;
pub mod disk;
mod faults;
pub mod host;
pub mod hunts;
pub mod model;
pub mod mutation;
pub mod network;
mod packet;
pub mod plans;
mod power;
pub mod queue;
pub mod report;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod script;
mod sends;
pub mod sent;
mod submissions;
pub mod time;
pub mod trace;
pub mod twins;
pub mod verify;
pub mod world;
