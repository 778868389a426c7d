"use strict";
(function () {
  const PAGE = 100;
  const NOT_CALIBRATED = "read from the map, not calibrated";
  const SCORE = "nothing; these are scores, not readers, since no calibrator was applied";
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const missing = (value) => value === null || value === undefined || value === "";
  const fields = ["case", "folder", "state", "expected", "atThreshold", "lesions", "pattern", "words", "seconds"];
  const cases = data.rows.map((row, index) => {
    const one = { index };
    fields.forEach((name, place) => { one[name] = row[place]; });
    one.vessels = row[fields.length] || [];
    one.digits = row[fields.length + 1] || "";
    one.readers = { calibrated: "calibrated", score: SCORE }[row[fields.length + 2]] || NOT_CALIBRATED;
    one.text = [one.case, one.digits, one.state, one.words, one.pattern].join(" ").toLowerCase();
    one.worst = worst(one);
    return one;
  });
  const done = cases.filter((one) => one.state === "done");
  const lines = (one) => String(one.words || "").split(" | ").filter(Boolean);
  // What is said of every case stands above the table, once.
  const common = done.length > 1 ? lines(done[0]).filter((line) => done.every((one) => lines(one).includes(line))) : [];
  const sources = new Set(done.map((one) => one.readers));
  const scores = sources.has(SCORE); // then all: it is the run's setting
  const told = common.map((line) => "Of all cases: " + line);
  if (sources.size === 1) told.push("What is said of readers: " + [...sources][0] + ", in all cases.");
  byId("common").textContent = told.join(" ");
  byId("common").hidden = told.length === 0;

  function worst(one) {
    let found = null;
    data.vessels.forEach((name, place) => {
      const [, contact, encased] = one.vessels[place] || [];
      if (missing(contact)) return;
      // As in the report: of what is not known the worst; by those who see more than 180 degrees, then by contact.
      const mine = { name, contact, encased, severity: (missing(encased) ? contact : encased) + contact / 1001 };
      if (!found || mine.severity > found.severity) found = mine;
    });
    return found;
  }
  const columns = [
    { title: "", value: null },
    { title: "Case", value: (one) => one.case },
    { title: "Worst vessel", value: (one) => (one.worst ? one.worst.severity : null) },
    { title: scores ? "Score sum mL" : "Expected mL", value: (one) => one.expected },
    { title: "At threshold mL", value: (one) => one.atThreshold },
    { title: "Lesions", value: (one) => one.lesions },
    ...data.vessels.map((name, place) => ({ title: name, value: (one) => (one.vessels[place] || [null])[0] })),
    { title: "Contact pattern", value: (one) => one.pattern },
    ...(sources.size === 1 ? [] : [{ title: "Readers", value: (one) => one.readers }]),
    { title: "Seconds", value: (one) => one.seconds },
    { title: "Warnings", value: (one) => one.words },
  ];
  let sorted = { column: columns.findIndex((column) => column.title === "Worst vessel"), down: true };
  let page = 0;

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (className) made.className = className;
    return made;
  }
  const fixed = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));
  const fraction = (value) => {
    if (missing(value)) return "";
    if (scores) return "score " + value.toFixed(2);
    return value < 0.03 ? "under 3 %" : value > 0.97 ? "over 97 %" : (100 * value).toFixed(0) + " %";
  };

  function bar(contact, encased) {
    const made = element("span", null, "bar");
    made.title = "contact " + fraction(contact) + ", more than 180 degrees " + fraction(encased);
    [contact, encased || 0].forEach((part) => {
      const piece = element("i");
      piece.style.width = 100 * part + "%";
      made.append(piece);
    });
    return made;
  }

  function compare(one, other, value) {
    const a = value(one), b = value(other);
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return sorted.down ? -order : order;
  }

  function chosen() {
    const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = byId("state").value, pattern = byId("pattern").value;
    const found = cases.filter((one) =>
      words.every((word) => one.text.includes(word)) && (!pattern || one.pattern === pattern) &&
      (!state || one.state === state || (state === "lesion" && one.lesions > 0) || (state === "none" && one.lesions === 0)));
    if (sorted.column !== null) {
      const value = columns[sorted.column].value;
      found.sort((one, other) => compare(one, other, value) || one.index - other.index);
    }
    return found;
  }

  function thumbnail(address) {
    const image = element("img");
    image.loading = "lazy";
    image.alt = "";
    image.addEventListener("error", () => image.replaceWith(element("small", "no picture")));
    image.src = address + "/thumbnail.jpg";
    return image;
  }

  function row(one) {
    const line = element("tr", null, one.state);
    const picture = element("td");
    const name = element("td", null, "name");
    line.append(picture, name);
    if (one.state !== "done") {
      const reason = element("td", one.words, "words");
      reason.colSpan = columns.length - 2;
      name.append(element("span", one.case), element("small", "failed"));
      line.append(reason);
      return line;
    }
    const address = one.folder.split("/").map(encodeURIComponent).join("/");
    const link = element("a", one.case);
    link.href = address + "/report.html";
    picture.append(thumbnail(address));
    name.append(link);
    if (one.digits) name.append(element("small", "CT " + one.digits));
    const touched = one.worst && one.worst.contact >= 0.03;
    const worstCell = element("td", touched ? one.worst.name : one.worst ? "none" : "", "worst");
    if (one.worst) worstCell.append(element("small", fraction(one.worst.contact) + " contact"));
    if (touched) worstCell.append(element("small", (fraction(one.worst.encased) || "not known how many") + " over 180°"));
    line.append(worstCell, element("td", fixed(one.expected, 1), "number"));
    line.append(element("td", fixed(one.atThreshold, 1), "number"), element("td", one.lesions, "number"));
    data.vessels.forEach((_, place) => {
      const [angle, contact, encased, coverage, gap, source] = one.vessels[place] || [null, null, null, null, null, null];
      const unknown = missing(contact) && !missing(coverage) ? "not assessed" : "";
      const cell = element("td", missing(angle) ? unknown : fixed(angle, 0) + "°", "number");
      if (!missing(contact)) cell.append(bar(contact, encased), element("small", fraction(contact) + (contact < 0.03 ? "" : " · " + fraction(encased))));
      if (!missing(contact) && one.readers === "calibrated" && source !== "calibrated") cell.append(element("small", "not calibrated"));
      if (!missing(gap) && gap > 0) cell.append(element("small", fixed(gap, 1) + " mm away"));
      if (!missing(coverage)) cell.append(element("small", (100 * coverage).toFixed(0) + " % searched"));
      line.append(cell);
    });
    line.append(element("td", one.pattern));
    if (sources.size !== 1) line.append(element("td", one.readers));
    line.append(element("td", fixed(one.seconds, 1), "number"), element("td", lines(one).filter((text) => !common.includes(text)).join(" | "), "words"));
    return line;
  }

  function show() {
    const found = chosen();
    const pages = Math.max(Math.ceil(found.length / PAGE), 1);
    page = Math.min(page, pages - 1);
    byId("body").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(row));
    byId("where").textContent = found.length + " of " + cases.length + " cases, page " + (page + 1) + " of " + pages;
    byId("back").disabled = page === 0;
    byId("on").disabled = page + 1 >= pages;
    [...byId("head").children].forEach((cell, place) => {
      const mine = place === sorted.column;
      cell.setAttribute("aria-sort", mine ? (sorted.down ? "descending" : "ascending") : "none");
      if (cell.firstChild) cell.firstChild.textContent = columns[place].title + (mine ? (sorted.down ? " ▼" : " ▲") : "");
    });
  }

  columns.forEach((column, place) => {
    const cell = element("th");
    cell.scope = "col";
    if (column.value) {
      const button = element("button", column.title);
      button.type = "button";
      button.addEventListener("click", () => {
        sorted = { column: place, down: sorted.column === place ? !sorted.down : false };
        page = 0;
        show();
      });
      cell.append(button);
    }
    byId("head").append(cell);
  });
  [...new Set(cases.map((one) => one.pattern).filter(Boolean))].sort().forEach((pattern) => {
    const option = element("option", pattern);
    option.value = pattern;
    byId("pattern").append(option);
  });
  ["find", "state", "pattern"].forEach((id) => byId(id).addEventListener("input", () => { page = 0; show(); }));
  byId("failed").addEventListener("click", () => { byId("state").value = "failed"; page = 0; show(); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("back").addEventListener("click", () => { page -= 1; show(); });
  byId("on").addEventListener("click", () => { page += 1; show(); });
  show();
})();
