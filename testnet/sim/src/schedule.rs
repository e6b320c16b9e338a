//! From a seed to everything that a run is: its chain, its clients, who misbehaves how, and what happens when.

use tagma_pbft::ReplicaId;

use crate::byzantine::Kind;
use crate::chain::ChainPlan;
use crate::clients::Manner;
use crate::network::Weather;
use crate::rng::SimRng;
use crate::time::{MILLI, SECOND};

/// Something that happens to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// The power of a host fails.
    Crash(usize),
    /// The power of a host fails when it has passed so many more boundaries (before a sync, after it, before each message).
    Arm(usize, u64),
    /// The power of all hosts fails.
    PowerCut,
    /// One direction between two hosts is cut.
    Cut(usize, usize),
    /// The hosts are divided into sides.
    Partition(Vec<u8>),
    /// All links are whole again.
    Heal,
    /// All links behave so.
    Weather(Weather),
    /// Everything from and to a host takes this much longer, nanoseconds.
    SlowHost(usize, u64),
    /// A host's disk is so many times slower.
    SlowDisk(usize, u64),
    /// The next sync of a host fails.
    FailSync(usize),
    /// A host's wall clock is this far off, milliseconds.
    Skew(usize, i64),
    /// Nothing happens on a host for this long, nanoseconds.
    Pause(usize, u64),
    /// A host's disk is replaced by an empty one; with `true` it claims to have never voted.
    Wipe(usize, bool),
    /// Two hosts lose their connection, and get it again at once.
    Reconnect(usize, usize),
    /// The power of the primary fails.
    CrashPrimary,
    /// Nothing happens on the primary's host for this long, nanoseconds.
    PausePrimary(u64),
    /// The primary reaches nobody, nor anybody it, until all links are whole again.
    IsolatePrimary,
    /// Something happens to the primary, again and again with pauses between these two, nanoseconds, until everything heals.
    Churn(u64, u64),
    /// Only so many messages may be on their way over each link.
    ShortQueues(u32),
    /// A host's disk has no room: every write fails.
    FullDisk(usize),
    /// There is room again.
    FreeDisk(usize),
    /// Bits flip in a stretch of the records on a host's disk, from the so manieth on.
    FlipBits(usize, usize),
}

impl Disturbance {
    /// The names of all of them in reports.
    pub const NAMES: [&'static str; 23] = [
        "fault: crash",
        "fault: crash at a boundary",
        "fault: power cut of all",
        "fault: one-way cut",
        "fault: partition",
        "healing",
        "fault: weather",
        "fault: slow host",
        "fault: slow disk",
        "fault: failing sync",
        "fault: clock skew",
        "fault: pause",
        "fault: disk wiped, claims a fresh voter",
        "fault: disk wiped",
        "fault: reconnect",
        "fault: primary crashes",
        "fault: primary pauses",
        "fault: primary is cut off",
        "fault: churn of primaries",
        "fault: short queues",
        "fault: full disk",
        "healing of a full disk",
        "fault: flipped bits",
    ];

    /// The name in reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let place = match self {
            Self::Crash(_) => 0,
            Self::Arm(..) => 1,
            Self::PowerCut => 2,
            Self::Cut(..) => 3,
            Self::Partition(_) => 4,
            Self::Heal => 5,
            Self::Weather(_) => 6,
            Self::SlowHost(..) => 7,
            Self::SlowDisk(..) => 8,
            Self::FailSync(_) => 9,
            Self::Skew(..) => 10,
            Self::Pause(..) => 11,
            Self::Wipe(_, true) => 12,
            Self::Wipe(_, false) => 13,
            Self::Reconnect(..) => 14,
            Self::CrashPrimary => 15,
            Self::PausePrimary(_) => 16,
            Self::IsolatePrimary => 17,
            Self::Churn(..) => 18,
            Self::ShortQueues(_) => 19,
            Self::FullDisk(_) => 20,
            Self::FreeDisk(_) => 21,
            Self::FlipBits(..) => 22,
        };
        Self::NAMES.get(place).copied().unwrap_or("fault without a name")
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of everything that is drawn during the run.
    pub seed: u64,
    /// The chain.
    pub chain: ChainPlan,
    /// Replicas that run twice.
    pub twins: Vec<ReplicaId>,
    /// Hosts that misbehave, and how.
    pub byzantine: Vec<(usize, Vec<Kind>)>,
    /// Hosts that are down when the rest heals, and stay so.
    pub stays_down: Vec<usize>,
    /// How links behave at first.
    pub weather: Weather,
    /// What happens when, in nanoseconds.
    pub disturbances: Vec<(u64, Disturbance)>,
    /// When everything heals.
    pub heal_at: u64,
    /// How long clients go on with new requests after that.
    pub calm: u64,
    /// Within this time after the clients stop everything must have converged.
    pub bound: u64,
    /// The clients.
    pub clients: Vec<Manner>,
    /// Pause of a client between two requests.
    pub pause: (u64, u64),
    /// No view may ever be left: nothing gives a reason to.
    pub still: bool,
    /// Even while things go wrong, at least so many blocks within each so many nanoseconds.
    pub progress: Option<(u64, u64)>,
    /// Everything heals as soon as so many views were entered, which must be before `heal_at`.
    pub views: Option<u64>,
    /// Every correct client must be served while all others go on (L3).
    pub fair: bool,
    /// When the rest heals, the primary of the highest view that anybody wants dies for good.
    pub next_primary_dies: bool,
}

/// What a caller may fix.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// N.
    pub nodes: Option<u16>,
    /// Length of the phase of faults, simulated seconds.
    pub seconds: Option<u64>,
}

impl Plan {
    /// A calm run: no faults at all. Backups stand by in every second one.
    #[must_use]
    pub fn calm(seed: u64, nodes: u16) -> Self {
        Self {
            seed,
            chain: ChainPlan {
                replicas: nodes,
                accounts: 6,
                checkpoint_interval: 4,
                window: 8,
                max_batch_requests: 4,
                retain: None,
                standby: seed.is_multiple_of(2),
            },
            twins: Vec::new(),
            byzantine: Vec::new(),
            stays_down: Vec::new(),
            weather: Weather::FAIR,
            disturbances: Vec::new(),
            heal_at: 10 * SECOND,
            calm: 5 * SECOND,
            bound: 60 * SECOND,
            clients: vec![Manner::Correct; 4],
            pause: (50 * MILLI, 500 * MILLI),
            still: false,
            fair: false,
            progress: None,
            views: None,
            next_primary_dies: false,
        }
    }

    /// The run of a seed.
    #[must_use]
    pub fn from_seed(seed: u64, wishes: &Wishes) -> Self {
        let mut rng = SimRng::new(seed ^ 0x7461_676d_6121_0001);
        let drawn = *rng.pick(&[4, 4, 4, 7, 7, 10]).unwrap_or(&4);
        let nodes = wishes.nodes.unwrap_or(drawn);
        let mut plan = Self::calm(seed, nodes);
        plan.draw_chain(&mut rng);
        plan.weather = weather(&mut rng);
        let seconds = rng.between(8, 30);
        plan.heal_at = wishes.seconds.unwrap_or(seconds) * SECOND;
        let faulty = plan.draw_faulty(&mut rng);
        plan.draw_clients(&mut rng);
        plan.draw_disturbances(&mut rng, &faulty);
        plan
    }

    /// N with the twins.
    #[must_use]
    pub fn hosts(&self) -> usize {
        usize::from(self.chain.replicas) + self.twins.len()
    }

    /// f.
    #[must_use]
    pub fn faults(&self) -> usize {
        usize::from(self.chain.replicas.saturating_sub(1) / 3)
    }

    fn draw_chain(&mut self, rng: &mut SimRng) {
        let interval = *rng.pick(&[1, 2, 4, 4, 8, 16]).unwrap_or(&4);
        self.chain.checkpoint_interval = interval;
        self.chain.window = interval * rng.between(2, 3);
        self.chain.retain = rng.permille(400).then(|| rng.between(0, 2 * interval));
        self.chain.max_batch_requests = u32::try_from(rng.between(1, 8)).unwrap_or(1);
    }

    /// Who is faulty in which way, f in all. The hosts that are.
    fn draw_faulty(&mut self, rng: &mut SimRng) -> Vec<usize> {
        let mut ids: Vec<u16> = (0..self.chain.replicas).collect();
        let mut faulty = Vec::new();
        let count = if rng.permille(250) {
            0
        } else {
            rng.between(1, self.faults() as u64)
        };
        for _ in 0..count {
            let way = rng.below(11);
            let kinds: Vec<Kind> = (0..rng.between(1, 2))
                .filter_map(|_| rng.pick(Kind::ALL).copied())
                .collect();
            // Some can only misbehave as primaries, and the first primary is the one that surely has something to propose.
            let first = ids
                .iter()
                .position(|id| *id == 0)
                .filter(|_| way > 3 && kinds.iter().any(|kind| acts_as_primary(*kind)) && rng.permille(700));
            let place = first.unwrap_or_else(|| rng.index(ids.len()));
            let id = ids.swap_remove(place);
            let host = usize::from(id);
            faulty.push(host);
            let at = rng.between(SECOND, self.heal_at.max(2 * SECOND));
            match way {
                0 => {
                    faulty.push(self.hosts());
                    self.twins.push(ReplicaId::new(id));
                }
                1 => self
                    .disturbances
                    .push((at, Disturbance::Wipe(host, rng.permille(500)))),
                2 => self.stays_down.push(host),
                3 => {
                    let which = rng.index(1 << 20);
                    self.disturbances.push((at, Disturbance::FlipBits(host, which)));
                    // What is damaged shows when it is read, which a start does.
                    let crash = at + rng.between(10, 2000) * MILLI;
                    self.disturbances.push((crash, Disturbance::Crash(host)));
                }
                _ => {
                    if kinds.iter().any(|kind| acts_in_view_changes(*kind)) {
                        self.draw_view_changes(rng);
                    }
                    self.byzantine.push((host, kinds));
                }
            }
        }
        faulty
    }

    /// Primaries that are left again and again, so that there are view changes to misbehave in.
    fn draw_view_changes(&mut self, rng: &mut SimRng) {
        let mut at = rng.between(500, 3000) * MILLI;
        while at < self.heal_at {
            let disturbance = match rng.below(4) {
                0 => Disturbance::CrashPrimary,
                1 => Disturbance::IsolatePrimary,
                _ => Disturbance::PausePrimary(rng.between(1500, 4000) * MILLI),
            };
            let isolated = disturbance == Disturbance::IsolatePrimary;
            self.disturbances.push((at, disturbance));
            at += rng.between(1500, 5000) * MILLI;
            if isolated {
                self.disturbances.push((at, Disturbance::Heal));
            }
        }
    }

    fn draw_clients(&mut self, rng: &mut SimRng) {
        let correct = rng.between(2, 4);
        self.clients = (0..correct).map(|_| Manner::Correct).collect();
        for _ in 0..rng.below(3) {
            self.clients.extend(rng.pick(&Manner::ALL));
        }
        self.chain.accounts = u16::try_from(self.clients.len() + 2).unwrap_or(8);
        let fastest = rng.between(40, 600) * MILLI;
        self.pause = (fastest, fastest * rng.between(1, 8));
    }

    fn draw_disturbances(&mut self, rng: &mut SimRng, faulty: &[usize]) {
        let hosts = self.hosts();
        let mut kinds: Vec<u64> = (0..rng.below(6)).map(|_| rng.below(20)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut at = SECOND;
        while at < self.heal_at && !kinds.is_empty() {
            let kind = *rng.pick(&kinds).unwrap_or(&0);
            let (host, other) = (rng.index(hosts), rng.index(hosts));
            let disturbance = match kind {
                0 => Disturbance::Crash(host),
                1 | 2 => Disturbance::Arm(host, rng.between(1, 40)),
                3 => Disturbance::PowerCut,
                4 => Disturbance::Cut(host, other),
                5 => Disturbance::Partition((0..hosts).map(|_| u8::from(rng.permille(500))).collect()),
                6 => Disturbance::Weather(weather(rng)),
                7 => Disturbance::SlowHost(host, rng.between(1, 3000) * MILLI),
                8 => Disturbance::SlowDisk(host, rng.between(2, 200)),
                9 => Disturbance::FailSync(host),
                10 => Disturbance::Skew(host, i64::try_from(rng.below(7_200_000)).unwrap_or(0) - 3_600_000),
                11 => Disturbance::Pause(host, rng.between(10, 6000) * MILLI),
                12 => Disturbance::Reconnect(host, other),
                13 => Disturbance::CrashPrimary,
                14 => Disturbance::PausePrimary(rng.between(500, 5000) * MILLI),
                15 => Disturbance::IsolatePrimary,
                16 => Disturbance::ShortQueues(u32::try_from(rng.between(1, 24)).unwrap_or(1)),
                17 => Disturbance::FullDisk(host),
                18 => Disturbance::Churn(1000 * MILLI, 5000 * MILLI),
                _ => Disturbance::Heal,
            };
            self.disturbances.push((at, disturbance));
            let later = at + rng.between(100, 6000) * MILLI;
            if matches!(kind, 4..8 | 15 | 16) && rng.permille(700) {
                self.disturbances.push((later, Disturbance::Heal));
            }
            if kind == 17 {
                self.disturbances.push((later, Disturbance::FreeDisk(host)));
            }
            at += rng.between(100, 4000) * MILLI;
        }
        for host in faulty.iter().filter(|host| self.stays_down.contains(host)) {
            let at = rng.between(0, self.heal_at);
            self.disturbances.push((at, Disturbance::Crash(*host)));
        }
        self.disturbances.sort_by_key(|(at, _)| *at);
    }
}

/// Whether it only shows in what a primary sends.
fn acts_as_primary(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Equivocation
            | Kind::BadBatches
            | Kind::BidesItsTime
            | Kind::Repeats
            | Kind::Censor
            | Kind::WithholdBodies
    )
}

/// Whether it only shows while views change.
fn acts_in_view_changes(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ForgedCertificates | Kind::SplitViewChanges | Kind::FakeNewViews | Kind::WithholdViewChanges
    )
}

fn weather(rng: &mut SimRng) -> Weather {
    match rng.below(6) {
        0..=2 => Weather::FAIR,
        3 => Weather {
            loss_permille: rng.between(1, 500),
            ..Weather::FAIR
        },
        4 => Weather {
            delay_max: rng.between(2, 300) * MILLI,
            duplicate_permille: rng.below(100),
            ..Weather::FAIR
        },
        _ => Weather {
            delay_max: rng.between(2, 50) * MILLI,
            tail_permille: rng.below(100),
            tail: 5 * SECOND,
            loss_permille: rng.below(100),
            duplicate_permille: rng.below(50),
            ..Weather::FAIR
        },
    }
}
