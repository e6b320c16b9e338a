//! `check` must be able to fail: a replica that shows another chain, or other money, is seen.

use std::collections::BTreeMap;

use tagma_crypto::PublicKey;
use tagma_crypto::encode::Text;
use tagma_testnet::check::{self, Verdict};
use tagma_testnet::observe::Observer;
use tagma_wire::client_protocol::{
    AccountReport, Answer, BlockReport, ClientRequest, ClientResponse, Query, StatusReport,
};

use crate::impostor::Impostor;
use crate::support::{PATIENCE, Running, testnet_program};

/// All that a replica shows.
#[derive(Clone)]
struct Shown {
    status: StatusReport,
    blocks: Vec<BlockReport>,
    accounts: BTreeMap<PublicKey, AccountReport>,
}

impl Shown {
    fn by(net: &Running, node: u16) -> Self {
        let genesis = net.network.genesis();
        net.runtime.block_on(async {
            let observer = Observer::new(genesis).unwrap();
            let status = observer.status(node).await.unwrap();
            let mut blocks = Vec::new();
            for height in 1..=status.executed {
                blocks.push(observer.block(node, height).await.unwrap().unwrap());
            }
            let mut accounts = BTreeMap::new();
            for account in genesis.accounts.iter() {
                accounts.insert(
                    account.key,
                    observer.account(node, account.key).await.unwrap().1.unwrap(),
                );
            }
            Self {
                status,
                blocks,
                accounts,
            }
        })
    }

    fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Status => Answer::Status(self.status.clone()),
            Query::Account(key) => Answer::Account {
                height: self.status.executed,
                account: self.accounts.get(key).copied(),
            },
            Query::Block(height) => {
                let index = usize::try_from(*height).unwrap().checked_sub(1);
                Answer::Block(index.and_then(|index| self.blocks.get(index)).cloned())
            }
            Query::Transaction(_) | Query::Receipt(_) => {
                Answer::Unavailable(Text::from("not asked for here"))
            }
        }
    }
}

/// Has n3 played by an impostor that shows `shown`, and gives what `check` finds and exits with.
fn checked(net: &Running, shown: Shown) -> (Verdict, String, Option<i32>) {
    let impostor = Impostor::start(&net.network, 3, move |request| match request {
        ClientRequest::Query { id, query } => Some(ClientResponse::Answer {
            id,
            answer: shown.answer(&query),
        }),
        _ => None,
    });
    let report = net
        .runtime
        .block_on(check::check(&net.network, PATIENCE))
        .unwrap();
    let command = std::process::Command::new(testnet_program())
        .args(["check", "--dir"])
        .arg(net.network.layout().root())
        .output()
        .unwrap();
    impostor.stop();
    (
        report.verdict(),
        report.contradictions.join("; "),
        command.status.code(),
    )
}

#[test]
fn a_replica_with_another_chain_or_other_money_is_seen() {
    let mut net = Running::start(4);
    net.pay("alice", "bob", 1);
    net.pay("bob", "carol", 2);
    net.check();
    let honest = Shown::by(&net, 3);
    net.kill(3);

    // The impostor itself does no harm as long as it shows what n3 has.
    let (verdict, found, exit) = checked(&net, honest.clone());
    assert_eq!((verdict, exit), (Verdict::Converged, Some(0)), "{found}");

    let mut forked = honest.clone();
    forked.blocks[1].header.time_ms += 1;
    let (verdict, found, exit) = checked(&net, forked);
    assert_eq!((verdict, exit), (Verdict::Diverged, Some(9)));
    assert!(found.contains("height 2") && found.contains("n3 has"), "{found}");

    let mut rich = honest.clone();
    rich.accounts
        .values_mut()
        .for_each(|account| account.balance += 1000);
    let (verdict, found, exit) = checked(&net, rich);
    assert_eq!((verdict, exit), (Verdict::Diverged, Some(9)));
    assert!(
        found.contains("n3: ") && found.contains("its blocks say"),
        "{found}"
    );

    let mut rooted = honest;
    rooted.status.state_root = rooted.status.tip;
    let (verdict, found, exit) = checked(&net, rooted);
    assert_eq!((verdict, exit), (Verdict::Diverged, Some(9)));
    assert!(found.contains("state roots at 0"), "{found}");
}
