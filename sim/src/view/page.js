// The page: what the reader does, and what follows.

const announce = (text) => { $("live").textContent = text; };
const showStatus = () => {
  const place = state.pick >= 0 ? `event ${firstStep + state.pick} selected · ` : "";
  $("status").textContent = `${place}${shown.length} of ${count} events shown`;
  $("matches").textContent = state.searching ? `${matches.length} found` : "";
  $("matches").dataset.of = state.words;
  view.setAttribute("aria-label", `Space-time diagram: ${shown.length} of ${count} events on ${laneCount} lanes`);
};

const keepInSight = (i) => {
  showLane(laneOf[i]);
  const y = yOf(i), margin = Math.min(120, height / 4);
  if (y < margin || y > height - margin) {
    state.top += (y - height * .45) / state.scale;
    clampView();
  }
};
const pick = (i) => {
  state.pick = i;
  cone = i >= 0 ? coneOf(i) : null;
  if (i >= 0) {
    if (!isShown(i)) announceHidden(i);
    else keepInSight(i);
    announce(`${seconds(at[i])}, ${describe(i)}${isCulprit[i] ? ", breaks the property" : ""}`);
    try {
      history.replaceState(null, "", `#${firstStep + i}`);
    } catch { /* Some browsers keep files from having a fragment. */ }
  }
  showEvent();
  showLogs();
  showStatus();
  redraw();
};
// A jump to a filtered event opens the filters that hide it.
const announceHidden = (i) => {
  state.groups[groupOf[i]] = true;
  state.lanes[laneOf[i]] = true;
  if (state.only && state.searching && !matching[i]) state.only = false;
  showFilters();
  applyFilters();
  keepInSight(i);
};

// Keeps what is in the middle of the view there while what is shown changes.
const steadily = (change) => {
  const row = Math.min(shown.length - 1, rowAt(height / 2));
  const inSight = state.pick >= 0 && isShown(state.pick) && yOf(state.pick) > 0 && yOf(state.pick) < height;
  const anchor = inSight ? state.pick : shown[row] ?? 0;
  const y = inSight ? yOf(anchor) : height / 2;
  change();
  state.top += (yOf(anchor) - y) / state.scale;
  clampView();
};
const applyFilters = () => {
  steadily(() => {
    refilter();
    layOut();
  });
  mapBase = null;
  showLogs();
  showStatus();
  redraw();
};

const step = (by, fits = () => true) => {
  if (shown.length === 0) return;
  let row = state.pick < 0 ? (by > 0 ? rowAt(0) : rowAt(height)) : rank[state.pick] + (by > 0 ? (isShown(state.pick) ? 1 : 0) : -1);
  while (row >= 0 && row < shown.length && !fits(shown[row])) row += by;
  if (row >= 0 && row < shown.length) pick(shown[row]);
  else announce("no further event");
};
const along = (list, by) => {
  if (list.length === 0) return announce("nothing to go to");
  const here = lowerBound(list, by > 0 ? state.pick + 1 : Math.max(0, state.pick));
  pick(list[by > 0 ? here % list.length : (here - 1 + list.length) % list.length]);
};
// Along an arrow, or where there is none along the lane.
const follow = (arrows, end, by) => {
  let next = arrows.map((a) => end[a]).find((i) => i >= 0) ?? state.pick + by;
  if (arrows.every((a) => end[a] < 0)) while (next >= 0 && next < count && laneOf[next] !== laneOf[state.pick]) next += by;
  if (next >= 0 && next < count) pick(next);
  else announce("none");
};

const zoom = (by, y = height / 2) => {
  const point = (y - pad()) / state.scale + state.top;
  state.scale *= by;
  clampView();
  state.top = point - (y - pad()) / state.scale;
  clampView();
  redraw();
};
const fit = () => {
  state.scale = 0;
  state.top = 0;
  state.scale = fitScale();
  const least = fitScale();
  state.scale = least;
  if (!state.byTime && least > 40) state.scale = 40;
  redraw();
};
// To the side, where the lanes are more than fit beside the words.
const scrollLanes = (pixels) => {
  state.left += pixels;
  placeLanes();
  redraw();
};
const scroll = (pixels) => {
  state.top += pixels / state.scale;
  clampView();
  redraw();
};
const setTime = (on) => {
  const anchor = state.pick >= 0 ? state.pick : shown[Math.min(shown.length - 1, rowAt(height / 2))] ?? 0;
  state.byTime = on;
  $("by-time").checked = on;
  if (on) {
    // As fine as makes the events about the middle tell apart, as coarse as shows where they stand.
    const row = rank[anchor], near = 20;
    const span = at[shown[Math.min(shown.length - 1, row + near)]] - at[shown[Math.max(0, row - near)]];
    const usual = lastMoment() / Math.max(1, shown.length) * 2 * near;
    state.scale = Math.max(fitScale(), Math.min(height / Math.max(1, span, usual), 1));
  } else state.scale = LINE + 1;
  clampView();
  state.top += (yOf(anchor) - height / 2) / state.scale;
  clampView();
  mapBase = null;
  redraw();
};
const setCone = (on) => {
  state.cone = on;
  $("cone").checked = on;
  redraw();
};
const setSearch = (words) => {
  state.words = words;
  applyFilters();
};
const goHome = () => (shown.length && pick(shown[0]));
const goEnd = () => (shown.length && pick(shown[shown.length - 1]));
const showHelp = () => $("help").showModal();

const KEYS = [
  [["ArrowDown", "j"], "↓ j", "next event", () => step(1)],
  [["ArrowUp", "k"], "↑ k", "previous event", () => step(-1)],
  [["J"], "J", "next event of the same lane", () => step(1, (i) => state.pick < 0 || laneOf[i] === laneOf[state.pick])],
  [["K"], "K", "previous event of the same lane", () => step(-1, (i) => state.pick < 0 || laneOf[i] === laneOf[state.pick])],
  [["ArrowLeft", "c"], "← c", "what it follows from: back along an arrow, or its lane", () => state.pick >= 0 && follow([...arrowsInto(state.pick)], arrowFrom, -1)],
  [["ArrowRight", "e"], "→ e", "what it leads to, likewise", () => state.pick >= 0 && follow(arrowsFrom(state.pick), arrowTo, 1)],
  [["v"], "v", "next event that breaks the property", () => along(culprits, 1)],
  [["V"], "V", "the one before", () => along(culprits, -1)],
  [["n"], "n", "next match of the search", () => along(matches, 1)],
  [["N"], "N", "previous match", () => along(matches, -1)],
  [["/"], "/", "search", () => $("search").focus()],
  [["x"], "x", "causes and effects only", () => setCone(!state.cone)],
  [["t"], "t", "true time, or a row an event", () => setTime(!state.byTime)],
  [["+", "="], "+", "zoom in", () => zoom(1.4)],
  [["-"], "−", "zoom out", () => zoom(1 / 1.4)],
  [["0"], "0", "fit the whole run", fit],
  [["PageDown", " "], "Page ↓", "move down", () => scroll(height * .85)],
  [["PageUp"], "Page ↑", "move up", () => scroll(-height * .85)],
  [["Home", "g"], "g", "first event", goHome],
  [["End", "G"], "G", "last event", goEnd],
  [["?"], "?", "this list", showHelp],
];
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const typing = event.target.matches("input[type=search]");
  if (typing) {
    if (event.key === "Enter") along(matches, event.shiftKey ? -1 : 1);
    if (event.key === "Escape") view.focus();
    return;
  }
  if (event.key === " " && event.target !== view && event.target !== document.body) return;
  const key = KEYS.find(([names]) => names.includes(event.key));
  if (!key) return;
  event.preventDefault();
  key[3]();
});

const chip = (text, colour, on, change) => {
  const box = make("input", { type: "checkbox", checked: on, onchange: () => change(box.checked) });
  const dot = make("i");
  dot.style.color = `var(--${colour})`;
  return make("label", { className: "chip" }, box, dot, text);
};
const showFilters = () => {
  const some = (index) => index !== NOISE || groupOf.includes(NOISE);
  $("groups").replaceChildren(...GROUPS.map((group, index) => some(index) && chip(group.name, group.colour, state.groups[index], (on) => {
    state.groups[index] = on;
    applyFilters();
  })).filter(Boolean));
  const lanes = data.lanes.map((lane, index) => chip(lane, ["plan", "edge", "soft"][data.sorts[index]], state.lanes[index], (on) => {
    state.lanes[index] = on;
    applyFilters();
  }));
  if (data.sorts.includes(2)) {
    const all = data.sorts.some((sort, index) => sort === 2 && state.lanes[index]);
    lanes.unshift(chip("all clients", "soft", all, (on) => {
      data.sorts.forEach((sort, index) => { if (sort === 2) state.lanes[index] = on; });
      showFilters();
      applyFilters();
    }));
  }
  $("lanes").replaceChildren(...lanes);
  $("only").checked = state.only;
};

const eventNear = (x, y) => {
  if (x >= wordsAt - 8) {
    const near = placed.filter((i) => Math.abs(yOf(i) - y) <= LINE / 2 + 1);
    if (near.length) return near.sort((one, two) => Math.abs(yOf(one) - y) - Math.abs(yOf(two) - y))[0];
  }
  let best = -1, least = 1e9;
  for (let row = Math.max(0, rowAt(y - 14) - 1); row < shown.length; row++) {
    const i = shown[row], away = Math.abs(yOf(i) - y);
    if (yOf(i) > y + 14) break;
    const distance = away + (x < wordsAt ? Math.abs(columns[laneOf[i]] - x) * .3 : 0);
    if (distance < least && away < 14) [best, least] = [i, distance];
  }
  return best;
};
const showTip = (i, x, y) => {
  const tip = $("tip");
  tip.hidden = i < 0 || x >= wordsAt - 8;
  if (tip.hidden) return;
  tip.textContent = `${seconds(at[i])}  ${describe(i)}`;
  tip.style.left = `${Math.min(x + 14, width - 200)}px`;
  tip.style.top = `${Math.min(y + HEADS + 12, height - 30)}px`;
};

const listen = () => {
  let drag = null;
  view.addEventListener("pointerdown", (event) => {
    drag = { x: event.offsetX, y: event.offsetY, moved: 0 };
    view.setPointerCapture(event.pointerId);
    view.focus();
  });
  view.addEventListener("pointermove", (event) => {
    if (drag) {
      const by = event.offsetY - drag.y, across = event.offsetX - drag.x;
      drag = { x: event.offsetX, y: event.offsetY, moved: drag.moved + Math.abs(by) + Math.abs(across) };
      if (drag.moved > 3) {
        view.classList.add("drag");
        scroll(-by);
        scrollLanes(-across);
      }
      return;
    }
    const near = eventNear(event.offsetX, event.offsetY);
    showTip(near, event.offsetX, event.offsetY);
    if (near !== state.hover) {
      state.hover = near;
      redraw();
    }
  });
  view.addEventListener("pointerleave", () => {
    state.hover = -1;
    showTip(-1, 0, 0);
    redraw();
  });
  view.addEventListener("pointerup", (event) => {
    view.classList.remove("drag");
    const click = drag && drag.moved <= 3;
    drag = null;
    if (click) {
      const near = eventNear(event.offsetX, event.offsetY);
      if (near >= 0) pick(near);
    }
  });
  $("stage").addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? LINE : 1);
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-pixels / 300), event.offsetY);
    else {
      scroll(event.shiftKey ? 0 : pixels);
      scrollLanes(event.shiftKey ? pixels : event.deltaX);
    }
  }, { passive: false });
  const toMap = (event) => {
    state.top = event.offsetY / height * extent() - height / state.scale / 2;
    clampView();
    redraw();
  };
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    toMap(event);
  });
  map.addEventListener("pointermove", (event) => event.buttons && toMap(event));

  let typing = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => setSearch($("search").value), 120);
  });
  $("only").addEventListener("change", () => {
    state.only = $("only").checked;
    applyFilters();
  });
  $("by-time").addEventListener("change", () => setTime($("by-time").checked));
  $("cone").addEventListener("change", () => setCone($("cone").checked));
  $("match-next").addEventListener("click", () => along(matches, 1));
  $("match-before").addEventListener("click", () => along(matches, -1));
  $("zoom-in").addEventListener("click", () => zoom(1.4));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.4));
  $("fit").addEventListener("click", fit);
  $("help-open").addEventListener("click", showHelp);
  document.addEventListener("click", (event) => {
    if (!$("lanes-menu").contains(event.target)) $("lanes-menu").open = false;
  });
  // At once: what was drawn is gone, and the next frame is about to be shown.
  new ResizeObserver(() => {
    layOut();
    mapBase = null;
    draw();
  }).observe($("stage"));
  for (const query of ["(prefers-color-scheme: dark)", `(resolution: ${devicePixelRatio}dppx)`]) {
    matchMedia(query).addEventListener("change", () => {
      readInk();
      layOut();
      mapBase = null;
      redraw();
    });
  }
};

const showHead = () => {
  $("title").textContent = data.title;
  const about = $("about");
  about.append(`${data.seed === null ? "" : `seed ${data.seed} · `}${count.toLocaleString("en")} events in ${seconds(lastMoment())}`);
  for (const [name, value] of data.notes) about.append(` · ${name}: `, make("code", { className: "said" }, value));
  $("keys").replaceChildren(...KEYS.flatMap(([, keys, text]) => [
    make("dt", {}, ...keys.split(/ (?=\S$)/).flatMap((key) => [make("kbd", {}, key), " "])), make("dd", {}, text),
  ]));
  if (!data.violation) return;
  $("alarm").hidden = false;
  $("property").textContent = data.violation.property;
  $("broken").textContent = data.violation.text;
  const buttons = culprits.slice(0, 12).map((i) => make("button", { type: "button", title: describe(i), onclick: () => pick(i) }, `#${firstStep + i} ${whoWord(i)}`));
  if (culprits.length > 12) buttons.push(`and ${culprits.length - 12} more: press v`);
  $("culprits").replaceChildren(...buttons);
};

readInk();
showHead();
refilter();
showFilters();
layOut();
listen();
const named = Number(location.hash.slice(1)) - firstStep;
if (location.hash.length > 1 && named >= 0 && named < count) pick(named);
else pick(culprits.length ? culprits[culprits.length - 1] : -1);
draw();
document.body.dataset.ready = String(Math.round(performance.now()));
view.focus();
