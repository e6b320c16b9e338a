//! The comparison with systems that tolerate crashes only runs, where such a system is installed.

use std::process::Command;

use crate::support::{programs, turn};

#[test]
fn versus_measures_etcd_where_it_is_installed() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join("etcd").is_file()) {
        eprintln!(
            "SKIPPED: etcd is not installed (apt-get install etcd-server), so `bench versus` was not tried"
        );
        return;
    }
    let _turn = turn();
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(programs().testnet)
        .args([
            "bench",
            "versus",
            "--systems",
            "etcd",
            "--rounds",
            "1",
            "--in-flight",
            "16",
        ])
        .args(["--duration", "800ms", "--warm-up", "100ms", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let text = std::fs::read_to_string(out.path().join("results-versus.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    let summary = &results["systems"][0]["summary"];
    for what in ["peak", "one_p50", "half_p50"] {
        assert!(summary[what].as_f64().unwrap() > 0.0, "{what}: {summary}");
    }
    assert_eq!(summary["lost"], 0, "{text}");
    assert_eq!(results["systems"][0]["tried"].as_array().unwrap().len(), 4);
}
