//! Every run of four replicas, one of them Byzantine, through three views, with messages lost, timers early or late, and
//! lies told: as many of these deviations in one run as are allowed, at any places.
//!
//! Runs go in rounds, a few for each view: proposals, PREPAREs, COMMITs, time-outs, VIEW-CHANGEs, NEW-VIEW. In a round
//! everything that was sent in the one before arrives, or is lost for good: link by link, each lost link being a deviation.
//! A correct replica whose timers run out before its time, or not when everybody's do, is one more. So is every different
//! statement that the Byzantine replica makes in a round, to whomever it makes it; but for view 0 it may propose what it
//! should, to all, for nothing.
//!
//! In every state: no two correct replicas have executed different batches at one number, none has signed two things that
//! contradict each other or voted in a view that it had left, none has halted, and nobody is accused but the Byzantine one.
//! From every final state, when nothing is lost any more and nobody lies: all that is pending executes within f + 1 more views.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tagma_pbft::{ReplicaId, View};

use super::byzantine::{Liar, Statement};
use super::heal::Healing;
use super::local::Local;
use super::locals::{Happening, LocalId, Locals};
use super::messages::{ListId, NOTHING};
pub use super::report::{Deviations, Limits, Report};
use super::story;
use crate::check::Violation;

/// A state of the whole: one of each correct replica, in order.
pub(super) type State = [LocalId; 3];

/// Searches everything within these limits, for the Byzantine replica in each place, and says after each round how far it
/// is. It ends at the first violation.
pub fn run(limits: Limits, progress: &mut dyn FnMut(&str)) -> Report {
    let mut report = Report::of(limits);
    for byzantine in (0..4).map(ReplicaId::new) {
        let outcome =
            Search::begin(byzantine, limits).and_then(|mut search| search.run(&mut report, progress));
        if let Err(violation) = outcome {
            report.violation = Some(format!("with {byzantine} faulty: {violation}"));
            break;
        }
    }
    report
}

/// What a round is for: it decides what the Byzantine replica may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// The first proposals of view 0.
    Proposals,
    /// Messages arrive; the Byzantine replica votes in this view.
    Votes(View),
    /// The time of all who still wait is over.
    TimeOut,
    /// VIEW-CHANGEs for this view.
    ViewChanges(View),
    /// VIEW-CHANGEs and NEW-VIEWs for this view.
    Joining(View),
    /// NEW-VIEWs for this view, and votes in it.
    NewViews(View),
}

fn rounds(views: u64) -> Vec<Round> {
    let first = View::ZERO;
    let mut rounds = vec![
        Round::Proposals,
        Round::Votes(first),
        Round::Votes(first),
        Round::TimeOut,
    ];
    for view in (1..views).map(View::new) {
        rounds.extend([
            Round::ViewChanges(view),
            Round::Joining(view),
            Round::NewViews(view),
            Round::Votes(view),
            Round::Votes(view),
            Round::TimeOut,
        ]);
    }
    // What happens when the time of the last view is over is healing's.
    rounds.pop();
    rounds
}

/// A state that was reached: by how few deviations, and from which state of the round before.
#[derive(Clone, Copy)]
pub(super) struct Reached {
    pub(super) state: State,
    pub(super) from: u32,
    cost: u8,
}

/// What a replica hears in a round, and what may become of it then: each outcome with its deviations.
type Outcomes = Arc<[(LocalId, u8)]>;

/// What each correct replica may be told, 0 for nothing, each with its deviations.
type Tellings = Arc<[(u8, [usize; 3])]>;

struct Search {
    locals: Locals,
    limits: Limits,
    correct: [ReplicaId; 3],
    start: State,
    /// By the state, what it is sent by each of the others, and how many deviations there may be.
    outcomes: HashMap<(LocalId, [ListId; 3], u8), Outcomes>,
    /// What can be said in a round, by what was said before.
    statements: HashMap<(usize, [u32; 3]), Arc<[ListId]>>,
    /// What the colluding one says to each, by what was said before.
    collusions: HashMap<(usize, [u32; 3]), [ListId; 3]>,
    /// What each of the correct replicas is told, by how many statements there are and how many may be made.
    tellings: HashMap<(usize, u8, bool), Tellings>,
}

impl Search {
    fn begin(byzantine: ReplicaId, limits: Limits) -> Result<Self, Violation> {
        let ids: Vec<ReplicaId> = (0..4).map(ReplicaId::new).filter(|id| *id != byzantine).collect();
        let (locals, state) = super::start(byzantine, &ids, |host| !host.is_multiple_of(2))?;
        let (Ok(correct), Ok(start)) = (ids.try_into(), state.try_into()) else {
            unreachable!("three of four replicas are correct")
        };
        Ok(Self {
            locals,
            limits,
            correct,
            start,
            outcomes: HashMap::new(),
            statements: HashMap::new(),
            collusions: HashMap::new(),
            tellings: HashMap::new(),
        })
    }

    fn run(&mut self, report: &mut Report, progress: &mut dyn FnMut(&str)) -> Result<(), Violation> {
        let start = Reached {
            state: self.start,
            from: 0,
            cost: 0,
        };
        let mut layers = vec![vec![start]];
        for (number, round) in rounds(self.limits.views).into_iter().enumerate() {
            let mut next = Layer::default();
            let last = layers.last().map(Vec::as_slice).unwrap_or_default();
            for (index, reached) in last.iter().enumerate() {
                let from = u32::try_from(index).unwrap_or(u32::MAX);
                self.follow(reached, from, (number, round), &mut next)
                    .map_err(|violation| story::told(&self.locals, &layers, index, violation))?;
            }
            report.transitions += next.transitions;
            let reached = next.reached;
            for (index, one) in reached.iter().enumerate() {
                if let Err(violation) = self.locals.agreement(&one.state) {
                    layers.push(reached);
                    return Err(story::told(&self.locals, &layers, index, violation));
                }
            }
            report.states += reached.len() as u64;
            progress(&format!(
                "{} faulty, round {} ({round:?}): {} states; {} states and {} steps of single replicas",
                self.locals.world.culprit,
                number + 1,
                reached.len(),
                self.locals.len(),
                self.locals.steps(),
            ));
            let kept: HashSet<LocalId> = reached.iter().flat_map(|one| one.state).collect();
            self.locals.forget_since(0, |local| kept.contains(&local));
            layers.push(reached);
        }
        self.heal(&layers, report)?;
        report.locals += self.locals.len() as u64;
        report.steps += self.locals.steps() as u64;
        report.messages += self.locals.world.messages.len() as u64;
        Ok(())
    }

    /// Everything that can become of one state in a round.
    fn follow(
        &mut self,
        reached: &Reached,
        from: u32,
        (number, round): (usize, Round),
        next: &mut Layer,
    ) -> Result<(), Violation> {
        let left = self.limits.depth - reached.cost;
        if round == Round::TimeOut {
            let mut outcomes = Vec::with_capacity(3);
            for local in reached.state {
                let leapt = self.locals.step(local, Happening::Leap)?;
                outcomes.push(match self.limits.deviations {
                    Deviations::All => Outcomes::from([(leapt, 0), (local, 1)]),
                    Deviations::Losses => Outcomes::from([(leapt, 0)]),
                });
            }
            next.combine(reached, from, 0, &outcomes, left);
            return Ok(());
        }
        if self.limits.deviations == Deviations::Losses {
            let mut outcomes = Vec::with_capacity(3);
            for (position, lie) in self
                .collusion(&reached.state, number, round)?
                .into_iter()
                .enumerate()
            {
                outcomes.push(self.outcomes(&reached.state, position, lie, left)?);
            }
            next.combine(reached, from, 0, &outcomes, left);
            return Ok(());
        }
        let statements = self.statements(&reached.state, number, round)?;
        let tellings = self.tellings(statements.len(), left, round == Round::Proposals);
        for (cost, told) in tellings.iter() {
            let mut outcomes = Vec::with_capacity(3);
            for (position, statement) in told.iter().enumerate() {
                let lie = match statement {
                    0 => NOTHING,
                    number => statements[number - 1],
                };
                outcomes.push(self.outcomes(&reached.state, position, lie, left - cost)?);
            }
            next.combine(reached, from, *cost, &outcomes, left);
        }
        Ok(())
    }

    /// What can become of one replica in a round in which it is told this by the Byzantine one, with at most `left` more
    /// deviations.
    fn outcomes(
        &mut self,
        state: &State,
        position: usize,
        lie: ListId,
        left: u8,
    ) -> Result<Outcomes, Violation> {
        let me = self.correct[position];
        let local = state[position];
        let mut links = [NOTHING; 3];
        links[0] = lie;
        let others = state.iter().enumerate().filter(|(other, _)| *other != position);
        for (link, (_, other)) in links.iter_mut().skip(1).zip(others) {
            *link = self.locals.post(*other, me, false)?;
        }
        if let Some(known) = self.outcomes.get(&(local, links, left)) {
            return Ok(Arc::clone(known));
        }
        let mut possible: Vec<(LocalId, u8)> = Vec::new();
        let mut add = |id: LocalId, cost: u8| match possible.iter_mut().find(|(held, _)| *held == id) {
            Some((_, fewest)) => *fewest = cost.min(*fewest),
            None => possible.push((id, cost)),
        };
        for up in 0..4_u8 {
            let mut list = links[0];
            let mut down = 0;
            for (bit, link) in links.iter().skip(1).enumerate() {
                if up & (1 << bit) != 0 {
                    list = self.locals.world.messages.joined(list, *link);
                } else if *link != NOTHING {
                    down += 1;
                }
            }
            if down > left {
                continue;
            }
            let became = self.locals.step(local, Happening::Hears(list))?;
            add(became, down);
            if down < left && self.limits.deviations == Deviations::All {
                // Its timers run out long before anybody else's.
                add(self.locals.step(became, Happening::Leap)?, down + 1);
            }
        }
        possible.sort_by_key(|(_, cost)| *cost);
        let possible = Outcomes::from(possible);
        self.outcomes.insert((local, links, left), Arc::clone(&possible));
        Ok(possible)
    }

    /// What the Byzantine replica can say now.
    fn statements(&mut self, state: &State, number: usize, round: Round) -> Result<Arc<[ListId]>, Violation> {
        let heard = match round {
            // These depend on nothing that was said before.
            Round::Proposals | Round::Votes(_) | Round::TimeOut => [0; 3],
            _ => state.map(|local| self.locals.facts(local).said),
        };
        if let Some(known) = self.statements.get(&(number, heard)) {
            return Ok(Arc::clone(known));
        }
        let hosts = self.hosts(state)?;
        let liar = self.liar(&hosts);
        let statements: Vec<Statement> = match round {
            Round::Proposals => liar.proposals(),
            Round::Votes(view) => liar.votes(view),
            Round::TimeOut => Vec::new(),
            Round::ViewChanges(view) => liar.view_changes(view),
            Round::Joining(view) => [liar.view_changes(view), liar.new_views(view)].concat(),
            Round::NewViews(view) => [liar.new_views(view), liar.votes(view)].concat(),
        };
        let mut lists: Vec<ListId> = Vec::with_capacity(statements.len());
        for statement in &statements {
            let list = self.list(statement);
            if !lists.contains(&list) {
                lists.push(list);
            }
        }
        let lists: Arc<[ListId]> = lists.into();
        self.statements.insert((number, heard), Arc::clone(&lists));
        Ok(lists)
    }

    /// What the one that colludes with everybody says to each.
    fn collusion(&mut self, state: &State, number: usize, round: Round) -> Result<[ListId; 3], Violation> {
        let heard = state.map(|local| self.locals.facts(local).said);
        if let Some(known) = self.collusions.get(&(number, heard)) {
            return Ok(*known);
        }
        let hosts = self.hosts(state)?;
        let liar = self.liar(&hosts);
        let mut told = Vec::with_capacity(hosts.len());
        for (position, host) in hosts.iter().enumerate() {
            told.push(match round {
                Round::Proposals => {
                    let mut proposals = liar.proposals().into_iter();
                    proposals.nth(position.min(1)).unwrap_or_default()
                }
                Round::Votes(view) => liar.agreement(view, &host.said),
                Round::TimeOut => Statement::new(),
                Round::ViewChanges(view) => liar.hiding(view),
                Round::Joining(view) => [liar.hiding(view), liar.forgetting(view)].concat(),
                Round::NewViews(view) => [liar.forgetting(view), liar.agreement(view, &host.said)].concat(),
            });
        }
        let mut lists = [NOTHING; 3];
        for (list, statement) in lists.iter_mut().zip(told) {
            *list = self.list(&statement);
        }
        self.collusions.insert((number, heard), lists);
        Ok(lists)
    }

    fn hosts(&mut self, state: &State) -> Result<Vec<Arc<Local>>, Violation> {
        state.iter().map(|local| self.locals.get(*local)).collect()
    }

    fn liar<'a>(&'a self, hosts: &'a [Arc<Local>]) -> Liar<'a> {
        Liar {
            instance: &self.locals.world.instance,
            me: self.locals.world.culprit,
            heard: hosts.iter().map(|host| (host.replica.id(), &host.said)).collect(),
        }
    }

    fn list(&mut self, statement: &Statement) -> ListId {
        let me = self.locals.world.culprit;
        let messages = &mut self.locals.world.messages;
        let list: Vec<_> = statement
            .iter()
            .map(|message| (me, messages.id(message)))
            .collect();
        messages.list(&list)
    }

    /// Every way to tell each of three replicas nothing (0) or one of `count` statements with at most `most` deviations,
    /// each with how many it has. Where the first statement is what a correct replica would say, it costs nothing to say
    /// that to all.
    fn tellings(&mut self, count: usize, most: u8, proposals: bool) -> Tellings {
        let known = self.tellings.entry((count, most, proposals));
        let known = known.or_insert_with(|| {
            let mut tellings = Vec::new();
            for first in 0..=count {
                for second in 0..=count {
                    for third in 0..=count {
                        let told = [first, second, third];
                        let cost = cost_of(told, proposals);
                        if cost <= most {
                            tellings.push((cost, told));
                        }
                    }
                }
            }
            tellings.into()
        });
        Arc::clone(known)
    }

    fn heal(&mut self, layers: &[Vec<Reached>], report: &mut Report) -> Result<(), Violation> {
        let mut healing = Healing::default();
        let mut chains = BTreeSet::new();
        for (index, reached) in layers.last().into_iter().flatten().enumerate() {
            for local in reached.state {
                let facts = self.locals.facts(local);
                report.highest_view = report.highest_view.max(facts.view.get());
                chains.insert(facts.chain);
            }
            healing
                .demand_progress(&mut self.locals, &reached.state)
                .map_err(|violation| story::told(&self.locals, layers, index, violation))?;
            report.healed += 1;
        }
        report.chains = report.chains.max(chains.len() as u64);
        Ok(())
    }
}

/// How many deviations it is to tell each of three replicas these.
fn cost_of(told: [usize; 3], proposals: bool) -> u8 {
    let said: BTreeSet<usize> = told.into_iter().filter(|one| *one > 0).collect();
    let different = u8::try_from(said.len()).unwrap_or(u8::MAX);
    match (proposals, told) {
        (true, [0, 0, 0] | [1, 1, 1]) => 0,
        (true, _) if said.contains(&1) => different.saturating_sub(1).max(1),
        _ => different,
    }
}

/// The states after a round, in the order in which they were found.
#[derive(Default)]
struct Layer {
    reached: Vec<Reached>,
    index: HashMap<State, u32>,
    transitions: u64,
}

impl Layer {
    /// Adds every combination of what can become of each replica.
    fn combine(&mut self, before: &Reached, from: u32, cost: u8, outcomes: &[Outcomes], left: u8) {
        let [first, second, third] = outcomes else {
            return;
        };
        for (a, cost_a) in first.iter() {
            for (b, cost_b) in second.iter() {
                let so_far = cost + cost_a + cost_b;
                if so_far > left {
                    break;
                }
                for (c, cost_c) in third.iter() {
                    if so_far + cost_c > left {
                        break;
                    }
                    self.add(Reached {
                        state: [*a, *b, *c],
                        from,
                        cost: before.cost + so_far + cost_c,
                    });
                }
            }
        }
    }

    fn add(&mut self, reached: Reached) {
        self.transitions += 1;
        let next = u32::try_from(self.reached.len())
            .unwrap_or_else(|_| unreachable!("a search ends before it has made 2^32 of anything"));
        let index = *self.index.entry(reached.state).or_insert(next);
        match self.reached.get_mut(index as usize) {
            None => self.reached.push(reached),
            Some(held) if reached.cost < held.cost => *held = reached,
            Some(_) => {}
        }
    }
}
