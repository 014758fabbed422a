// The recording, and what can be asked of it: which events are shown, what caused what.

const $ = (id) => document.getElementById(id);
const fail = (text) => {
  document.body.dataset.error = text;
  $("status").textContent = `This page went wrong: ${text}`;
};
addEventListener("error", (event) => fail(event.message));

const data = JSON.parse($("recording").textContent);
const count = data.at.length;
const laneCount = data.lanes.length;
const firstStep = data.step[0] ?? 0;
const ints = (list) => Int32Array.from(list);
const laneOf = ints(data.lane), kindOf = ints(data.kind), textOf = ints(data.text);
const lifeOf = ints(data.life), linkOf = Float64Array.from(data.link), peerOf = ints(data.peer);
const startOf = Float64Array.from(data.start), lengthOf = Float64Array.from(data.length);
const at = new Float64Array(count);
for (let i = 0, now = 0; i < count; i++) at[i] = now += data.at[i];

// Arrows, five numbers each, ascending by where they leave.
const BYTES = 0, LOST = 1, UNDER_WAY = 2, DIAL = 3;
const arrowCount = data.arrows.length / 5;
const arrowKind = new Uint8Array(arrowCount), arrowFrom = new Int32Array(arrowCount);
const arrowTo = new Int32Array(arrowCount), arrowLane = new Int32Array(arrowCount);
const arrowBytes = new Float64Array(arrowCount);
// The farthest end of any arrow up to this one: where to begin to look for those in sight.
const arrowReach = new Int32Array(arrowCount);
for (let a = 0, reach = 0; a < arrowCount; a++) {
  [arrowKind[a], arrowFrom[a], arrowTo[a], arrowLane[a], arrowBytes[a]] = data.arrows.slice(5 * a, 5 * a + 5);
  arrowReach[a] = reach = Math.max(reach, arrowFrom[a], arrowTo[a]);
}
const LIFE = 0, PAUSE = 1, CUT = 2;
const bands = data.bands.map(([kind, one, two, from, until, label]) => ({ kind, one, two, from, until, label }));

const GROUPS = [
  { name: "Plan", colour: "plan", kinds: ["change", "over"] },
  { name: "Lives", colour: "edge", kinds: ["started", "killed", "crashed", "done", "paused", "resumed", "record-end"] },
  { name: "Dials", colour: "dial", kinds: ["dialling", "dial-failed", "opened", "turned-away"] },
  { name: "Bytes", colour: "sent", kinds: ["sent", "received"] },
  { name: "Ends", colour: "soft", kinds: ["finished", "broken", "closed", "left"] },
  { name: "Notices", colour: "notice", kinds: ["notice", "timeout", "shutdown", "misuse", "starved", "reading", "accepting"] },
  // Dials that came to nothing, with all that belongs to them: not shown unless asked for.
  { name: "Failed dials", colour: "faint", kinds: [], hidden: true },
];
const NOISE = GROUPS.length - 1;
const culprits = data.violation?.events ?? [];
const groupOfWord = (word) => Math.max(0, GROUPS.findIndex((group) => group.kinds.includes(word)));
const groupOf = new Uint8Array(count);
const dead = new Uint8Array(count);
{
  const groups = new Map(), deaths = new Map();
  for (const kind of new Set(kindOf)) {
    groups.set(kind, groupOfWord(data.words[kind]));
    deaths.set(kind, ["killed", "crashed"].includes(data.words[kind]) ? 1 : 0);
  }
  // Without an opened side, a link is no more than a dial.
  const opened = new Set();
  for (let i = 0; i < count; i++) if (["opened", "turned-away"].includes(data.words[kindOf[i]])) opened.add(linkOf[i]);
  for (let i = 0; i < count; i++) {
    groupOf[i] = groups.get(kindOf[i]);
    const dialled = ["dialling", "dial-failed", "closed"].includes(data.words[kindOf[i]]);
    if (dialled && linkOf[i] >= 0 && !opened.has(linkOf[i]) && !culprits.includes(i)) groupOf[i] = NOISE;
    // What a server has to say of it at once belongs to it.
    const before = i > 0 && groupOf[i - 1] === NOISE && laneOf[i - 1] === laneOf[i] && at[i - 1] === at[i];
    if (before && data.words[kindOf[i]] === "notice" && data.words[kindOf[i - 1]] === "dial-failed" && !culprits.includes(i)) groupOf[i] = NOISE;
    dead[i] = deaths.get(kindOf[i]);
  }
}

// The first index in an ascending list whose value is not below `value`.
const lowerBound = (list, value, end = list.length) => {
  let low = 0, high = end;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
};

// The arrows that arrive at an event, by event.
const arrivals = new Int32Array(count + 1), arriving = new Int32Array(arrowCount);
for (let a = 0; a < arrowCount; a++) if (arrowTo[a] >= 0) arrivals[arrowTo[a] + 1]++;
for (let i = 0; i < count; i++) arrivals[i + 1] += arrivals[i];
{
  const next = arrivals.slice();
  for (let a = 0; a < arrowCount; a++) if (arrowTo[a] >= 0) arriving[next[arrowTo[a]]++] = a;
}
const arrowsInto = (i) => arriving.subarray(arrivals[i], arrivals[i + 1]);
const arrowsFrom = (i) => {
  const list = [];
  for (let a = lowerBound(arrowFrom, i); a < arrowCount && arrowFrom[a] === i; a++) list.push(a);
  return list;
};

// How many events of its lane come before each: what vector clocks count.
const ordinal = new Int32Array(count);
{
  const seen = new Int32Array(laneCount);
  for (let i = 0; i < count; i++) ordinal[i] = seen[laneOf[i]]++;
}
// What could have caused an event, and what it could have caused: up to and from which event of
// each lane.
const coneOf = (pick) => {
  const past = new Int32Array(laneCount).fill(-1), future = new Int32Array(laneCount).fill(count);
  past[laneOf[pick]] = future[laneOf[pick]] = pick;
  for (let i = pick; i >= 0; i--) {
    if (i > past[laneOf[i]]) continue;
    for (const a of arrowsInto(i)) {
      const from = arrowFrom[a];
      past[laneOf[from]] = Math.max(past[laneOf[from]], from);
    }
  }
  for (let i = pick; i < count; i++) {
    if (i < future[laneOf[i]]) {
      if (!arrowsInto(i).some((a) => arrowFrom[a] >= future[laneOf[arrowFrom[a]]])) continue;
      future[laneOf[i]] = i;
    }
  }
  return { past, future, has: (i) => i <= past[laneOf[i]] || i >= future[laneOf[i]] };
};

const kindWord = (i) => data.words[kindOf[i]];
const textWord = (i) => data.words[textOf[i]];
const whoWord = (i) => data.lanes[laneOf[i]] + (lifeOf[i] >= 0 ? `.${lifeOf[i]}` : "");
const seconds = (micros) => `${Math.floor(micros / 1e6)}.${String(Math.floor(micros % 1e6)).padStart(6, "0")} s`;
const describe = (i) => `${whoWord(i)} ${kindWord(i)} ${textWord(i)}`;

const isCulprit = new Uint8Array(count);
for (const i of culprits) isCulprit[i] = 1;

// Lanes on which nothing happens are not shown unless asked for.
const busy = new Set();
for (let i = 0; i < count; i++) if (groupOf[i] !== NOISE) busy.add(laneOf[i]);
// Which events are shown: `shown` lists them, `rank` counts those before each.
const state = {
  groups: GROUPS.map((group) => !group.hidden), lanes: data.lanes.map((_, lane) => busy.has(lane)), words: "", only: false,
  cone: false, pick: -1, hover: -1, byTime: false, top: 0, left: 0, scale: 18,
};
let shown = new Int32Array(0), rank = new Int32Array(count + 1), matches = new Int32Array(0);
const matching = new Uint8Array(count);
let cone = null;

const findMatches = () => {
  const words = state.words.toLowerCase().split(/\s+/).filter((word) => word && word !== "-");
  const wanted = words.filter((word) => !word.startsWith("-"));
  const unwanted = words.filter((word) => word.startsWith("-")).map((word) => word.slice(1));
  matching.fill(0);
  if (words.length === 0) return false;
  for (let i = 0; i < count; i++) {
    const line = describe(i).toLowerCase();
    if (wanted.every((word) => line.includes(word)) && !unwanted.some((word) => line.includes(word))) matching[i] = 1;
  }
  return true;
};

const refilter = () => {
  const searching = findMatches();
  cone = state.pick >= 0 ? coneOf(state.pick) : null;
  const list = [], found = [];
  for (let i = 0; i < count; i++) {
    rank[i] = list.length;
    if (!state.groups[groupOf[i]] || !state.lanes[laneOf[i]]) continue;
    if (state.only && searching && !matching[i]) continue;
    list.push(i);
    if (matching[i]) found.push(i);
  }
  rank[count] = list.length;
  shown = Int32Array.from(list);
  matches = Int32Array.from(found);
  state.searching = searching;
};
const isShown = (i) => rank[i + 1] > rank[i];
