//! How a story is told: lines with the time since it began, and the fault budget as it is used up.

use std::time::Instant;

/// Tells a story on stdout.
pub(super) struct Narrator {
    began: Instant,
    faults: u64,
    crashed: Vec<u16>,
}

impl Narrator {
    /// The story of a network that bears `faults` faults at once.
    pub(super) fn begin(title: &str, faults: u64) -> Self {
        println!("{title}\n");
        Self {
            began: Instant::now(),
            faults,
            crashed: Vec::new(),
        }
    }

    /// Something that happened.
    pub(super) fn tell(&self, text: &str) {
        println!("{:6.2} s  {text}", self.began.elapsed().as_secs_f64());
    }

    /// More about what just happened, line by line.
    pub(super) fn show(&self, text: &str) {
        for line in text.lines() {
            println!("          {line}");
        }
    }

    /// A step begins.
    pub(super) fn step(&self, title: &str) {
        println!("\n── {title}");
    }

    /// A node has crashed: the budget shrinks.
    pub(super) fn crashed(&mut self, node: u16) {
        self.crashed.push(node);
        self.budget();
    }

    /// A node is back and has caught up: the budget grows.
    pub(super) fn recovered(&mut self, node: u16) {
        self.crashed.retain(|crashed| *crashed != node);
        self.budget();
    }

    fn budget(&self) {
        let crashed = match self.crashed.as_slice() {
            [] => "none".to_owned(),
            nodes => nodes
                .iter()
                .map(|node| format!("n{node}"))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let used = self.crashed.len();
        self.tell(&format!(
            "fault budget: {used} of f = {} used (malicious: none, crashed: {crashed}, cut off: none)",
            self.faults
        ));
    }
}
