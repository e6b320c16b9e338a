//! The deterministic simulator.
#![forbid(unsafe_code)]

pub mod byzantine;
mod carry;
pub mod chain;
pub mod check;
pub mod clients;
pub mod command;
pub mod counts;
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
pub mod queue;
pub mod report;
pub mod rng;
pub mod run;
pub mod schedule;
pub mod time;
pub mod trace;
pub mod twins;
pub mod verify;
pub mod world;
