//! The part of a replica's settings that says where it finds the others when they are behind links. It stands at the end of the
//! file between two lines of its own, and nothing else in the file is touched.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::SocketAddr;

use crate::error::Error;
use crate::layout::Layout;

const BEGIN: &str = "# links: begin, written by `tagma-testnet net`";
const END: &str = "# links: end";

/// Has a replica find others at these addresses; with none, where genesis says. True if its settings have changed.
///
/// # Errors
/// If the file cannot be read or written, or names addresses of its own.
pub fn write(layout: &Layout, node: u16, doors: &[(u16, SocketAddr)]) -> Result<bool, Error> {
    let path = layout.settings(node);
    let before = match fs::read_to_string(&path) {
        // A replica needs none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|source| Error::io("read", &path, source))?,
    };
    let after = with_doors(&before, doors).map_err(|why| {
        Error::usage(
            format!("{}: {why}", path.display()),
            "remove it: with links, the testnet says where replicas find each other",
        )
    })?;
    if after == before {
        return Ok(false);
    }
    // In one step: the replica may be reading it.
    let draft = path.with_extension("toml.new");
    fs::write(&draft, after)
        .and_then(|()| fs::rename(&draft, &path))
        .map_err(|source: io::Error| Error::io("write", &path, source))?;
    Ok(true)
}

/// The settings with these addresses of others, and no older ones.
fn with_doors(settings: &str, doors: &[(u16, SocketAddr)]) -> Result<String, String> {
    let mut text = without_doors(settings);
    if doors.is_empty() {
        return Ok(text);
    }
    if let Some(line) = text.lines().find(|line| line.contains("peer_addresses")) {
        return Err(format!("the addresses of others are said already: {line:?}"));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut block = format!("{BEGIN}\n[network.peer_addresses]\n");
    for (node, address) in doors {
        let written = writeln!(block, "{node} = \"{address}\"");
        assert!(written.is_ok(), "writing into a string cannot fail");
    }
    Ok(text + &block + END + "\n")
}

fn without_doors(settings: &str) -> String {
    let (Some((before, rest)), true) = (settings.split_once(BEGIN), settings.contains(END)) else {
        return settings.to_owned();
    };
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    format!("{before}{}", after.strip_prefix('\n').unwrap_or(after))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panic")]

    use super::*;

    #[test]
    fn addresses_come_and_go_and_the_rest_stays() {
        let doors = |port| vec![(0, SocketAddr::from(([127, 0, 0, 1], port)))];
        let own = "# mine\n[log]\nfilter = \"debug\"\n";
        let first = with_doors(own, &doors(1000)).unwrap();
        assert!(first.starts_with(own) && first.contains("[network.peer_addresses]\n0 = \"127.0.0.1:1000\""));
        let added = format!("{first}[storage]\nkeep_blocks = 5\n");
        let second = with_doors(&added, &doors(2000)).unwrap();
        assert!(second.contains(":2000") && !second.contains(":1000") && second.contains("keep_blocks"));
        assert_eq!(
            with_doors(&second, &[]).unwrap(),
            format!("{own}[storage]\nkeep_blocks = 5\n")
        );
        assert_eq!(with_doors(own, &[]).unwrap(), own);
    }

    #[test]
    fn addresses_that_somebody_else_wrote_are_not_overruled_in_silence() {
        let doors = [(0, SocketAddr::from(([127, 0, 0, 1], 1)))];
        let error = with_doors("[network.peer_addresses]\n1 = \"127.0.0.1:9\"\n", &doors).unwrap_err();
        assert!(error.contains("peer_addresses"), "{error}");
    }
}
