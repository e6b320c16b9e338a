//! A replica that tells clients a wrong result is outvoted and named.

use tagma_ledger::Outcome;
use tagma_testnet::plan::INITIAL_BALANCE;
use tagma_wire::client_protocol::{Answer, ClientRequest, ClientResponse, Query, Reply};

use crate::impostor::Impostor;
use crate::support::{Running, words};

/// What the liar says of every request.
const LIE: Outcome = Outcome::InsufficientFunds { balance: 7 };

#[test]
fn a_replica_that_replies_wrongly_is_outvoted_and_named() {
    let mut net = Running::start(4);
    // The primary, so that clients ask it first: it lies to them, and to its fellows it seems dead.
    let liar = net.primary();
    net.kill(liar);
    let chain = net.network.genesis().chain_id();
    let lying = Impostor::start(&net.network, liar, move |request| match request {
        ClientRequest::Submit(request) => Some(ClientResponse::Reply(Reply {
            request: request.digest(&chain),
            outcome: LIE,
            height: 1,
            header: None,
            view: 0,
        })),
        // It denies that anything was executed, at a height that nobody has reached.
        ClientRequest::Query {
            id,
            query: Query::Receipt(_),
        } => Some(ClientResponse::Answer {
            id,
            answer: Answer::Receipt {
                height: u64::MAX,
                found: None,
            },
        }),
        _ => None,
    });
    let paid = net.pay("alice", "bob", 5);
    assert_eq!(paid.outcome, Outcome::Transferred);
    assert_eq!(paid.liars, [liar]);
    assert!(
        paid.replicas.len() >= 2 && !paid.replicas.contains(&liar),
        "{paid:?}"
    );

    // The command pays as well, and says who lied.
    let output = net.tagma(&["transfer", "alice", "bob", "6", "--timeout", "60s"]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains(&format!("n{liar} replied something else")),
        "{}",
        words(&output)
    );

    // What three replicas attest proves the payment to others, whatever the fourth tells its clients.
    let file = net.network.layout().root().join("receipt.json");
    let (hash, out) = (paid.request.to_string(), file.to_str().unwrap().to_owned());
    let output = net.tagma(&["tx", "receipt", &hash, "--out", &out]);
    assert!(output.status.success(), "{}", words(&output));
    lying.stop();
    let judged = net.tagma(&["verify", &out]);
    assert!(
        judged.status.success() && words(&judged).contains("alice → bob 5: transferred"),
        "{}",
        words(&judged)
    );

    net.network.start(liar).unwrap();
    net.wait_ready(&[0, 1, 2, 3]);
    let report = net.check();
    assert_eq!(net.balance(&report, "bob"), INITIAL_BALANCE + 11);
}
