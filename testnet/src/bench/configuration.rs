//! What was measured on and with what: printed before anything is measured, and kept with the results.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::process::GIVES_WAY;

/// The machine and the build.
#[derive(Clone, Debug, Serialize)]
pub struct Configuration {
    /// The program's version.
    pub version: &'static str,
    /// The commit of the sources next to which this program was built, if they are still there.
    pub commit: Option<String>,
    /// How many cores there are for everything: replicas, clients and the measurement.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// What computes on the curve: `avx512`, `avx2` or `serial`.
    pub curve25519_backend: &'static str,
    /// Whether every write that safety rests on is synced. Nodes know no other way.
    pub synced_writes: bool,
    /// How much higher the servers' nice value is than the load's, in closed loops with more than one request outstanding.
    pub servers_nice: u8,
}

impl Configuration {
    /// Looks.
    #[must_use]
    pub fn here() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: commit(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor(),
            curve25519_backend: curve25519_backend(),
            synced_writes: true,
            servers_nice: GIVES_WAY,
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tagma {} (commit {}) · {} cores for everything ({}) · curve25519 backend {} · every write synced · in closed loops with \
             more than one in flight servers may give way to the load (nice {}), or it could not keep so many",
            self.version,
            self.commit.as_deref().unwrap_or("unknown"),
            self.cores,
            self.processor,
            self.curve25519_backend,
            self.servers_nice
        )
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    Some(if changed { commit + "+changes" } else { commit })
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The choice that curve25519-dalek makes at run time from what it was compiled with and what the processor has.
#[allow(
    unexpected_cfgs,
    reason = "the choice comes from .cargo/config.toml, not from a feature"
)]
fn curve25519_backend() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        let compiled = cfg!(curve25519_dalek_backend = "avx512");
        if compiled && is_x86_feature_detected!("avx512ifma") && is_x86_feature_detected!("avx512vl") {
            return "avx512";
        }
        if !cfg!(curve25519_dalek_backend = "serial") && is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    "serial"
}
