//! Clients and replicas: one long-lived bidirectional stream a connection, frames both ways. The first frame each way is the
//! hello and its answer.

pub(crate) mod connection;
pub(crate) mod listener;
