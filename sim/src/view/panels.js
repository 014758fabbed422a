// What stands beside the diagram: the selected event in full, and the logs as they were then.

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const jumpTo = (i, text) => make("button", { type: "button", className: "jump", title: describe(i), onclick: () => pick(i) }, text);

const showEvent = () => {
  const box = $("event"), i = state.pick;
  if (i < 0) {
    box.replaceChildren(make("p", { className: "none" }, "No event is selected. Click one, or press ↓."));
    return;
  }
  const facts = make("dl");
  const fact = (name, ...values) => facts.append(make("dt", {}, name), make("dd", {}, ...values));
  fact("time", seconds(at[i]));
  if (linkOf[i] >= 0) {
    fact("link", String(linkOf[i]), ...(peerOf[i] >= 0 ? [` with ${data.lanes[peerOf[i]]}`] : []));
  }
  if (startOf[i] >= 0) fact("bytes", `${startOf[i]} to ${startOf[i] + lengthOf[i]} (${lengthOf[i]})`);
  const into = [...arrowsInto(i)], out = arrowsFrom(i);
  const some = (list, end) => {
    const lines = list.slice(0, 8).map(end);
    if (list.length > 8) lines.push(make("span", { className: "none" }, `and ${list.length - 8} more`));
    return lines;
  };
  if (into.length) {
    fact("follows from", ...some(into, (a) => jumpTo(arrowFrom[a], `#${firstStep + arrowFrom[a]} ${describe(arrowFrom[a])}`)));
  }
  if (out.length) {
    fact("leads to", ...some(out, (a) => {
      if (arrowTo[a] >= 0) return jumpTo(arrowTo[a], `#${firstStep + arrowTo[a]} ${describe(arrowTo[a])}`);
      const what = arrowKind[a] === LOST ? "lost on the way" : "still under way at the end";
      return make("span", { className: arrowKind[a] === LOST ? "lost" : "none" }, `${arrowBytes[a]} bytes ${what}`);
    }));
  }
  const clock = make("div", { className: "clock" });
  cone.past.forEach((last, lane) => {
    if (last >= 0) clock.append(make("span", {}, `${data.lanes[lane]} `, make("b", {}, String(ordinal[last] + 1))));
  });
  fact("vector clock", clock);
  const parts = [
    make("h2", {}, kindWord(i), make("small", {}, whoWord(i)), make("small", {}, `#${firstStep + i}`)),
    ...(textWord(i) ? [make("p", { className: "said" }, textWord(i))] : []),
  ];
  if (isCulprit[i]) parts.splice(1, 0, make("p", { className: "lost", style: "margin:0 0 6px" }, `one of the events that break ${data.violation.property}`));
  box.replaceChildren(...parts, facts);
};

// Each host's entries, its beginnings and its ends, ascending.
const logs = data.lanes.map(() => ({ at: [], text: [], starts: [], ends: [] }));
for (const [i, text] of data.log) {
  logs[laneOf[i]].at.push(i);
  logs[laneOf[i]].text.push(text);
}
for (let i = 0; i < count; i++) {
  if (groupOf[i] !== 1) continue;
  const word = kindWord(i);
  if (word === "started") logs[laneOf[i]].starts.push(i);
  else if (word !== "paused" && word !== "resumed") logs[laneOf[i]].ends.push(i);
}
const ENTRIES = 200;
// The server that an event is about: its own, or its client's.
const hostOf = (i) => {
  if (i < 0) return -1;
  const lane = laneOf[i];
  if (data.sorts[lane] !== 2) return data.sorts[lane] === 1 ? lane : -1;
  return data.lanes.indexOf(data.lanes[lane].replace(/^client/, "server").replace(/\/.*$/, ""));
};
const blamed = new Set(culprits.map(hostOf).filter((lane) => lane >= 0));

const showLogs = () => {
  const moment = state.pick < 0 ? count - 1 : state.pick;
  const columns = make("div", { id: "columns" });
  // First the servers of the events that break the property, then that of the selected event.
  const rankOf = (lane) => (blamed.has(lane) ? 0 : lane === hostOf(state.pick) ? 1 : 2);
  const order = data.lanes.map((_, lane) => lane).sort((one, two) => rankOf(one) - rankOf(two) || one - two);
  order.forEach((index) => {
    const lane = data.lanes[index];
    if (data.sorts[index] !== 1 || !state.lanes[index]) return;
    const log = logs[index];
    const start = log.starts[lowerBound(log.starts, moment + 1) - 1] ?? -1;
    const end = log.ends[lowerBound(log.ends, moment + 1) - 1] ?? -1;
    // A recording does not know which life it is of, and some servers have none.
    const up = start >= 0 && lifeOf[start] < 0 ? "up" : `life ${lifeOf[start]}`;
    const absent = data.seed === null && log.starts.length === 0 ? "not recorded" : "not up";
    const life = start < 0 ? absent : end > start ? "down" : up;
    const from = lowerBound(log.at, start), until = lowerBound(log.at, moment + 1);
    const column = make("div", { className: start < 0 || end > start ? "log down" : "log" },
      make("h3", {}, `${lane} `, make("small", {}, life)));
    const list = make("ol", { start: from + 1 });
    const cut = Math.max(from, until - ENTRIES);
    if (cut > from) column.append(make("p", {}, `${cut - from} earlier`));
    for (let entry = cut; entry < until; entry++) {
      const i = log.at[entry], text = log.text[entry];
      const mark = i === state.pick ? "now" : isCulprit[i] ? "bad" : "";
      list.append(make("li", {}, make("button", { type: "button", className: mark, title: text, onclick: () => pick(i) }, text)));
    }
    column.append(list);
    if (from === until) column.append(make("p", {}, "empty"));
    columns.append(column);
  });
  const when = state.pick < 0 ? "at the end" : `at #${firstStep + state.pick}`;
  $("logs").replaceChildren(make("h2", {}, `Logs ${when}`), columns);
};
