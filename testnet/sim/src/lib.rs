//! The deterministic simulator.
#![forbid(unsafe_code)]

pub mod byzantine;
mod carry;
pub mod chain;
pub mod check;
pub mod clients;
mod describe;
pub mod disk;
mod faults;
pub mod host;
pub mod network;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod time;
pub mod trace;
pub mod verify;
pub mod world;
