//! A path through the states, walked again to be read and drawn.

use super::search::root;
use super::state::{Id, Item, State, Tail};
use super::step::Step;
use super::{Bounds, Explorable, Start, Watch, act, judge};
use crate::names::Host;
use crate::observer::{Fact, Violation};
use crate::plan::{Change, Fate, Plan, Way};
use crate::trace::Recorder;
use crate::view::{Page, html, notices};
use chatroom_core::{Config, Loss, Time};

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
    /// What broke at the end.
    pub violation: Option<Violation>,
}

impl Walked {
    /// The path as a space-time diagram: a page that needs nothing but a browser.
    #[must_use]
    pub fn html(&self, bounds: &Bounds) -> String {
        let steps = self.lines.iter().enumerate();
        let steps: Vec<String> = steps
            .map(|(number, line)| format!("{number}. {line}"))
            .collect();
        html(&Page {
            title: "chatroom sim explore",
            plan: &Plan::new(0, bounds.servers.into(), moment(self.lines.len())),
            recorder: &self.recorder,
            violation: self.violation.as_ref(),
            log: &notices,
            notes: &[("path", steps.join("; "))],
        })
    }
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
    let violation = follow(&make, bounds, steps, &mut watch, &mut lines).err();
    Walked {
        lines,
        recorder: watch.observer,
        violation,
    }
}

fn follow<M: Explorable, F: Fn(Config) -> M>(
    make: &F,
    bounds: &Bounds,
    steps: &[Step],
    watch: &mut Watch<Recorder>,
    lines: &mut Vec<String>,
) -> Result<(), Violation> {
    if bounds.start == Start::Linked {
        lines.push("every server starts, and all are linked".to_owned());
    }
    let mut state = root(make, bounds, watch)?;
    for (number, step) in (1..).zip(steps) {
        if !state.enabled().contains(step) {
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
    watch.see::<M>(&Fact::Over)
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
        | Step::Broadcast(_) => None,
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
            format!("server {to} is told of a break, {lost} lines are lost ({wire})")
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
    }
}
