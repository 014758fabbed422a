// The canvas: only what is in sight is drawn, and nothing twice on the same pixels.

const view = $("view"), map = $("map");
const paint = view.getContext("2d"), paintMap = map.getContext("2d");
const HEADS = 26, LINE = 17, FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', 'Apple Color Emoji', 'Segoe UI Emoji', 'Noto Color Emoji', sans-serif";
// What the moments take at the left, and the whole run at the right: less on a narrow screen.
let GUTTER = 92, MAP = 58;
// The column of a lane that is not shown.
const HIDDEN = -1e6;
let width = 0, height = 0, columns = [], wordsAt = 0, ink = {};
// The events whose words stand on the canvas, for the pointer.
let placed = [];

const readInk = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["page", "panel", "ink", "soft", "faint", "line", "hover", "life", "edge", "sent", "lost", "dial", "cut",
    "pause", "fault", "alarm", "alarm-ink", "notice", "plan", "pick", "pick-soft", "match"]) ink[name] = style.getPropertyValue(`--${name}`).trim();
  const cell = document.createElement("canvas");
  cell.width = cell.height = 8;
  const pen = cell.getContext("2d");
  pen.strokeStyle = ink.pause;
  pen.lineWidth = 2;
  for (const shift of [-8, 0, 8]) {
    pen.moveTo(shift - 1, 9);
    pen.lineTo(shift + 9, -1);
  }
  pen.stroke();
  ink.hatch = paint.createPattern(cell, "repeat");
};

const position = (i) => (state.byTime ? (i >= count ? lastMoment() : at[i]) : rank[Math.min(i, count)] + .5);
const lastMoment = () => (count ? at[count - 1] : 0);
const extent = () => (state.byTime ? lastMoment() + 1 : shown.length);
// What is left free above the first event and below the last.
const pad = () => (state.byTime ? LINE : 9);
const yOf = (i) => (position(i) - state.top) * state.scale + pad();
const fitScale = () => Math.max(1e-9, (height - 2 * pad()) / Math.max(1, extent()));
const maxScale = () => (state.byTime ? 1 : 40);
const clampView = () => {
  state.scale = Math.min(Math.max(state.scale, Math.min(fitScale(), LINE + 1)), maxScale());
  const room = (height - 2 * pad()) / state.scale;
  state.top = Math.max(0, Math.min(state.top, extent() - room));
};
// The first shown event at or below a height, as an index into `shown`.
const rowAt = (y) => {
  if (!state.byTime) return Math.max(0, Math.min(shown.length, Math.floor((y - pad()) / state.scale + state.top)));
  const moment = (y - pad()) / state.scale + state.top;
  let low = 0, high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[shown[middle]] < moment) low = middle + 1;
    else high = middle;
  }
  return low;
};

const short = (lane) => lane.replace(/^server/, "s").replace(/^client/, "c");

const layOut = () => {
  const ratio = devicePixelRatio || 1;
  const stage = $("stage");
  const narrow = stage.clientWidth < 560;
  [GUTTER, MAP] = narrow ? [66, 26] : [92, 58];
  width = Math.max(200, stage.clientWidth - MAP);
  height = Math.max(80, stage.clientHeight - HEADS);
  for (const [canvas, pen, wide] of [[view, paint, width], [map, paintMap, MAP]]) {
    const [across, down] = [Math.round(wide * ratio), Math.round(height * ratio)];
    // Any new size, even the same one, empties a canvas.
    if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${height}px`;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  placeLanes();
  clampView();
};

// Where the lanes stand. The words keep their place: lanes that are more than fit beside them move
// under them, and can be moved.
const leastWords = () => Math.min(420, Math.max(width * (width < 560 ? .56 : .4), 150));
const stepOfLanes = () => {
  const visible = Math.max(1, state.lanes.filter(Boolean).length);
  return Math.max(30, Math.min(104, (width - GUTTER - leastWords() - 30) / visible));
};
const showLane = (lane) => {
  const x = columns[lane];
  if (x === undefined || !state.lanes[lane]) return;
  if (x < GUTTER + 12) state.left -= GUTTER + 12 - x + stepOfLanes();
  else if (x > wordsAt - 24) state.left += x - wordsAt + 24 + stepOfLanes();
  else return;
  placeLanes();
};
const placeLanes = () => {
  const visible = state.lanes.filter(Boolean).length;
  const step = stepOfLanes();
  wordsAt = Math.min(GUTTER + visible * step + 30, width - leastWords());
  state.left = Math.max(0, Math.min(state.left, GUTTER + visible * step - (wordsAt - 14)));
  const heads = $("heads");
  heads.replaceChildren();
  const head = (text, kind, x) => {
    const name = document.createElement("span");
    name.className = kind;
    name.textContent = text;
    name.style.left = `${x}px`;
    heads.append(name);
  };
  head("time", "side", 12);
  columns = [];
  let x = GUTTER + step / 2 - state.left;
  data.lanes.forEach((lane, index) => {
    columns.push(state.lanes[index] ? x : HIDDEN);
    if (!state.lanes[index]) return;
    const kind = ["plan", "host", "client"][data.sorts[index]];
    if (x > GUTTER - step / 4 && x < wordsAt - 14) head(step < 58 ? short(lane) : lane, kind, x);
    x += step;
  });
  const beyond = columns.filter((x) => x !== HIDDEN && x >= wordsAt - 14).length;
  if (beyond) head(`+${beyond} ›`, "side more", wordsAt - 8);
  head("what happened", "side", wordsAt);
};

const halo = (text, x, y, colour) => {
  paint.lineWidth = 3;
  paint.strokeStyle = ink.page;
  paint.strokeText(text, x, y);
  paint.fillStyle = colour;
  paint.fillText(text, x, y);
};

const dims = (i) => (state.searching && !matching[i]) || (state.cone && cone && !cone.has(i));

const drawBands = () => {
  const labels = [];
  paint.font = "10px " + FONT;
  for (const band of bands) {
    const [one, two] = [columns[band.one], columns[band.two]];
    if (one === HIDDEN || two === HIDDEN) continue;
    // Nothing that is shown happened meanwhile.
    if (!state.byTime && !isShown(band.from) && rank[band.from] === rank[band.until < 0 ? count : band.until + 1]) continue;
    const top = Math.max(-20, yOf(band.from));
    const bottom = Math.min(height + 20, band.until < 0 ? yOf(count) : yOf(band.until));
    if (bottom < 0 || top > height) continue;
    const tall = Math.max(2, bottom - top);
    if (band.kind === LIFE || band.kind === PAUSE) {
      paint.fillStyle = band.kind === LIFE ? ink.life : ink.hatch;
      paint.strokeStyle = band.kind === LIFE ? ink.edge : ink.pause;
      paint.lineWidth = 1;
      paint.beginPath();
      paint.roundRect(one - 5.5, top, 11, tall, 3);
      paint.fill();
      paint.stroke();
      labels.push([band.label, one + 13, Math.max(top, 0) + 12, band.kind === LIFE ? ink.soft : ink.pause, bottom]);
    } else {
      // Around the lanes it concerns, joined where it begins and ends: those between have no part.
      const colour = band.kind === CUT ? ink.cut : ink.fault;
      const left = Math.min(one, two), right = Math.max(one, two);
      paint.fillStyle = paint.strokeStyle = colour;
      paint.lineWidth = 1;
      paint.setLineDash(band.kind === CUT ? [4, 3] : []);
      for (const x of one === two ? [one] : [one, two]) {
        paint.globalAlpha = band.kind === CUT ? .22 : .12;
        paint.fillRect(x - 10, top, 20, tall);
        paint.globalAlpha = band.kind === CUT ? 1 : .6;
        paint.strokeRect(Math.round(x) - 9.5, top + .5, 19, tall - 1);
      }
      paint.beginPath();
      for (const y of [top, bottom]) {
        paint.moveTo(left + 10, Math.round(y) + .5);
        paint.lineTo(right - 10, Math.round(y) + .5);
      }
      if (one !== two) paint.stroke();
      paint.setLineDash([]);
      paint.globalAlpha = 1;
      labels.push([band.label, left + 13, Math.max(top + 4, 0) + 8, colour, bottom]);
    }
  }
  return labels;
};

const drawLabels = (labels) => {
  paint.font = "600 10px " + FONT;
  const taken = [];
  for (const [text, x, top, colour, bottom] of labels) {
    const right = x + paint.measureText(text).width + 3;
    let y = top;
    const clash = (box) => box.x < right && x < box.right && Math.abs(box.y - y) < 11;
    while (taken.some(clash)) y += 11;
    // A label that found no place beside what it names is left out.
    if (y > top && y > bottom + 11) continue;
    taken.push({ x, right, y });
    halo(text, x, y, colour);
  }
};

const drawArrows = (first, last) => {
  const start = lowerBound(arrowReach, first);
  const paths = new Map();
  const path = (style) => {
    if (!paths.has(style)) paths.set(style, new Path2D());
    return paths.get(style);
  };
  const seen = new Float64Array(laneCount * laneCount).fill(-1e9);
  const tips = state.scale * (state.byTime ? 1000 : 1) > 4;
  let drawn = 0;
  for (let a = start; a < arrowCount && arrowFrom[a] <= last; a++) {
    const from = arrowFrom[a], to = arrowTo[a];
    if ((to >= 0 && to < first) || !isShown(from) || (to >= 0 && !isShown(to))) continue;
    const x1 = columns[laneOf[from]], x2 = columns[arrowLane[a]];
    if (x1 === HIDDEN || x2 === HIDDEN) continue;
    const y1 = yOf(from), dim = dims(from) && (to < 0 || dims(to)) ? "dim" : "";
    const kind = arrowKind[a];
    if (to < 0) {
      const reach = Math.max(-44, Math.min(44, (x2 - x1) * .42)), y = y1 + 9;
      const line = path((kind === LOST ? "lost" : "under-way") + dim);
      line.moveTo(x1, y1);
      line.lineTo(x1 + reach, y);
      if (kind === LOST) {
        line.moveTo(x1 + reach - 3.5, y - 3.5);
        line.lineTo(x1 + reach + 3.5, y + 3.5);
        line.moveTo(x1 + reach + 3.5, y - 3.5);
        line.lineTo(x1 + reach - 3.5, y + 3.5);
      }
      continue;
    }
    const y2 = yOf(to);
    const key = laneOf[from] * laneCount + arrowLane[a];
    const pixels = Math.round(y1) * 65536 + Math.round(y2);
    if (seen[key] === pixels) continue;
    seen[key] = pixels;
    drawn++;
    const picked = from === state.pick || to === state.pick;
    const style = picked ? "picked" : (kind === BYTES ? "sent" : "dial") + dim;
    const line = path(style);
    const length = Math.hypot(x2 - x1, y2 - y1) || 1, [ux, uy] = [(x2 - x1) / length, (y2 - y1) / length];
    const ex = x2 - ux * 5, ey = y2 - uy * 5;
    line.moveTo(x1, y1);
    line.lineTo(ex, ey);
    if (tips || picked) {
      const tip = path(`${style} tip`);
      tip.moveTo(ex, ey);
      tip.lineTo(ex - ux * 7 - uy * 3, ey - uy * 7 + ux * 3);
      tip.lineTo(ex - ux * 7 + uy * 3, ey - uy * 7 - ux * 3);
      tip.closePath();
    }
  }
  for (const [style, line] of paths) {
    const name = style.replace(/dim| tip/g, "");
    const colour = { sent: ink.sent, lost: ink.lost, "under-way": ink.sent, dial: ink.dial, picked: ink.pick }[name];
    // A crowd of arrows is drawn faintly, so that what happens among them stays in sight.
    const plain = Math.max(.05, Math.min(.8, 1500 / drawn));
    paint.globalAlpha = style.includes("dim") ? Math.min(.16, plain) : name === "picked" || name === "lost" ? 1 : plain;
    if (style.includes(" tip")) {
      paint.fillStyle = colour;
      paint.fill(line);
    } else {
      paint.strokeStyle = colour;
      paint.lineWidth = name === "picked" ? 2.2 : name === "lost" ? 1.6 : 1.1;
      paint.setLineDash(name === "dial" ? [4, 3] : name === "under-way" ? [2, 2] : []);
      paint.stroke(line);
    }
  }
  paint.setLineDash([]);
  paint.globalAlpha = 1;
};

const drawDots = (begin, end) => {
  const seen = new Int32Array(laneCount).fill(-1e6);
  const size = end - begin > height * 2 ? 2 : 3.2;
  for (let row = begin; row < end; row++) {
    const i = shown[row], x = columns[laneOf[i]], y = yOf(i);
    const pixel = Math.round(y * 2);
    if (seen[laneOf[i]] === pixel && !dead[i] && !isCulprit[i] && i !== state.pick) continue;
    seen[laneOf[i]] = pixel;
    paint.globalAlpha = dims(i) ? .2 : 1;
    if (isCulprit[i]) {
      paint.strokeStyle = ink.lost;
      paint.lineWidth = 2;
      paint.beginPath();
      paint.arc(x, y, 8.5, 0, 7);
      paint.stroke();
    }
    if (dead[i]) {
      paint.strokeStyle = ink.lost;
      paint.lineWidth = 2.5;
      paint.beginPath();
      paint.moveTo(x - 6, y - 6);
      paint.lineTo(x + 6, y + 6);
      paint.moveTo(x + 6, y - 6);
      paint.lineTo(x - 6, y + 6);
      paint.stroke();
    } else {
      paint.fillStyle = ink[GROUPS[groupOf[i]].colour];
      paint.beginPath();
      paint.arc(x, y, i === state.pick ? 5 : size, 0, 7);
      paint.fill();
    }
    if (i === state.pick) {
      paint.strokeStyle = ink.pick;
      paint.lineWidth = 2;
      paint.beginPath();
      paint.arc(x, y, 7, 0, 7);
      paint.stroke();
    }
  }
  paint.globalAlpha = 1;
};

// Of the events that would write on each other's lines, the one that matters most.
const weight = (i) => (i === state.pick ? 9 : isCulprit[i] ? 8 : matching[i] ? 7 : dims(i) ? 0 : [5, 6, 2, 1, 3, 4][groupOf[i]]);
const chooseWords = (begin, end) => {
  const slots = new Map();
  for (let row = begin; row < end; row++) {
    const i = shown[row], slot = Math.floor(yOf(i) / LINE);
    const known = slots.get(slot);
    if (known === undefined || weight(i) > weight(known)) slots.set(slot, i);
  }
  const chosen = [...slots.values()];
  if (state.scale >= LINE && !state.byTime) return chosen;
  let bottom = -1e9;
  return chosen.filter((i) => {
    const y = yOf(i);
    const fits = y - bottom >= LINE - 3 || weight(i) > 7;
    if (fits) bottom = y;
    return fits;
  });
};

const fitText = (text, room) => {
  if (paint.measureText(text).width <= room) return text;
  let keep = Math.min(text.length, Math.ceil(room / 3));
  while (keep > 0 && paint.measureText(`${text.slice(0, keep)}…`).width > room) keep = Math.floor(keep * .94) - (keep < 20 ? 1 : 0);
  return keep > 0 ? `${text.slice(0, keep)}…` : "";
};

const drawRows = () => {
  for (const i of placed) {
    const y = yOf(i);
    const fill = i === state.pick ? ink["pick-soft"] : isCulprit[i] ? ink.alarm : i === state.hover ? ink.hover
      : state.searching && matching[i] && !state.only ? ink.match : null;
    if (!fill) continue;
    paint.fillStyle = fill;
    paint.fillRect(0, y - LINE / 2, width, LINE);
  }
};

const drawWords = () => {
  const room = width - wordsAt - 6;
  paint.font = "12px " + FONT;
  const narrow = width < 560, name = (word) => (narrow ? short(word) : word);
  const whoWide = Math.max(...data.lanes.map((lane) => paint.measureText(`${name(lane)}.0`).width)) + (narrow ? 6 : 10), rest = whoWide + (narrow ? 63 : 76);
  let before = "";
  for (const i of placed) {
    const y = yOf(i) + 4, moment = narrow ? seconds(at[i]).slice(0, -2) : seconds(at[i]);
    paint.globalAlpha = dims(i) ? .4 : 1;
    paint.font = "11px " + FONT;
    if (moment !== before) {
      paint.textAlign = "right";
      paint.fillStyle = ink.soft;
      paint.fillText(moment, GUTTER - 8, y);
      paint.textAlign = "left";
      before = moment;
    }
    paint.font = "12px " + FONT;
    const who = name(whoWord(i)), kind = kindWord(i);
    paint.fillStyle = ink.soft;
    paint.fillText(who, wordsAt, y);
    paint.font = "600 12px " + FONT;
    paint.fillStyle = isCulprit[i] || dead[i] ? ink.lost : ink[["plan", "edge", "ink", "sent", "ink", "notice"][groupOf[i]]];
    paint.fillText(kind, wordsAt + whoWide, y);
    paint.font = "12px " + FONT;
    paint.fillStyle = isCulprit[i] ? ink["alarm-ink"] : ink.ink;
    paint.fillText(fitText(textWord(i), room - rest), wordsAt + rest, y);
  }
  paint.globalAlpha = 1;
};

const drawPhases = () => {
  const names = ["warm-up ends", "trouble ends", "heal", "end"];
  paint.font = "10px " + FONT;
  paint.textAlign = "right";
  let before = -100;
  data.phases.forEach((moment, index) => {
    if ((index < 3 && moment >= data.phases[index + 1]) || moment > lastMoment()) return;
    const y = ((state.byTime ? moment : rank[lowerBound(at, moment)]) - state.top) * state.scale + pad();
    if (y < 0 || y > height || y - before < 12) return;
    before = y;
    paint.strokeStyle = ink.faint;
    paint.setLineDash([1, 3]);
    paint.lineWidth = 1;
    paint.beginPath();
    paint.moveTo(4, Math.round(y) + .5);
    paint.lineTo(wordsAt - 8, Math.round(y) + .5);
    paint.stroke();
    paint.setLineDash([]);
    halo(names[index], wordsAt - 10, y < 14 ? y + 10 : y - 3, ink.soft);
  });
  paint.textAlign = "left";
};

const draw = () => {
  paint.fillStyle = ink.page;
  paint.fillRect(0, 0, width, height);
  const margin = state.byTime ? LINE : 1;
  const begin = Math.max(0, rowAt(-margin) - 1), end = Math.min(shown.length, rowAt(height + margin) + 1);
  placed = chooseWords(begin, end);
  drawRows();
  paint.save();
  paint.beginPath();
  paint.rect(GUTTER - 6, 0, wordsAt - GUTTER, height);
  paint.clip();
  paint.strokeStyle = ink.line;
  paint.lineWidth = 1;
  for (const x of columns) {
    if (x === HIDDEN) continue;
    paint.beginPath();
    paint.moveTo(Math.round(x) + .5, 0);
    paint.lineTo(Math.round(x) + .5, height);
    paint.stroke();
  }
  const labels = drawBands();
  drawPhases();
  if (end > begin) {
    drawArrows(shown[begin], shown[end - 1]);
    drawDots(begin, end);
  }
  drawLabels(labels);
  paint.restore();
  drawWords();
  drawMap();
};

let mapBase = null;
const mapY = (i) => position(i) / Math.max(1, extent()) * height;
const baseOfMap = () => {
  const base = document.createElement("canvas");
  base.width = MAP;
  base.height = height;
  const pen = base.getContext("2d");
  pen.fillStyle = ink.panel;
  pen.fillRect(0, 0, MAP, height);
  // How much there is at each height, by kind; then the marks.
  const rows = Math.max(1, Math.floor(height / 2)), sums = new Float64Array(rows * GROUPS.length);
  let most = 1;
  for (const i of shown) {
    const row = Math.min(rows - 1, Math.floor(mapY(i) / 2));
    sums[row * GROUPS.length + groupOf[i]]++;
  }
  for (let row = 0; row < rows; row++) most = Math.max(most, sums.subarray(row * GROUPS.length, (row + 1) * GROUPS.length).reduce((sum, each) => sum + each, 0));
  for (let row = 0; row < rows; row++) {
    let x = 10;
    GROUPS.forEach((group, index) => {
      const wide = sums[row * GROUPS.length + index] / most * (MAP - 20);
      pen.fillStyle = ink[group.colour];
      pen.globalAlpha = .55;
      pen.fillRect(x, row * 2, wide, 2);
      x += wide;
    });
  }
  pen.globalAlpha = 1;
  pen.fillStyle = ink.pick;
  for (const i of matches.length > 5000 ? [] : matches) pen.fillRect(MAP - 8, mapY(i) - 1, 8, 2);
  pen.fillStyle = ink.lost;
  for (const i of shown) if (dead[i]) pen.fillRect(0, mapY(i) - 1, 8, 2);
  for (const i of culprits) {
    const y = mapY(i);
    pen.fillRect(0, y - 1, MAP, 2);
    pen.beginPath();
    pen.moveTo(0, y - 5);
    pen.lineTo(8, y);
    pen.lineTo(0, y + 5);
    pen.fill();
  }
  return base;
};
const drawMap = () => {
  mapBase ??= baseOfMap();
  paintMap.drawImage(mapBase, 0, 0, MAP, height);
  paintMap.strokeStyle = ink.line;
  paintMap.strokeRect(.5, -.5, MAP, height + 1);
  const top = state.top / Math.max(1, extent()) * height;
  const tall = Math.max(6, height / state.scale / Math.max(1, extent()) * height);
  paintMap.fillStyle = ink.pick;
  paintMap.globalAlpha = .16;
  paintMap.fillRect(1, top, MAP - 1, tall);
  paintMap.globalAlpha = 1;
  paintMap.strokeStyle = ink.pick;
  paintMap.strokeRect(1.5, top + .5, MAP - 2, Math.max(4, Math.min(tall, height - top) - 1));
};

let waiting = false;
const redraw = () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
};
