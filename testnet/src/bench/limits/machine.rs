//! What one core of this machine can do: signatures and hashes, per microsecond of processor time, so that others who use the
//! machine meanwhile count for little.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tagma_crypto::signature::signed_bytes;
use tagma_crypto::{Claim, Digest, KnownSignatures, SecretKey, verify};
use tagma_ledger::transaction::TRANSACTION_DOMAIN;

/// The claims that are handed to the verifier at once.
const BATCHES: [usize; 5] = [16, 64, 256, 1024, 4096];
/// The sizes among which the cheapest counts for the bound.
const LARGE: [usize; 3] = [256, 1024, 4096];
/// The size while all cores verify.
const TOGETHER: usize = 1024;
/// As many bytes as the content of a transfer.
const CONTENT: usize = 144;
/// Bytes hashed at once.
const HASHED: usize = 1 << 20;

/// The cost of one signature among so many that are verified together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BatchCost {
    /// Claims handed over at once.
    pub claims: usize,
    /// Processor time for each, microseconds.
    pub micros: f64,
}

/// What signatures cost at one time, microseconds of processor time each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignatureCosts {
    /// One signature.
    pub sign: f64,
    /// One verification in a large batch, of the cheapest size.
    pub batched: f64,
    /// One signature while every core signs: where this is more than alone, what the system calls cores share parts of the
    /// processor.
    pub sign_on_all_cores: f64,
    /// One verification in a batch of 1024 while every core verifies.
    pub batched_on_all_cores: f64,
}

impl SignatureCosts {
    /// Transfers a second that `cores` cores could carry if signatures were all that costs: each is signed once and verified
    /// by each of `replicas` replicas.
    #[must_use]
    pub fn bound(&self, cores: usize, replicas: u16) -> f64 {
        bound(cores, replicas, self.batched, self.sign)
    }

    /// The same with what they cost while every core is busy.
    #[must_use]
    pub fn bound_on_all_cores(&self, cores: usize, replicas: u16) -> f64 {
        bound(cores, replicas, self.batched_on_all_cores, self.sign_on_all_cores)
    }
}

/// Keys and signatures to measure with.
pub struct Material {
    accounts: u64,
    chain: Digest,
    keys: Vec<SecretKey>,
    claims: Vec<Claim>,
    /// As a replica does it: the keys of accounts that were seen before are decoded already.
    known: KnownSignatures,
}

impl Material {
    /// Signatures of so many accounts.
    #[must_use]
    pub fn new(accounts: u64) -> Self {
        let chain = Digest::of("tagma/bench/chain", &[]);
        let keys: Vec<SecretKey> = (0..accounts)
            .map(|index| {
                let seed = Digest::of("tagma/bench/limits", &[&index.to_le_bytes()]);
                SecretKey::from_seed(*seed.as_bytes())
            })
            .collect();
        let longest = BATCHES.iter().copied().max().unwrap_or(1);
        let claims: Vec<Claim> = (0_u64..)
            .zip(keys.iter().cycle())
            .take(longest)
            .map(|(index, key)| {
                let content = content(index);
                Claim {
                    key: key.public(),
                    signature: key.sign(TRANSACTION_DOMAIN, &chain, &content),
                    message: signed_bytes(TRANSACTION_DOMAIN, &chain, &content),
                }
            })
            .collect();
        Self {
            accounts,
            chain,
            keys,
            claims,
            known: KnownSignatures::default(),
        }
    }

    /// Measures each cost for about so much processor time.
    #[must_use]
    pub fn costs(&self, each: Duration) -> SignatureCosts {
        SignatureCosts {
            sign: self.sign(each),
            batched: LARGE
                .map(|size| self.batched(size, each))
                .into_iter()
                .fold(f64::INFINITY, f64::min),
            sign_on_all_cores: on_all_cores(|| self.sign(each)),
            batched_on_all_cores: on_all_cores(|| self.batched(TOGETHER, each)),
        }
    }

    fn sign(&self, each: Duration) -> f64 {
        let mut turns = self.keys.iter().cycle();
        micros_each(each, || {
            let signature = turns
                .next()
                .map(|key| key.sign(TRANSACTION_DOMAIN, &self.chain, &[7; CONTENT]));
            black_box(signature);
            1
        })
    }

    fn alone(&self, each: Duration) -> f64 {
        let mut turns = self.claims.iter().cycle();
        micros_each(each, || {
            let good = turns
                .next()
                .is_some_and(|claim| verify(&claim.key, &claim.message, &claim.signature));
            assert!(black_box(good), "a signature made here is good");
            1
        })
    }

    fn batched(&self, size: usize, each: Duration) -> f64 {
        let mut chunks = self.claims.chunks_exact(size).cycle();
        micros_each(each, || {
            let verdicts = chunks.next().map(|chunk| self.known.verify_batch(chunk));
            assert!(
                black_box(verdicts.unwrap_or_default()).iter().all(|good| *good),
                "signatures made here are good"
            );
            size
        })
    }
}

/// What one core can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Processor {
    /// Different accounts whose signatures these were.
    pub accounts: u64,
    /// Processor time of one verification alone, microseconds.
    pub verify: f64,
    /// Of one verification in a batch.
    pub batches: Vec<BatchCost>,
    /// Bytes hashed with SHA-256 a second of processor time.
    pub hashed_bytes: f64,
}

impl Processor {
    /// Measures each for about so much processor time.
    #[must_use]
    pub fn measure(material: &Material, each: Duration) -> Self {
        let bytes = vec![7; HASHED];
        let hashing = micros_each(each, || {
            black_box(Digest::of("tagma/bench/hash", &[black_box(&bytes)]));
            HASHED
        });
        let cost = |claims| BatchCost {
            claims,
            micros: material.batched(claims, each),
        };
        Self {
            accounts: material.accounts,
            verify: material.alone(each),
            batches: BATCHES.map(cost).to_vec(),
            hashed_bytes: 1e6 / hashing,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 cores")]
fn bound(cores: usize, replicas: u16, verify_micros: f64, sign_micros: f64) -> f64 {
    cores as f64 * 1e6 / (f64::from(replicas) * verify_micros + sign_micros)
}

fn content(index: u64) -> Vec<u8> {
    let mut content = vec![7; CONTENT - 8];
    content.extend_from_slice(&index.to_le_bytes());
    content
}

/// Processor time of the calling thread.
fn thread_time() -> Duration {
    time_of(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time of this process, all threads.
pub(super) fn process_time() -> Duration {
    time_of(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn time_of(clock: ClockId) -> Duration {
    // Both clocks exist on every Linux.
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// The mean of what `measure` gives on as many threads at once as there are cores.
fn on_all_cores(measure: impl Fn() -> f64 + Sync) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let measured: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(&measure)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    assert_eq!(
        measured.len(),
        cores,
        "a measurement on several cores does not fail on one of them"
    );
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 cores")]
    let count = cores as f64;
    measured.iter().sum::<f64>() / count
}

/// Repeats `work`, which says how many items it did, for about so much processor time; microseconds of processor time an item.
fn micros_each(time: Duration, mut work: impl FnMut() -> usize) -> f64 {
    // Once without counting: caches, tables and clock speed.
    work();
    let (began, limit) = (thread_time(), Instant::now() + time * 20);
    let mut items = 0_usize;
    loop {
        items += work();
        let used = thread_time().saturating_sub(began);
        // A core that is hardly to be had must not make this endless.
        if used >= time || Instant::now() >= limit {
            #[expect(
                clippy::cast_precision_loss,
                reason = "items of one measurement are far below 2^53"
            )]
            return used.as_secs_f64() * 1e6 / items as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_cores_over_one_signing_and_n_verifications() {
        // 2 cores, 4 × 13.5 µs + 17 µs = 71 µs: the figures of the issue this benchmark is from.
        assert!((bound(2, 4, 13.5, 17.0) - 28_169.0).abs() < 1.0);
        assert!((bound(1, 1, 5.0, 5.0) - 100_000.0).abs() < f64::EPSILON * 1e6);
    }

    #[test]
    fn every_cost_is_measured_and_a_batch_is_cheaper_than_one_by_one() {
        let (material, each) = (Material::new(8), Duration::from_millis(5));
        let processor = Processor::measure(&material, each);
        assert!(processor.hashed_bytes > 0.0);
        assert_eq!(processor.batches.len(), BATCHES.len());
        let costs = material.costs(each);
        assert!(costs.sign > 0.0 && costs.sign_on_all_cores > 0.0, "{costs:?}");
        assert!(costs.batched_on_all_cores > 0.0, "{costs:?}");
        assert!(costs.batched <= processor.verify, "{costs:?} {processor:?}");
        assert!(costs.bound(2, 4) > 0.0 && costs.bound_on_all_cores(2, 4) > 0.0);
    }
}
