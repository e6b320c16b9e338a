//! How it came to a state: what each replica heard, round by round.

use super::exhaustive::Reached;
use super::locals::{Happening, LocalId, Locals};
use super::messages::{ListId, NOTHING};
use crate::check::Violation;
use crate::describe;

/// The violation with the run that led to the state at `index` of the last of these layers, or from there to it.
pub(super) fn told(
    locals: &Locals,
    layers: &[Vec<Reached>],
    index: usize,
    violation: Violation,
) -> Violation {
    let mut rounds = Vec::new();
    let mut at = index;
    for (number, pair) in layers.windows(2).enumerate().rev() {
        let [before, after] = pair else { continue };
        let Some(reached) = after.get(at) else { break };
        let Some(origin) = before.get(reached.from as usize) else {
            break;
        };
        for (from, to) in origin.state.into_iter().zip(reached.state) {
            let line = became(locals, from, to);
            let id = locals.facts(from).id;
            rounds.push(format!("round {}: {id} {line}", number + 1));
        }
        at = reached.from as usize;
    }
    rounds.reverse();
    Violation::new(
        violation.invariant,
        format!("{}\n{}", violation.detail, rounds.join("\n")),
    )
}

fn became(locals: &Locals, from: LocalId, to: LocalId) -> String {
    if from == to {
        return "does nothing".to_owned();
    }
    match locals.between(from, to).as_slice() {
        [] => "is there, nobody knows how".to_owned(),
        happenings => {
            let words: Vec<String> = happenings.iter().map(|one| happened(locals, *one)).collect();
            words.join(", then ")
        }
    }
}

fn happened(locals: &Locals, happening: Happening) -> String {
    match happening {
        Happening::Tick => "waits a little".to_owned(),
        Happening::Leap => "has its timers run out".to_owned(),
        Happening::Hears(NOTHING) => "hears nothing".to_owned(),
        Happening::Hears(list) => format!("hears {}", words(locals, list)),
    }
}

fn words(locals: &Locals, list: ListId) -> String {
    let messages = &locals.world.messages;
    let words = messages.listed(list).iter().map(|(from, message)| {
        let word = messages.known(*message).map_or_else(
            || "something refused".to_owned(),
            |known| describe::incoming(known.get()),
        );
        format!("[{from}] {word}")
    });
    words.collect::<Vec<_>>().join("; ")
}
