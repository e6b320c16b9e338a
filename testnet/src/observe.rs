//! What replicas say of themselves: each asked alone, over its client port; and its counters, over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use tagma_client::{Client, Config, QueryError};
use tagma_crypto::{Digest, PublicKey};
use tagma_ledger::Genesis;
use tagma_wire::client_protocol::{
    AccountReport, Answer, BlockReport, Query, StatusReport, TransactionReport,
};

use crate::error::Error;

/// How long a replica may take for an answer, its connection included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to answer over HTTP.
const HTTP_PATIENCE: Duration = Duration::from_secs(2);

/// A client of the network in `genesis` that is quick to connect again, as everything here is on one machine. Must be called
/// within a tokio runtime.
///
/// # Errors
/// If no socket can be had.
pub fn connect(genesis: &Genesis) -> Result<Client, Error> {
    let failed = |message: String| Error::Client {
        message,
        code: tagma_client::ExitCode::Internal.code(),
    };
    let network = tagma_client::Network::from_genesis(genesis).map_err(|error| failed(error.to_string()))?;
    let config = Config {
        connect_timeout: Duration::from_secs(1),
        reconnect_max: Duration::from_millis(100),
        ..Config::default()
    };
    Client::start(network, config).map_err(|error| failed(error.to_string()))
}

/// Asks replicas questions, each alone: what it says is its own word.
pub struct Observer {
    client: Client,
}

impl Observer {
    /// An observer of the replicas in `genesis`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If no socket can be had.
    pub fn new(genesis: &Genesis) -> Result<Self, Error> {
        Ok(Self {
            client: connect(genesis)?,
        })
    }

    /// How the replica is.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]
    pub async fn status(&self, node: u16) -> Result<StatusReport, Error> {
        self.status_within(node, PATIENCE).await
    }

    /// As [`Observer::status`], with less or more patience than the usual 5 s.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]
    pub async fn status_within(&self, node: u16, patience: Duration) -> Result<StatusReport, Error> {
        match self.ask_within(node, Query::Status, patience).await? {
            Answer::Status(report) => Ok(report),
            other => Err(beside_the_point(node, &other)),
        }
    }

    /// The block of this height, if the replica has it.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]
    pub async fn block(&self, node: u16, height: u64) -> Result<Option<BlockReport>, Error> {
        match self.ask(node, Query::Block(height)).await? {
            Answer::Block(report) => Ok(report),
            other => Err(beside_the_point(node, &other)),
        }
    }

    /// The account, if it exists, with the height the answer is of.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]
    pub async fn account(&self, node: u16, key: PublicKey) -> Result<(u64, Option<AccountReport>), Error> {
        match self.ask(node, Query::Account(key)).await? {
            Answer::Account { height, account } => Ok((height, account)),
            other => Err(beside_the_point(node, &other)),
        }
    }

    /// Where and how the request with this digest was executed; none if it was not, or if the replica cannot know any more.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]
    pub async fn transaction(&self, node: u16, request: Digest) -> Result<Option<TransactionReport>, Error> {
        let answer = self
            .client
            .query(node, Query::Transaction(request), PATIENCE)
            .await;
        match answer {
            Ok(Answer::Transaction { found, .. }) => Ok(found),
            Ok(other) => Err(beside_the_point(node, &other)),
            Err(QueryError::Unavailable(_)) => Ok(None),
            Err(error) => Err(no_answer(node, &error)),
        }
    }

    async fn ask(&self, node: u16, query: Query) -> Result<Answer, Error> {
        self.ask_within(node, query, PATIENCE).await
    }

    async fn ask_within(&self, node: u16, query: Query, patience: Duration) -> Result<Answer, Error> {
        let answer = self.client.query(node, query, patience).await;
        answer.map_err(|error| no_answer(node, &error))
    }
}

fn no_answer(node: u16, error: &QueryError) -> Error {
    Error::NoAnswer {
        node,
        reason: error.to_string(),
    }
}

fn beside_the_point(node: u16, answer: &Answer) -> Error {
    Error::NoAnswer {
        node,
        reason: format!("an answer to another question: {answer:?}"),
    }
}

/// Gets `path` from the replica's HTTP address: status code and body.
///
/// # Errors
/// [`Error::NoAnswer`]
pub fn http(genesis: &Genesis, node: u16, path: &str) -> Result<(u16, String), Error> {
    let no_answer = |reason: String| Error::NoAnswer { node, reason };
    let replica = genesis
        .replica(node)
        .ok_or_else(|| no_answer("genesis has no such replica".to_owned()))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(HTTP_PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let mut response = agent
        .get(format!("http://{}{path}", replica.http_address))
        .call()
        .map_err(|error| no_answer(error.to_string()))?;
    let body = response
        .body_mut()
        .read_to_string()
        .map_err(|error| no_answer(error.to_string()))?;
    Ok((response.status().as_u16(), body))
}

/// The counters and gauges of one replica, as it had them at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// The metrics of a replica.
    ///
    /// # Errors
    /// [`Error::NoAnswer`]
    pub fn of(genesis: &Genesis, node: u16) -> Result<Self, Error> {
        match http(genesis, node, "/metrics")? {
            (200, body) => Ok(Self::parse(&body)),
            (code, _) => Err(Error::NoAnswer {
                node,
                reason: format!("/metrics gives HTTP {code}"),
            }),
        }
    }

    /// Reads the Prometheus text format. Lines that are no samples are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines.filter_map(Sample::parse).collect(),
        }
    }

    /// The sum of all samples of this name whose labels include `labels`; 0 if there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matches = |sample: &&Sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.get(*key).is_some_and(|own| own == value))
        };
        self.samples
            .iter()
            .filter(matches)
            .map(|sample| sample.value)
            .sum()
    }

    /// The values that `label` takes in samples of this name.
    #[must_use]
    pub fn label_values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> = self
            .samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect();
        values.sort();
        values.dedup();
        values
    }
}

impl Sample {
    /// `name{label="value",…} number`, where values here never hold quotes or commas.
    fn parse(line: &str) -> Option<Self> {
        let (key, value) = line.rsplit_once(' ')?;
        let (name, labels) = match key.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}')?),
            None => (key, ""),
        };
        let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
            let (label, quoted) = pair.split_once('=')?;
            Some((label.to_owned(), quoted.trim_matches('"').to_owned()))
        });
        Some(Self {
            name: name.to_owned(),
            labels: pairs.collect::<Option<_>>()?,
            value: value.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_the_labels_not_asked_for() {
        let metrics = Metrics::parse(
            "# HELP tagma_messages_sent Messages sent.\n# TYPE tagma_messages_sent counter\n\
             tagma_messages_sent_total{kind=\"prepare\",first=\"true\"} 12\n\
             tagma_messages_sent_total{kind=\"prepare\",first=\"false\"} 3\n\
             tagma_messages_sent_total{kind=\"commit\",first=\"true\"} 20\ntagma_view 7\n# EOF\n",
        );
        let sum = |labels: &[(&str, &str)]| metrics.sum("tagma_messages_sent_total", labels);
        assert!((sum(&[("kind", "prepare")]) - 15.0).abs() < f64::EPSILON);
        assert!((sum(&[("kind", "prepare"), ("first", "true")]) - 12.0).abs() < f64::EPSILON);
        assert!((sum(&[]) - 35.0).abs() < f64::EPSILON);
        assert!((metrics.sum("tagma_view", &[]) - 7.0).abs() < f64::EPSILON);
        assert!(sum(&[("kind", "status")]).abs() < f64::EPSILON);
        let kinds = metrics.label_values("tagma_messages_sent_total", "kind");
        assert_eq!(kinds, ["commit", "prepare"]);
    }
}
