//! Twins, exhaustively (Bano et al., "Twins: BFT Systems Made Robust"): five hosts, two of which run under one name and key
//! and know nothing of each other; in each round the network is divided into two sides, in every possible way.
//!
//! A round is as long as a view. Inside a side messages flow until nothing is under way; two ticks pass in which what was
//! lost is asked for and sent again; then the time of all who still wait is over, so that the next round begins with
//! their VIEW-CHANGEs. What is sent across is lost; what is still wanted is sent again, by the replicas' own STATUS and
//! resending, in later rounds. Twins do not hear each other, or they would find each other out and halt: a faulty replica
//! that ran two programs would see to that too.
//!
//! Each of two requests is known to all; who is twinned has them in another order on each of its hosts, and so proposes
//! other batches to each side whenever it is primary.
//!
//! What becomes of a side depends on who is on it and on nothing else, so each side is computed once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use tagma_pbft::ReplicaId;

use super::heal::Healing;
use super::hear_each_other;
use super::locals::{Happening, LocalId, Locals};
use crate::check::Violation;

/// Hosts of a scenario.
const HOSTS: usize = 5;
/// Ways to divide them into two sides; which side is called which is of no matter.
const DIVISIONS: u32 = 1 << (HOSTS - 1);

/// A state of the whole: one of each host. The first four are the replicas in order, the last one is the twin.
type State = [LocalId; HOSTS];

/// What an enumeration of twins came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TwinsReport {
    /// Rounds of each scenario.
    pub rounds: u32,
    /// Scenarios: who is twinned, and a division for each round.
    pub scenarios: u64,
    /// States of the whole after some round, different ones.
    pub states: u64,
    /// Steps from one to another: a state and a division.
    pub transitions: u64,
    /// What can become of one side, computed once each.
    pub sides: u64,
    /// Different states of one host.
    pub locals: u64,
    /// Different final states from which progress was demanded after healing.
    pub healed: u64,
    /// The highest view that any of them was in before.
    pub highest_view: u64,
    /// Different chains of all honest replicas in the final states.
    pub chains: u64,
    /// The first invariant that did not hold, and where.
    pub violation: Option<String>,
}

impl fmt::Display for TwinsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "twins: {} scenarios of {} rounds: {} states, {} transitions; {} sides, {} states of one host; {} final \
             states healed; views up to {}; {} different chains",
            self.scenarios,
            self.rounds,
            self.states,
            self.transitions,
            self.sides,
            self.locals,
            self.healed,
            self.highest_view,
            self.chains,
        )?;
        match &self.violation {
            Some(violation) => write!(f, "\nVIOLATION {violation}"),
            None => write!(f, "; every invariant holds"),
        }
    }
}

/// Enumerates every scenario of so many rounds, for each choice of the twinned replica, and says after each round how far
/// it is. In every state: no two honest replicas have executed different batches at one number, none has signed two
/// things that contradict each other or halted, and nobody is accused but the twinned one. From every final state: when the
/// network is whole again, all that is pending executes within f + 1 more views.
pub fn run(rounds: u32, progress: &mut dyn FnMut(&str)) -> TwinsReport {
    let mut report = TwinsReport {
        rounds,
        ..TwinsReport::default()
    };
    for twinned in (0..4).map(ReplicaId::new) {
        if let Err(violation) =
            Search::begin(twinned).and_then(|mut search| search.run(&mut report, progress))
        {
            report.violation = Some(format!("{twinned} twinned: {violation}"));
            break;
        }
    }
    report
}

struct Search {
    locals: Locals,
    twinned: ReplicaId,
    start: State,
    sides: HashMap<Vec<LocalId>, Vec<LocalId>>,
}

/// The states of one round in an order that is always the same, with the number of scenarios that lead to each and one of them.
type States = BTreeMap<State, (u64, Vec<u32>)>;

impl Search {
    /// All hosts have started, heard of each other, and got the requests.
    fn begin(twinned: ReplicaId) -> Result<Self, Violation> {
        let mut hosts: Vec<ReplicaId> = (0..4).map(ReplicaId::new).collect();
        hosts.push(twinned);
        // Every other one, and whichever of the twins has the requests in the order in which the other has not.
        let swapped = |host: usize| match host {
            4 => twinned.get().is_multiple_of(2),
            _ => !host.is_multiple_of(2),
        };
        let (locals, state) = super::start(twinned, &hosts, swapped)?;
        let start = State::try_from(state).unwrap_or_else(|_| unreachable!("there are five hosts"));
        Ok(Self {
            locals,
            twinned,
            start,
            sides: HashMap::new(),
        })
    }

    fn run(&mut self, report: &mut TwinsReport, progress: &mut dyn FnMut(&str)) -> Result<(), Violation> {
        let mut states = States::from([(self.start, (1, Vec::new()))]);
        for round in 1..=report.rounds {
            let mut next = States::new();
            for (state, (count, path)) in &states {
                for division in 0..DIVISIONS {
                    let path = || [path.as_slice(), &[division]].concat();
                    let became = self
                        .divided(state, division)
                        .map_err(|violation| told(violation, &path()))?;
                    next.entry(became).or_insert_with(|| (0, path())).0 += count;
                }
            }
            report.transitions += states.len() as u64 * u64::from(DIVISIONS);
            for (state, (_, path)) in &next {
                self.look_at(state).map_err(|violation| told(violation, path))?;
            }
            report.states += next.len() as u64;
            progress(&format!(
                "{} twinned, round {round}: {} states, {} sides, {} states of one host",
                self.twinned,
                next.len(),
                self.sides.len(),
                self.locals.len()
            ));
            states = next;
            // The round before leads on from nowhere any more.
            let kept: HashSet<LocalId> = states.keys().flatten().copied().collect();
            self.locals.forget_since(0, |local| kept.contains(&local));
        }
        report.scenarios += states.values().map(|(count, _)| count).sum::<u64>();
        self.heal(&states, report)?;
        report.sides += self.sides.len() as u64;
        report.locals += self.locals.len() as u64;
        Ok(())
    }

    /// One round with the hosts of these bits on one side and all others on the other.
    fn divided(&mut self, state: &State, division: u32) -> Result<State, Violation> {
        let mut next = *state;
        for side in 0..2 {
            let on_it = |host: &usize| (division >> host) & 1 == side;
            let hosts: Vec<usize> = (0..HOSTS).filter(on_it).collect();
            let members: Vec<LocalId> = hosts.iter().map(|host| state[*host]).collect();
            let became = self.side(members)?;
            for (host, local) in hosts.into_iter().zip(became) {
                next[host] = local;
            }
        }
        Ok(next)
    }

    /// What becomes of hosts that hear nobody else for a round.
    fn side(&mut self, members: Vec<LocalId>) -> Result<Vec<LocalId>, Violation> {
        if let Some(known) = self.sides.get(&members) {
            return Ok(known.clone());
        }
        let mark = self.locals.mark();
        let mut state = members.clone();
        hear_each_other(&mut self.locals, &mut state)?;
        for _ in 0..2 {
            for local in &mut state {
                *local = self.locals.step(*local, Happening::Tick)?;
            }
            hear_each_other(&mut self.locals, &mut state)?;
        }
        for local in &mut state {
            *local = self.locals.step(*local, Happening::Leap)?;
        }
        self.locals.forget_since(mark, |local| state.contains(&local));
        self.sides.insert(members, state.clone());
        Ok(state)
    }

    fn honest(&self, state: &State) -> Vec<LocalId> {
        let is_twinned = |local: &LocalId| self.locals.facts(*local).id == self.twinned;
        state.iter().copied().filter(|local| !is_twinned(local)).collect()
    }

    fn look_at(&self, state: &State) -> Result<(), Violation> {
        self.locals.agreement(&self.honest(state))
    }

    fn heal(&mut self, states: &States, report: &mut TwinsReport) -> Result<(), Violation> {
        let mut healing = Healing::default();
        let mut chains = BTreeSet::new();
        for (state, (_, path)) in states {
            let honest = self.honest(state);
            for local in &honest {
                let view = self.locals.facts(*local).view.get();
                report.highest_view = report.highest_view.max(view);
            }
            chains.extend(honest.iter().map(|local| self.locals.facts(*local).chain));
            healing
                .demand_progress(&mut self.locals, state)
                .map_err(|violation| told(violation, path))?;
            report.healed += 1;
        }
        report.chains = report.chains.max(chains.len() as u64);
        Ok(())
    }
}

fn told(violation: Violation, divisions: &[u32]) -> Violation {
    let sides: Vec<String> = divisions
        .iter()
        .map(|division| format!("{division:05b}"))
        .collect();
    let detail = format!(
        "{} (divisions by host, the twin leftmost: {})",
        violation.detail,
        sides.join(" ")
    );
    Violation::new(violation.invariant, detail)
}
