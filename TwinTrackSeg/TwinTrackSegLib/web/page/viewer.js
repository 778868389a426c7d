// Shows what it is told, and tells what the user does. It holds no sentence and no decision.
"use strict";

const at = (id) => document.getElementById(id);
const views = [...document.querySelectorAll(".view")];
const key = new URLSearchParams(location.search).get("key");
const REFUSED = 4001, AGAIN_MS = 1000, WHEEL_PX = 40, LETTER_PX = 7.2, SLICES = [0, 2, 3];
let live = null, lost = "", labels = {}, colors = {}, keys = [], fixed = {}, state = null, dragging = false;

function connect() {
  live = new WebSocket(`ws://${location.host}/live?key=${encodeURIComponent(key)}`);
  live.binaryType = "arraybuffer";
  live.onopen = () => views.forEach((_, number) => size(number));
  live.onmessage = (message) => (typeof message.data === "string" ? told(JSON.parse(message.data)) : picture(message.data));
  live.onclose = (event) => {
    if (event.code === REFUSED) setTimeout(connect, AGAIN_MS);
    else only(lost);
  };
}

function ask(what, more = {}) {
  if (live.readyState === WebSocket.OPEN) live.send(JSON.stringify({ do: what, ...more }));
}

function only(sentence) {
  at("only").textContent = sentence;
  at("only").hidden = !sentence;
  at("all").hidden = Boolean(sentence);
}

// -- pictures and the mouse in them

function size(number) {
  const box = views[number].querySelector("img").getBoundingClientRect(), scale = devicePixelRatio;
  if (box.width && box.height)
    ask("size", { view: number, width: Math.round(box.width * scale), height: Math.round(box.height * scale) });
}

function picture(data) {
  const number = new Uint8Array(data)[0], image = views[number].querySelector("img"), before = image.src;
  image.onload = image.onerror = () => {
    if (before) URL.revokeObjectURL(before);
    ask("shown", { view: number });
  };
  image.src = URL.createObjectURL(new Blob([data.slice(1)], { type: "image/jpeg" }));
}

function mouse(number, kind, event, more = {}) {
  const box = views[number].querySelector("img").getBoundingClientRect(), scale = devicePixelRatio;
  ask("mouse", {
    view: number, kind, button: Math.max(event.button, 0), ctrl: event.ctrlKey, shift: event.shiftKey, alt: event.altKey,
    x: Math.round((event.clientX - box.left) * scale), y: Math.round((box.bottom - event.clientY) * scale), ...more,
  });
}

function circle(number, event) {
  const { active, diameter_mm, scales } = state?.brush || {}, scale = Object.values(scales || {})[SLICES.indexOf(number)];
  const view = views[number];
  let ring = view.querySelector(".circle");
  if (!active || !scale || event.type === "pointerleave") { ring?.remove(); return; }
  if (!ring) ring = view.appendChild(Object.assign(document.createElement("div"), { className: "circle" }));
  const box = view.querySelector("img").getBoundingClientRect();
  ring.style.left = `${event.clientX - box.left}px`;
  ring.style.top = `${event.clientY - box.top}px`;
  ring.style.width = ring.style.height = `${(diameter_mm * scale) / devicePixelRatio}px`;
}

views.forEach((view, number) => {
  for (const kind of ["pointermove", "pointerleave", "wheel"]) view.addEventListener(kind, (event) => circle(number, event));
  let moved = null, wheel = 0;
  view.addEventListener("contextmenu", (event) => event.preventDefault());
  view.addEventListener("pointerdown", (event) => {
    view.setPointerCapture(event.pointerId);
    mouse(number, "move", event);
    mouse(number, "press", event);
  });
  view.addEventListener("pointerup", (event) => {
    moved = null;
    mouse(number, "move", event);
    mouse(number, "release", event);
  });
  view.addEventListener("pointermove", (event) => {
    if (moved === null) requestAnimationFrame(() => { if (moved) mouse(number, "move", moved); moved = null; });
    moved = event;
  });
  view.addEventListener("pointerleave", (event) => mouse(number, "leave", event));
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    wheel += event.deltaY;
    for (; Math.abs(wheel) >= WHEEL_PX; wheel -= Math.sign(wheel) * WHEEL_PX)
      mouse(number, "wheel", event, { turn: -Math.sign(wheel) });
  }, { passive: false });
  new ResizeObserver(() => size(number)).observe(view);
});

// -- what is told

function told(news) {
  if (news.refused) { only(news.refused); return; }
  if (news.labels) { ({ labels, colors, keys, lost } = fixed = news); label(); }
  only("");
  state = { ...state, ...news };
  document.body.classList.toggle("working", state.working);
  text("status", state.working ? state.workingText : state.status.text);
  at("status").classList.toggle("loud", state.status.loud);
  box();
  save();
  text("ct", state.ct);
  options(at("result"), state.choice.titles.map((title, number) => [number, title]), state.choice.chosen, state.choice.noneText);
  at("result").title = state.choice.tip;
  at("resultRow").hidden = !state.choice.titles.length;
  text("inputHint", state.choice.inputHint);
  text("mismatch", state.choice.mismatch);
  run();
  reading();
  names();
  vesselsOfOnesOwn();
  readersOfOnesOwn();
  setUp();
  curve();
}

function text(id, words) { if (at(id).textContent !== words) at(id).textContent = words; }

function label() {
  for (const element of document.querySelectorAll("[data-label]")) {
    const [words, tip] = labels[element.dataset.label];
    if (words) {
      const inside = element.querySelector("input");
      element.textContent = words;
      if (inside) element.prepend(inside);
    }
    element.title = tip;
  }
  for (const [id, words] of Object.entries(fixed.paths)) if (at(id)) at(id).placeholder = words;
  text("readerAdd", fixed.paths.add);
}

function options(select, pairs, chosen, none = "") {
  const all = none ? [[-1, none], ...pairs] : pairs;
  const now = JSON.stringify(all);
  if (select.dataset.shown !== now) {
    select.dataset.shown = now;
    select.replaceChildren(...all.map(([value, words]) => new Option(words, value)));
  }
  select.value = String(chosen);
}

function buttons(place, list) {
  const now = JSON.stringify(list.map((each) => each.text));
  if (place.dataset.shown !== now) {
    place.dataset.shown = now;
    place.replaceChildren(...list.map(() => document.createElement("button")));
  }
  list.forEach((each, number) => {
    const button = place.children[number];
    button.textContent = each.text;
    button.title = each.tip;
    button.disabled = each.enabled === false;
    button.classList.toggle("pressed", Boolean(each.pressed));
    button.onclick = each.press;
  });
}

function run() {
  const { button, running, fraction, bar, processor } = state.run;
  text("segment", button.text);
  at("segment").title = button.tip;
  at("segment").disabled = !button.enabled;
  at("progress").hidden = !running;
  at("progress").value = fraction;
  text("elapsed", bar);
  text("model", [state.setUp.model, processor].filter(Boolean).join("\n"));
  at("model").title = state.setUp.modelTip;
}

function reading() {
  const { reading } = state, notes = reading.notes, shown = reading.views;
  at("reading").hidden = !reading.present;
  text("badge", notes.badge);
  text("warnings", notes.warnings);
  text("edited", notes.edited);
  text("source", notes.source);
  at("source").classList.toggle("note", notes.sourceIsWarning);
  text("readers", notes.readers);
  text("notes", reading.about);
  text("more", notes.more);
  at("more").parentElement.hidden = !notes.more;
  for (const id of ["more", "warnings", "edited"]) at(id).title = notes.moreTip;
  text("volume", reading.volume);
  at("readerRow").hidden = !reading.readers.length;
  options(at("reader"), reading.readers, reading.reader);
  at("reader").disabled = state.working;
  at("disagreement").checked = reading.disagreement;
  at("disagreement").parentElement.hidden = !reading.spread;
  at("sampleRow").hidden = !reading.samples;
  if (reading.samples) {
    at("sample").max = reading.samples;
    at("sample").value = reading.sample;
    text("sampleNumber", reading.sample);
  }
  if (!dragging) at("threshold").value = reading.threshold;
  at("threshold").disabled = !reading.movable;
  text("level", reading.threshold.toFixed(2));
  buttons(at("ticks"), reading.ticks.map((tick) => (
    { ...tick, enabled: reading.movable, press: () => ask("threshold", { value: tick.level }) })));
  vessels(reading);
  at("lesionRow").hidden = !shown.lesions.length;
  options(at("lesion"), shown.lesions.map((words, number) => [number, words]), Math.min(at("lesion").value || 0, shown.lesions.length - 1));
  at("overlay").checked = shown.overlay;
  at("opacity").value = shown.opacity_percent;
  buttons(at("windows"), shown.windows.map((each) => ({ ...each, press: () => ask("window", { value: each.name }) })));
  brush(reading);
  buttons(at("exports"), (state.exports || []).map((each) => ({ ...each, enabled: !state.working, press: () => ask(each.name) })));
}

// -- names of vessels

const cell = (words, tip = "", kind = "td") => Object.assign(document.createElement(kind), { textContent: words, title: tip });

function names() {
  const { names } = state, body = document.querySelector("#namesTable tbody"), now = JSON.stringify(names.rows);
  at("names").hidden = !names.offered;
  text("namesTitle", names.title);
  text("namesHint", names.hint);
  at("namesHint").classList.toggle("note", !names.checked);
  document.querySelector("#namesTable thead tr").replaceChildren(...fixed.nameHeads.map(([words, tip]) => cell(words, tip, "th")));
  if (body.dataset.shown !== now) {
    body.dataset.shown = now;
    body.replaceChildren(...names.rows.map(nameRow));
  }
  names.rows.forEach((row, number) => {
    const select = body.children[number].querySelector("select");
    if (!select) return;
    options(select, names.choices, row.name);
    select.disabled = !names.checkable || state.working;
  });
  at("namesChecked").checked = names.checked;
  at("namesChecked").disabled = !names.checkable || state.working;
  text("namesCheckText", names.checkText);
}

function nameRow(row) {
  const line = document.createElement("tr");
  line.classList.toggle("bold", row.loud);
  line.title = row.reason;
  line.append(cell(row.title));
  if (!row.there) {
    line.append(Object.assign(cell(row.reason), { className: "why", colSpan: 3 }));
    return line;
  }
  const select = document.createElement("select");
  select.onclick = (event) => event.stopPropagation(); // it is no jump
  select.onchange = () => ask("name", { piece: row.piece, value: select.value });
  line.append(document.createElement("td"), cell(row.source), cell(row.confidence));
  line.children[1].append(select);
  line.onclick = () => ask("nameJump", { piece: row.piece });
  return line;
}

// -- one's own vessels, region and readers, and what is set up

function vesselsOfOnesOwn() {
  const own = state.vessels;
  text("vesselName", own.name);
  text("regionName", own.region);
  text("vesselHint", own.hint);
  at("vesselFile").disabled = state.working;
  at("vesselSegments").hidden = !own.offered;
  for (const name of fixed.vesselNames) {
    const select = at(`vessel${name[0].toUpperCase()}${name.slice(1).toLowerCase()}`);
    options(select, own.segments, own.chosen[name] || "");
    select.onchange = () => ask("vesselSegment", { name, value: select.value });
  }
}

function readersOfOnesOwn() {
  const own = state.own, list = at("readerList"), now = JSON.stringify(own.rows.map((row) => [row.key, row.title]));
  if (list.dataset.shown !== now) {
    list.dataset.shown = now;
    list.replaceChildren(...own.rows.map((row) => {
      const line = document.createElement("li"), words = line.appendChild(document.createElement("label"));
      const box = words.appendChild(Object.assign(document.createElement("input"), { type: "checkbox" }));
      words.append(` ${row.title}`);
      box.onchange = () => ask("tick", { name: row.key, value: box.checked });
      return line;
    }));
  }
  own.rows.forEach((row, number) => { list.children[number].querySelector("input").checked = row.ticked; });
  text("readersHint", own.hint);
  text("cases", own.cases);
  for (const [name, can] of Object.entries(own.pressable)) at(name).disabled = !can || state.working;
  at("readerFile").disabled = at("readerAdd").disabled = state.working;
  document.querySelector("#metrics thead tr").replaceChildren(...fixed.metricHeads.map((words) => cell(words, "", "th")));
  document.querySelector("#metrics tbody").replaceChildren(...own.metrics.map((metric) => {
    const line = document.createElement("tr");
    line.append(cell(metric.title), cell(metric.value, metric.tip));
    return line;
  }));
  at("metrics").hidden = !own.metrics.length;
}

function setUp() {
  options(at("rules"), fixed.rules, state.setUp.rules);
  at("keepScore").checked = state.setUp.keepScore;
  if (document.activeElement !== at("calibrator")) at("calibrator").value = state.setUp.calibrator;
}

function brush(reading) {
  const now = state.brush, choices = { paint: !now.erase, erase: now.erase };
  at("edit").disabled = !reading.editable || now.active;
  at("measure").disabled = !reading.editable || state.working;
  at("restore").disabled = !reading.restorable;
  const opened = now.active && at("brush").hidden;
  at("brush").hidden = !now.active;
  if (opened) at("brush").scrollIntoView({ block: "nearest" });
  for (const id of ["paint", "erase", "undo", "done"]) {
    text(id, fixed.brushTexts[id][0]);
    at(id).title = fixed.brushTexts[id][1];
    at(id).classList.toggle("pressed", Boolean(choices[id]));
  }
  document.querySelector("label[for=diameter]").textContent = fixed.brushTexts.diameter[0];
  at("undo").disabled = !now.canUndo;
  at("diameter").value = now.diameter_mm;
  text("millimeters", String(Math.round(now.diameter_mm)));
  if (!now.active) document.querySelectorAll(".circle").forEach((ring) => ring.remove());
}

function square(category) {
  const [red, green, blue] = colors[category], square = drawn("svg", { class: "category", viewBox: "0 0 1 1" });
  square.append(drawn("rect", { width: 1, height: 1, fill: `rgb(${red}, ${green}, ${blue})` }));
  return square;
}

function vessels(reading) {
  const head = document.querySelector("#vessels thead tr"), body = document.querySelector("#vessels tbody");
  head.replaceChildren(...reading.heads.map(([title, tip]) => Object.assign(document.createElement("th"), { textContent: title, title: tip })));
  body.replaceChildren(...reading.rows.map((row) => {
    const line = document.createElement("tr");
    line.classList.toggle("chosen", row.name === reading.chosen);
    line.title = row.tip;
    row.cells.forEach((words, number) => {
      if (row.whyFrom !== null && number > row.whyFrom && number <= 3) return;
      const cell = line.appendChild(document.createElement("td"));
      if (number === row.whyFrom) Object.assign(cell, { textContent: row.why, colSpan: 4 - number, className: "why" });
      else cell.textContent = words;
      if (number === 0) cell.prepend(square(row.category));
    });
    line.onclick = () => ask("vessel", { value: row.name });
    return line;
  }));
  document.getElementById("vessels").hidden = !reading.rows.length;
}

function save() {
  if (!state.saved || state.saved[0] === save.last) return;
  const [name, file] = state.saved;
  save.last = name;
  const link = Object.assign(document.createElement("a"), { href: `/file/${name}?key=${encodeURIComponent(key)}`, download: file });
  link.click();
}

// -- the curve

function drawn(name, attributes, words = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = words;
  return element;
}

function curve() {
  const svg = at("curve"), chart = state.curve;
  svg.replaceChildren();
  if (!chart) return;
  const { width, height } = svg.getBoundingClientRect(), longest = Math.max(...chart.series.map((series) => series.name.length));
  const legend = Math.min(56 + LETTER_PX * longest, width / 2);
  const left = 52, right = Math.max(width - legend, left + 60), top = 24, bottom = Math.max(height - 36, top + 20);
  const [xTitle, x0, x1] = chart.x, [yTitle, y0, y1] = chart.y;
  const x = (value) => left + ((value - x0) / (x1 - x0)) * (right - left);
  const y = (value) => bottom - ((value - y0) / (y1 - y0)) * (bottom - top);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.append(drawn("text", { x: (left + right) / 2, y: 15, "text-anchor": "middle" }, chart.title));
  for (let part = 0; part <= 4; part++) {
    const angle = y0 + ((y1 - y0) * part) / 4, digits = y1 - y0 > 4 ? 0 : 2, level = x0 + ((x1 - x0) * part) / 4;
    svg.append(
      drawn("line", { class: "grid", x1: left, x2: right, y1: y(angle), y2: y(angle) }),
      drawn("text", { x: left - 6, y: y(angle) + 4, "text-anchor": "end" }, angle.toFixed(digits)),
      drawn("text", { x: x(level), y: bottom + 14, "text-anchor": "middle" }, level.toFixed(2)),
    );
  }
  svg.append(
    drawn("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, xTitle),
    drawn("text", { x: 14, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + bottom) / 2})` }, yTitle),
  );
  chart.series.forEach((series, number) => {
    const color = `rgb(${series.color.join(",")})`, line = top + 6 + 18 * number;
    svg.append(
      drawn("polyline", { points: series.points.map(([a, b]) => `${x(a)},${y(b)}`).join(" "), fill: "none", stroke: color, "stroke-width": 2, "stroke-dasharray": series.dashes }),
      drawn("line", { x1: right + 12, x2: right + 34, y1: line, y2: line, stroke: color, "stroke-width": 2, "stroke-dasharray": series.dashes }),
      drawn("text", { x: right + 40, y: line + 4 }, series.name),
      ...(series.marks ? series.points.map(([a, b]) => drawn("circle", { cx: x(a), cy: y(b), r: 3, fill: color })) : []),
    );
  });
}

// -- what the user does

function box() {
  const dialog = at("box"), words = state.question || state.error;
  dialog.querySelector("p").textContent = words;
  const [yes, no] = state.answers || ["", ""];
  text("yes", yes);
  text("no", no);
  at("no").hidden = !state.question;
  if (words && !dialog.open) dialog.showModal();
  if (!words && dialog.open) dialog.close();
}

at("yes").onclick = () => ask("answer", { yes: true });
at("no").onclick = () => ask("answer", { yes: false });
at("box").oncancel = () => ask("answer", { yes: false });
at("threshold").oninput = (event) => {
  const wanted = Number(event.target.value);
  if (!dragging) requestAnimationFrame(() => { dragging = false; ask("threshold", { value: Number(at("threshold").value) }); });
  dragging = true;
  text("level", wanted.toFixed(2));
};
at("opacity").oninput = (event) => ask("opacity", { value: Number(event.target.value) });
at("overlay").onchange = (event) => ask("overlay", { value: event.target.checked });
at("disagreement").onchange = (event) => ask("disagreement", { value: event.target.checked });
at("sample").oninput = (event) => ask("sample", { value: Number(event.target.value) });
at("reader").onchange = (event) => ask("reader", { value: event.target.value });
at("result").onchange = (event) => ask("result", { value: Number(event.target.value) });
at("lesion").onchange = (event) => ask("lesion", { value: Number(event.target.value) });
for (const id of ["vesselFile", "region", "calibrator", "rules"]) at(id).onchange = (event) => ask(id, { value: event.target.value });
for (const id of ["makeMhr", "evaluate", "addCase", "fit"]) at(id).onclick = () => ask(id);
at("namesChecked").onchange = (event) => ask("namesChecked", { value: event.target.checked });
at("keepScore").onchange = (event) => ask("keepScore", { value: event.target.checked });
at("readersFilter").oninput = (event) => ask("readersFilter", { value: event.target.value });
at("readerForm").onsubmit = (event) => {
  event.preventDefault();
  ask("readerFile", { value: at("readerFile").value });
  at("readerFile").value = "";
};
for (const id of ["edit", "measure", "restore", "undo", "done"]) at(id).onclick = () => ask(id);
for (const id of ["paint", "erase"]) at(id).onclick = () => ask("brush", { erase: id === "erase" });
at("diameter").oninput = (event) => ask("brush", { diameter: Number(event.target.value) });
at("jump").onclick = () => ask("jump");
at("more").onclick = () => ask("fold");
at("segment").onclick = () => ask("segment");
addEventListener("resize", () => { if (state && state.curve) curve(); });
addEventListener("keydown", (event) => {
  const name = (event.ctrlKey ? "Ctrl+" : "") + event.key.replace("Arrow", "");
  if (keys.includes(name)) {
    event.preventDefault();
    ask("key", { value: name });
  }
  if (event.key === "Escape") ask("escape");
});

connect();
