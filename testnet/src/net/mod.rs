//! Links between the replicas of a network that lose, delay, double and reorder packets, or carry nothing at all.
//!
//! Of two replicas the one with the higher number dials the other one. So one UDP socket for each pair, put where the dialer
//! looks for the other one, carries all that the two say to each other ([`relay`]). Packets are passed on as they are: what is
//! in them is encrypted and authenticated end to end, so a link can do exactly what a bad network can. Both directions of a pair are
//! separate paths ([`path`]), each with a fault of its own ([`fault`]).
//!
//! The sockets belong to a process of the network, `tagma-testnet links`, which is started when it is first needed and takes
//! commands over a socket in the network's directory ([`control`]). A network that was never disturbed has no such process, and
//! no packet passes through anything. When it is started the settings of the replicas are changed ([`settings`]), and those that
//! run read them again (SIGHUP): they give up their connections and make new ones through the links ([`links`]).
//!
//! Clients reach every replica directly: what is cut is the network between replicas.

pub mod change;
pub mod control;
pub mod fault;
pub mod links;
pub mod path;
pub mod relay;
pub mod settings;
pub mod words;

pub use change::{Change, Links as LinkMap};
pub use fault::{LinkFault, Percent};
pub use links::Links;
