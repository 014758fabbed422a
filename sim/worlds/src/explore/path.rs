//! A path through the states: kept as a plan, and walked again to be read and drawn.

use super::search::root;
use super::state::{Id, Item, State, Tail};
use super::step::Step;
use super::{Bounds, Explorable, Start, Watch, act, judge};
use crate::chat::delivery;
use crate::chat::judge::{ACCURACY, COMPLETENESS, VALIDITY};
use chatroom_chat::Config;
use chatroom_machine::{Loss, Time};
use chatroom_sim::names::Host;
use chatroom_sim::observer::{Fact, Violation};
use chatroom_sim::plan::{Change, Fate, Plan, PlanError, Way};
use chatroom_sim::trace::{Record, Recorder};

/// The notes of a plan that is a path: what may happen, and what does.
const BOUNDS: &str = "explore";
const STEPS: &str = "path";

/// What a search found its way by: all that it takes to walk there again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// What may happen.
    pub bounds: Bounds,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Path {
    /// The path as a plan, to be saved: its notes say all, and it has no events, as a plan can't
    /// say in which order single lines arrive.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let end = moment(self.steps.len() + 1);
        let mut plan = Plan::new(0, self.bounds.servers.into(), end);
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        plan.notes
            .insert(BOUNDS.to_owned(), self.bounds.to_string());
        plan.notes.insert(STEPS.to_owned(), steps.join(", "));
        plan
    }

    /// The path that a plan is; `None` if it is a plan for the [engine](chatroom_sim::engine).
    ///
    /// # Errors
    /// A note that is not understood, or bounds that are out of their own bounds.
    pub fn of(plan: &Plan) -> Result<Option<Self>, PlanError> {
        let Some(bounds) = plan.notes.get(BOUNDS) else {
            return Ok(None);
        };
        let bounds = Bounds::read(plan.hosts, bounds)?;
        let steps = plan.notes.get(STEPS).map_or("", String::as_str);
        let steps = steps.split_terminator(", ").map(str::parse);
        Ok(Some(Self {
            bounds,
            steps: steps.collect::<Result<_, _>>()?,
        }))
    }
}

/// A violation, with one of the shortest paths to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What happens, from the start of the search on.
    pub steps: Vec<Step>,
    /// What breaks. It names no events: they are those of the path.
    pub violation: Violation,
}

/// A path that was walked again.
#[derive(Clone, Debug)]
pub struct Walked {
    /// What each step does, in words.
    pub lines: Vec<String>,
    /// Everything that happened, a millisecond a step.
    pub recorder: Recorder,
    /// What broke at the end, with the event that breaks it.
    pub violation: Option<Violation>,
    /// The step that could not be done, if one could not: nothing behind it was tried.
    pub stopped: Option<Step>,
}

/// When a step takes place in a record: a millisecond after the one before.
const fn moment(step: usize) -> Time {
    Time::from_micros(1000 * step as u64)
}

/// Walks a path, up to where a step can't be done or a property breaks.
///
/// # Panics
/// As [`explore`](super::explore).
pub fn walk<M: Explorable>(make: impl Fn(Config) -> M, bounds: &Bounds, steps: &[Step]) -> Walked {
    let mut watch = Watch::<Recorder>::default();
    let mut lines = Vec::new();
    let walked = follow(&make, bounds, steps, &mut watch, &mut lines);
    let recorder = watch.observer;
    let stopped = walked.as_ref().ok().copied().flatten();
    let violation = walked.err().map(|broken| Violation {
        events: blamed(&recorder.records, &broken).into_iter().collect(),
        ..broken
    });
    Walked {
        lines,
        recorder,
        violation,
        stopped,
    }
}

/// The event that breaks a property: of those of the last step, the delivery to a log or the news
/// of who is alive that the property is about; else the last one.
fn blamed(records: &[Record], broken: &Violation) -> Option<u64> {
    let last = records.last()?;
    let mut step = records.iter().rev().take_while(|each| each.at == last.at);
    let breaks = |record: &&Record| match broken.property {
        COMPLETENESS | ACCURACY => record.kind == "notice" && delivery(record).is_none(),
        // What is missing has no event.
        VALIDITY => false,
        _ => delivery(record).is_some(),
    };
    Some(step.find(breaks).unwrap_or(last).step)
}

fn follow<M: Explorable, F: Fn(Config) -> M>(
    make: &F,
    bounds: &Bounds,
    steps: &[Step],
    watch: &mut Watch<Recorder>,
    lines: &mut Vec<String>,
) -> Result<Option<Step>, Violation> {
    let mut stopped = None;
    if bounds.start == Start::Linked {
        lines.push("every server starts, and all are linked".to_owned());
    }
    let mut state = root(make, bounds, watch)?;
    for (number, step) in (1..).zip(steps) {
        if !state.enabled().contains(step) {
            stopped = Some(*step);
            break;
        }
        watch.now = moment(number);
        lines.push(words(&state, *step));
        if let Some(change) = change(*step) {
            let fact = Fact::Change { change: &change };
            watch.see::<M>(&fact)?;
        }
        state = state.apply(make, *step, watch)?;
    }
    judge::rest(&state, &state.enabled())?;
    watch.see::<M>(&Fact::Over)?;
    Ok(stopped)
}

/// What a plan would have to do for this step.
fn change(step: Step) -> Option<Change> {
    let host = |host: u8| Host(host.into());
    match step {
        Step::Start(id) => Some(Change::Start(host(id))),
        Step::Crash(id) => Some(Change::Kill(host(id), Fate::Fin)),
        Step::Break(wire) => Some(Change::Reset(Way {
            from: host(wire.from),
            to: host(wire.to),
            both: true,
        })),
        Step::Dialled(_)
        | Step::Deliver(..)
        | Step::Cut(..)
        | Step::Tear(..)
        | Step::Tick(_)
        | Step::Broadcast(_)
        | Step::Store(..) => None,
    }
}

fn line(item: Option<&Item>) -> String {
    match item {
        Some(Item::Line(line)) => format!("{:?}", String::from_utf8_lossy(line).trim_end()),
        Some(Item::Open) | None => "nothing".to_owned(),
    }
}

fn words<M: Explorable>(state: &State<M>, step: Step) -> String {
    let pipe = |wire, side: u8| {
        let found = state.find(wire).map(|at| &state.links[at]);
        found.map(|link| &link.pipes[usize::from(side)])
    };
    match step {
        Step::Dialled(wire) => {
            let up = state.live(wire.to).is_some();
            let outcome = if up { "connects" } else { "is refused" };
            format!(
                "server {}'s dial of server {} {outcome} ({wire})",
                wire.from, wire.to
            )
        }
        Step::Deliver(wire, side) => {
            let (to, from) = (wire.host(side.into()), wire.host(1 - usize::from(side)));
            let pipe = pipe(wire, side);
            let what = match pipe.and_then(|pipe| pipe.items.front()) {
                Some(Item::Open) => "accepts the connection".to_owned(),
                item @ Some(Item::Line(_)) => format!("gets {}", line(item)),
                None => match pipe.map(|pipe| pipe.tail) {
                    Some(Tail::Ending(Loss::Broken)) => "is told of a break".to_owned(),
                    Some(Tail::Ending(Loss::Finished) | Tail::Flowing | Tail::Over) | None => {
                        "is told of the end".to_owned()
                    }
                },
            };
            format!("server {to} {what} from server {from} ({wire})")
        }
        Step::Cut(wire, side) => {
            let lost = pipe(wire, side).map_or(0, |pipe| pipe.items.len());
            let to = wire.host(side.into());
            format!("server {to} is told of a break, lines lost: {lost} ({wire})")
        }
        Step::Tear(wire, side) => {
            let torn = line(pipe(wire, side).and_then(|pipe| pipe.items.front()));
            let to = wire.host(side.into());
            format!("server {to} gets all but the last byte of {torn}, then the end ({wire})")
        }
        Step::Tick(host) => format!("time passes for server {host} until it dials again"),
        Step::Broadcast(host) => {
            let node = &state.nodes[usize::from(host)];
            let life = node.life();
            let number = node.lives[usize::from(life)];
            let text = act::text_of(Id { host, life, number });
            format!("server {host} broadcasts {text:?}")
        }
        Step::Start(host) => format!("server {host} starts"),
        Step::Crash(host) => format!("server {host} is killed"),
        Step::Break(wire) => format!("the link {wire} breaks"),
        Step::Store(host, volume) => {
            format!("a record of server {host}'s volume {volume} becomes durable")
        }
    }
}
