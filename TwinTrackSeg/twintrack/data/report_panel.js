"use strict";
(async function () {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("panel-data").textContent);
  if (typeof DecompressionStream === "undefined") return; // the pictures below say the same
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpacked = (text) =>
    new Response(new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
  const [ct, map] = (await Promise.all([unpacked(data.ct), unpacked(data.map)])).map((buffer) => new Uint8Array(buffer));
  const colors = bytes(data.colors), [nx, ny, nz] = data.size, FINE = 2;
  let at = data.at.slice(), step = data.start, opacity = data.opacity, vessel = data.vessels.findIndex((one) => one.at);

  function sample(values, x, y, z) {
    if (x < 0 || y < 0 || z < 0 || x > nx - 1 || y > ny - 1 || z > nz - 1) return 0;
    const i = Math.min(x | 0, nx - 2), j = Math.min(y | 0, ny - 2), k = Math.min(z | 0, nz - 2);
    const a = x - i, b = y - j, c = z - k, p = (k * ny + j) * nx + i, q = p + nx, r = p + nx * ny, s = r + nx;
    return (
      (1 - c) * ((1 - b) * ((1 - a) * values[p] + a * values[p + 1]) + b * ((1 - a) * values[q] + a * values[q + 1])) +
      c * ((1 - b) * ((1 - a) * values[r] + a * values[r + 1]) + b * ((1 - a) * values[s] + a * values[s + 1]))
    );
  }

  // A view: where its first pixel lies, and one voxel across and down.
  function plane(name) {
    if (name === "axial") return { from: [0, 0, at[2]], right: [1, 0, 0], down: [0, 1, 0], width: nx, height: ny };
    if (name === "coronal") return { from: [0, at[1], nz - 1], right: [1, 0, 0], down: [0, 0, -1], width: nx, height: nz };
    if (name === "sagittal") return { from: [at[0], 0, nz - 1], right: [0, 1, 0], down: [0, 0, -1], width: ny, height: nz };
    const one = data.vessels[vessel], side = 2 * one.half;
    const from = one.at.map((value, axis) => value - one.half * (one.right[axis] + one.down[axis]));
    return { from, right: one.right, down: one.down, width: side, height: side };
  }

  const views = [...document.querySelectorAll("#panel canvas")].map((canvas) => ({ canvas, name: canvas.dataset.view }));

  function look(view) {
    const { from, right, down, width, height } = (view.plane = plane(view.name));
    const across = Math.max(2, Math.round(width * FINE)), deep = Math.max(2, Math.round(height * FINE));
    view.ct = new Float32Array(across * deep);
    view.map = new Float32Array(across * deep);
    for (let v = 0, n = 0; v < deep; v++)
      for (let u = 0; u < across; u++, n++) {
        const x = from[0] + (u * right[0] + v * down[0]) / FINE;
        const y = from[1] + (u * right[1] + v * down[1]) / FINE;
        const z = from[2] + (u * right[2] + v * down[2]) / FINE;
        view.ct[n] = sample(ct, x, y, z);
        view.map[n] = sample(map, x, y, z);
      }
    view.canvas.width = across;
    view.canvas.height = deep;
    view.image = new ImageData(across, deep);
  }

  function paint(view) {
    const pen = view.canvas.getContext("2d"), pixels = view.image.data;
    const level = (255 * (step + 1)) / 100, least = Math.min(data.shown, level);
    for (let n = 0; n < view.ct.length; n++) {
      const value = view.map[n] | 0, share = view.map[n] >= least ? opacity : 0;
      for (let part = 0; part < 3; part++) pixels[4 * n + part] = (1 - share) * view.ct[n] + share * colors[3 * value + part];
      pixels[4 * n + 3] = 255;
    }
    pen.putImageData(view.image, 0, 0);
    pen.beginPath();
    contour(view.map, view.canvas.width, view.canvas.height, level, (x, y, to, down) => {
      pen.moveTo(x + 0.5, y + 0.5);
      pen.lineTo(to + 0.5, down + 0.5);
    });
    pen.lineWidth = 1.2;
    pen.strokeStyle = "#00e5ff";
    pen.stroke();
    if (view.name !== "vessel") cross(view, pen);
  }

  // Pieces of the line where the values pass a level, between the centres of four neighbours each.
  function contour(values, width, height, level, line) {
    const part = (a, b) => (level - a) / (b - a);
    for (let y = 0; y + 1 < height; y++)
      for (let x = 0; x + 1 < width; x++) {
        const n = y * width + x, a = values[n], b = values[n + 1], c = values[n + width + 1], d = values[n + width];
        const over = (a >= level) + (b >= level) + (c >= level) + (d >= level);
        if (over === 0 || over === 4) continue;
        const ends = [];
        if (a >= level !== b >= level) ends.push([x + part(a, b), y]);
        if (b >= level !== c >= level) ends.push([x + 1, y + part(b, c)]);
        if (c >= level !== d >= level) ends.push([x + 1 - part(c, d), y + 1]);
        if (d >= level !== a >= level) ends.push([x, y + 1 - part(d, a)]);
        for (let end = 0; end + 1 < ends.length; end += 2) line(...ends[end], ...ends[end + 1]);
      }
  }

  function cross(view, pen) {
    const { from, right, down } = view.plane;
    const [u, v] = [right, down].map((way) => way.reduce((sum, one, axis) => sum + one * (at[axis] - from[axis]), 0) * FINE);
    pen.beginPath();
    [[u, 0, u, 6], [u, view.canvas.height - 6, u, view.canvas.height], [0, v, 6, v], [view.canvas.width - 6, v, view.canvas.width, v]]
      .forEach(([a, b, c, d]) => { pen.moveTo(a, b); pen.lineTo(c, d); });
    pen.lineWidth = 1;
    pen.strokeStyle = "#ffd84d";
    pen.stroke();
  }

  function say() {
    byId("panel-level").textContent = data.levels[step];
    byId("panel-volume").textContent = data.volumes[step];
    byId("panel-threshold").setAttribute("aria-valuetext", data.levels[step] + ", " + data.volumes[step]);
    rows.forEach(({ text }, place) => { text.textContent = data.vessels[place].lines[step]; });
  }

  const rows = data.vessels.map((one, place) => {
    const line = document.createElement("li"), button = document.createElement("button"), text = document.createElement("span");
    button.type = "button";
    button.textContent = one.name;
    button.disabled = !one.at;
    button.addEventListener("click", () => {
      vessel = place;
      at = one.at.slice();
      all();
    });
    line.append(button, " ", text);
    byId("panel-vessels").append(line);
    return { button, text };
  });

  function all() {
    rows.forEach(({ button }, place) => button.setAttribute("aria-pressed", place === vessel));
    views.filter((view) => view.name !== "vessel" || vessel >= 0).forEach((view) => { look(view); paint(view); });
    if (vessel >= 0) byId("panel-across").textContent = "Across: " + data.vessels[vessel].name + ". " + data.vessels[vessel].sides;
  }

  views.forEach((view) => {
    if (view.name === "vessel") return;
    view.canvas.addEventListener("pointerdown", (event) => {
      const box = view.canvas.getBoundingClientRect(), { from, right, down, width, height } = view.plane;
      const u = ((event.clientX - box.left) / box.width) * width, v = ((event.clientY - box.top) / box.height) * height;
      [right, down].forEach((way, place) => {
        const axis = way.findIndex(Boolean);
        at[axis] = from[axis] + way[axis] * (place ? v : u);
      });
      all();
    });
    view.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const axis = { axial: 2, coronal: 1, sagittal: 0 }[view.name];
      at[axis] = Math.max(0, Math.min(data.size[axis] - 1, at[axis] + Math.sign(event.deltaY)));
      all();
    }, { passive: false });
  });
  byId("panel-threshold").addEventListener("input", (event) => {
    step = event.target.value - 1;
    say();
    views.filter((view) => view.image).forEach(paint);
  });
  byId("panel-opacity").addEventListener("input", (event) => {
    opacity = event.target.value / 100;
    views.filter((view) => view.image).forEach(paint);
  });
  data.ticks.forEach((place) => {
    const tick = document.createElement("option");
    tick.value = place + 1;
    byId("panel-ticks").append(tick);
  });
  byId("panel-step").textContent = data.step_mm;
  byId("panel-threshold").value = step + 1;
  byId("panel-opacity").value = Math.round(100 * opacity);
  if (vessel < 0) views.filter((view) => view.name === "vessel").forEach((view) => view.canvas.parentNode.remove());
  else at = data.vessels[vessel].at.slice();
  byId("panel").hidden = false;
  say();
  all();
})();
