//! Scenarios: networks to which things happen, and what must hold all the same. The same file takes place on real processes and
//! in the simulator, and ends in the same [`Verdict`].
//!
//! - [`file`](mod@file): the format. [`action`]: what a step can do, in the words of the command line.
//! - [`play`](mod@play): the course of a scenario, wherever it takes place: [`real`], or [`simulated`].
//! - [`verdict`]: what it came to. [`trace`]: a recording of it, and its replay.
//! - [`library`]: the scenarios that come with the program.

pub mod action;
pub mod file;
pub mod library;
pub mod play;
pub mod real;
pub mod simulated;
pub mod trace;
pub mod verdict;

pub use file::Scenario;
pub use verdict::Verdict;
