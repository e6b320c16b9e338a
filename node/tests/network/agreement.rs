//! Transfers are committed, by all and by those who were away.

use std::time::Duration;

use tagma_ledger::Parameters;
use tagma_node::core::key_ring;
use tagma_pbft::{Kind, Standing};
use tagma_wire::client_protocol::{Answer, ClientRequest, ClientResponse, Query};

use super::support::*;

/// Short checkpoint intervals, so that a few transfers pass some.
pub(crate) fn short() -> Parameters {
    Parameters {
        checkpoint_interval: 4,
        window: 8,
        ..Parameters::default()
    }
}

async fn wait_until_voting(network: &Network) {
    for (id, node) in &network.nodes {
        eventually(&format!("replica {id} votes"), async || {
            (node.shared().published().standing == Standing::Voting).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_commit_transfers() {
    let network = Network::start(4, 0..4, short()).await;
    wait_until_voting(&network).await;
    let mut client = Client::connect(&network, 0..4).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    let mut height = 0;
    for nonce in 0..10 {
        let reply = client
            .submit(&transfer(client.chain, &alice, bob, nonce, 5))
            .await;
        assert!(reply.height > height, "a later transfer in an earlier block");
        height = reply.height;
    }
    network.wait_for_height(height).await;
    for node in network.nodes.values() {
        let (_, account) = node.shared().account(&bob);
        assert_eq!(account.unwrap().balance, SUPPLY_EACH + 50);
        assert!(metric(node, "tagma_phase_duration_seconds_count{phase=\"execute\"}") > 0);
        eventually("a stable checkpoint", async || {
            (node.shared().published().stable >= 4).then_some(())
        })
        .await;
    }
    // The answers of one replica: blocks, accounts, transactions, its own state.
    let first = transfer(client.chain, &alice, bob, 0, 5);
    let query = Query::Transaction(first.digest(&client.chain));
    let found = ask(&mut client, 2, query).await;
    let Answer::Transaction {
        found: Some(found), ..
    } = found
    else {
        panic!("{found:?}")
    };
    let Answer::Block(Some(block)) = ask(&mut client, 2, Query::Block(found.height)).await else {
        panic!("no block")
    };
    assert_eq!(block.requests[usize::try_from(found.position).unwrap()], first);
    let Answer::Account {
        account: Some(account),
        ..
    } = ask(&mut client, 2, Query::Account(alice.public())).await
    else {
        panic!("no account")
    };
    assert_eq!((account.balance, account.next_nonce), (SUPPLY_EACH - 50, 10));
    let Answer::Status(status) = ask(&mut client, 2, Query::Status).await else {
        panic!("no status")
    };
    assert_eq!((status.replica, status.standing.as_str()), (2, "voting"));
    assert!(status.connected.iter().all(|connected| *connected), "{status:?}");
    network.stop().await;
}

async fn ask(client: &mut Client, of: u16, query: Query) -> Answer {
    client.send(of, &ClientRequest::Query { id: 7, query });
    loop {
        if let ClientResponse::Answer { id: 7, answer } = client.receive(of).await {
            return answer;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_replica_catches_up_and_votes_again() {
    let mut network = Network::start(4, 0..4, short()).await;
    wait_until_voting(&network).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    let mut client = Client::connect(&network, 0..3).await;
    for nonce in 0..3 {
        client
            .submit(&transfer(client.chain, &alice, bob, nonce, 1))
            .await;
    }
    network.stop_node(3).await;
    let mut height = 0;
    for nonce in 3..9 {
        height = client
            .submit(&transfer(client.chain, &alice, bob, nonce, 1))
            .await
            .height;
    }
    network.start_node(3).await;
    network.wait_for_height(height).await;
    wait_until_voting(&network).await;
    // Its vote is needed now.
    network.stop_node(2).await;
    let mut client = Client::connect(&network, [0, 1, 3]).await;
    for nonce in 9..12 {
        height = client
            .submit(&transfer(client.chain, &alice, bob, nonce, 1))
            .await
            .height;
    }
    network.wait_for_height(height).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_acknowledged_survives_a_restart_of_all() {
    let mut network = Network::start(4, 0..4, short()).await;
    wait_until_voting(&network).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    for round in 0..3_u64 {
        let mut client = Client::connect(&network, 0..4).await;
        for nonce in 2 * round..2 * round + 2 {
            client
                .submit(&transfer(client.chain, &alice, bob, nonce, 1))
                .await;
        }
        network.stop_all().await;
        for id in 0..4 {
            network.start_node(id).await;
        }
        wait_until_voting(&network).await;
    }
    for node in network.nodes.values() {
        let balance = async || {
            let (_, account) = node.shared().account(&bob);
            (account.unwrap().balance == SUPPLY_EACH + 6).then_some(())
        };
        eventually("bob's balance", balance).await;
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_data_directory_makes_a_learner() {
    let mut network = Network::start(4, 0..4, short()).await;
    wait_until_voting(&network).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    let mut client = Client::connect(&network, 0..3).await;
    let mut height = client
        .submit(&transfer(client.chain, &alice, bob, 0, 1))
        .await
        .height;
    network.stop_node(3).await;
    std::fs::remove_dir_all(network.home(3).data()).unwrap();
    network.start_node(3).await;
    for nonce in 1..4 {
        height = client
            .submit(&transfer(client.chain, &alice, bob, nonce, 1))
            .await
            .height;
    }
    // It follows, and never votes.
    network.wait_for_height(height).await;
    assert_eq!(network.nodes[&3].shared().published().standing, Standing::Learner);
    for kind in [Kind::Prepare, Kind::Commit, Kind::Checkpoint, Kind::ViewChange] {
        let line = format!(
            "tagma_messages_sent_total{{kind=\"{}\",resend=\"false\"}}",
            kind.name()
        );
        assert_eq!(metric(&network.nodes[&3], &line), 0, "{line}");
    }
    network.stop().await;
}

/// The number of messages for a batch, counted at the senders, while nothing is resent: n - 1 PRE-PREPAREs, PREPAREs of 2f backups and
/// COMMITs of 2f + 1 replicas, as f backups stand by once all have voted for the first batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_takes_the_votes_of_a_quorum() {
    let network = Network::start(4, 0..4, Parameters::default()).await;
    wait_until_voting(&network).await;
    let n = u64::try_from(key_ring(&network.genesis).unwrap().keys.len()).unwrap();
    let voters = 2 * ((n - 1) / 3) + 1;
    for node in network.nodes.values() {
        let others = || node.shared().connected().into_iter().all(|up| up);
        eventually("all peers", async || others().then_some(())).await;
    }
    let sum = |kind: Kind, resend: bool| {
        let line = format!(
            "tagma_messages_sent_total{{kind=\"{}\",resend=\"{resend}\"}}",
            kind.name()
        );
        network
            .nodes
            .values()
            .map(|node| metric(node, &line))
            .sum::<u64>()
    };
    let mut client = Client::connect(&network, 0..4).await;
    let (alice, bob) = (account_key(0), account_key(1).public());
    // All vote for these, and then have heard each other.
    let first = 3;
    for nonce in 0..first {
        let transfer = transfer(client.chain, &alice, bob, nonce, 1);
        network
            .wait_for_height(client.submit(&transfer).await.height)
            .await;
    }
    let counted = || [Kind::PrePrepare, Kind::Prepare, Kind::Commit].map(|kind| sum(kind, false));
    eventually("rest", async || {
        let before = counted();
        tokio::time::sleep(Duration::from_millis(300)).await;
        (counted() == before).then_some(())
    })
    .await;
    let before = counted();
    for nonce in first..first + 20 {
        let transfer = transfer(client.chain, &alice, bob, nonce, 1);
        network
            .wait_for_height(client.submit(&transfer).await.height)
            .await;
    }
    // The last COMMIT may leave after a quorum of others has let everybody execute.
    let expected = [1, voters - 1, voters].map(|senders| 20 * senders * (n - 1));
    eventually("all COMMITs", async || {
        let counted = counted();
        (counted[2] == before[2] + expected[2]).then_some(())
    })
    .await;
    let after = counted();
    let sent = [0, 1, 2].map(|phase: usize| after[phase] - before[phase]);
    assert_eq!(sent, expected);
    network.stop().await;
}
