//! How a story is told: lines with the time since it began, and the fault budget as it is used up.

use std::time::Instant;

/// Tells a story on stdout.
pub(super) struct Narrator {
    began: Instant,
    faults: u16,
    crashed: Vec<u16>,
    malicious: Vec<u16>,
    cut_off: Vec<u16>,
}

impl Narrator {
    /// The story of a network that bears `faults` faults at once.
    pub(super) fn begin(title: &str, faults: u16) -> Self {
        println!("{title}");
        Self {
            began: Instant::now(),
            faults,
            crashed: Vec::new(),
            malicious: Vec::new(),
            cut_off: Vec::new(),
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

    /// A node lies from here on: the budget shrinks for good.
    pub(super) fn malicious(&mut self, node: u16) {
        self.malicious.push(node);
        self.budget();
    }

    /// Nodes that the others cannot reach.
    pub(super) fn cut_off(&mut self, nodes: &[u16]) {
        self.cut_off = nodes.to_vec();
        self.budget();
    }

    /// Everybody reaches everybody again.
    pub(super) fn joined(&mut self) {
        self.cut_off.clear();
        self.budget();
    }

    fn budget(&self) {
        let used = self.crashed.len() + self.malicious.len() + self.cut_off.len();
        self.tell(&format!(
            "fault budget: {used} of f = {} used (malicious: {}, crashed: {}, cut off: {}){}",
            self.faults,
            names(&self.malicious),
            names(&self.crashed),
            names(&self.cut_off),
            if used > usize::from(self.faults) {
                ": more than is borne at a time"
            } else {
                ""
            }
        ));
    }
}

fn names(nodes: &[u16]) -> String {
    if nodes.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = nodes.iter().map(|node| format!("n{node}")).collect();
    names.join(" ")
}
