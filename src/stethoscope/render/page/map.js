// The health map: layers down, steps across, one fixed scale; findings are pinned where they lie.

const HINT = "Point at a cell, or use the arrow keys, to read it out.";

class HealthMap {
  constructor(place, data) {
    this.data = data;
    this.cells = data.statistics.map((statistic) => bytesOf(statistic.cells));
    this.choice = 0;
    this.byLook = false;
    this.cursor = null;
    this.build(place);
    new ResizeObserver(() => this.draw()).observe(this.stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get statistic() { return this.data.statistics[this.choice]; }

  build(place) {
    this.canvas = make("canvas", { tabindex: "0", role: "img" });
    this.stage = make("div", { class: "stage" }, this.canvas);
    this.about = make("p", { class: "about" });
    this.readout = make("output", { class: "readout", "aria-live": "polite" }, HINT);
    this.ramp = make("canvas", { role: "img" });
    this.legend = make("div", { class: "legend" }, this.ramp);
    const statistics = this.data.statistics.map((statistic) => statistic.label);
    place.append(
      make("div", { class: "controls" },
        choices("Colour", "statistic", statistics, (index) => { this.choice = index; this.draw(); }),
        choices("Across", "across", ["Steps", "Looks"], (index) => { this.byLook = index === 1; this.draw(); })),
      this.about, this.stage, this.readout, this.legend);
    this.pins = this.data.pins.map((pin) => {
      const link = make("a", { class: `pin ${pin.severity}`, href: `#finding-${pin.number}`, title: pin.title }, String(pin.number));
      link.setAttribute("aria-label", `finding ${pin.number}: ${pin.title}`);
      this.stage.append(link);
      return link;
    });
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => { this.cursor = null; this.draw(); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // Where things are: all in CSS pixels.
  measure() {
    const rows = this.statistic.rows.length;
    const width = this.stage.clientWidth;
    const height = Math.max(5, Math.min(32, Math.floor(430 / rows)));
    const pen = this.canvas.getContext("2d");
    pen.font = font(11.5);
    const names = this.statistic.rows.map((row) => this.data.layers[row].name);
    const most = width * (width < 560 ? 0.3 : 0.22);
    this.names = fitted(pen, names, most - 10);
    const left = Math.min(most, 10 + Math.max(...this.names.map((name) => pen.measureText(name).width)));
    this.box = { width, left, top: 4, right: width - 2, row: height, rows, bottom: 4 + rows * height };
  }

  // Left edge of a column; each look is held until the next one.
  x(column) {
    const { left, right } = this.box, { steps, end } = this.data;
    if (this.byLook) return left + (right - left) * (column / steps.length);
    const step = column < steps.length ? steps[column] : end + 1;
    return left + (right - left) * ((step - steps[0]) / Math.max(1, end + 1 - steps[0]));
  }

  xOfStep(step) {
    const { steps, end } = this.data;
    if (step > end) return this.box.right;
    if (this.byLook) return this.x(lastAtOrBelow(steps, step));
    return Math.max(this.box.left, this.box.left + (this.box.right - this.box.left) * ((step - steps[0]) / Math.max(1, end + 1 - steps[0])));
  }

  draw() {
    this.measure();
    const { width, bottom } = this.box;
    if (width < 50) return;
    const pen = penOf(this.canvas, width, bottom + 28);
    this.about.textContent = `Colour: ${this.statistic.about}. Small marks below are looks; a colour is held until the next one.`;
    this.canvas.setAttribute("aria-label", `Health map, ${this.statistic.label}: ${this.box.rows} layers by ${this.data.steps.length} looks. Arrow keys read out cells.`);
    this.drawCells(pen);
    this.drawNames(pen);
    this.drawSteps(pen);
    this.drawPins(pen);
    if (this.cursor) this.drawCursor(pen);
    this.drawLegend();
  }

  drawCells(pen) {
    const colours = palette(this.statistic.ramp).map(css), cells = this.cells[this.choice];
    const columns = this.data.steps.length, { row: height, rows, top } = this.box;
    const pattern = hatch(pen);
    const ratio = window.devicePixelRatio || 1;
    const snap = (x) => Math.round(x * ratio) / ratio;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns;) {
        const code = cells[row * columns + column];
        let next = column + 1;
        while (next < columns && cells[row * columns + next] === code) next++;
        const x = snap(this.x(column));
        pen.fillStyle = code === MISSING ? pattern : colours[code];
        pen.fillRect(x, top + row * height, Math.max(1 / ratio, snap(this.x(next)) - x), height);
        column = next;
      }
    }
    this.drawRare(pen, cells, columns, colours[NONFINITE]);
  }

  // Cells that are not finite stay visible where many looks share a pixel.
  drawRare(pen, cells, columns, magenta) {
    const { row: height, rows, top } = this.box;
    pen.fillStyle = magenta;
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        if (cells[row * columns + column] === NONFINITE)
          pen.fillRect(this.x(column), top + row * height, Math.max(1.5, this.x(column + 1) - this.x(column)), height);
  }

  drawNames(pen) {
    const { left, top, row: height, rows } = this.box;
    const every = Math.ceil(12 / height);
    pen.font = font(11.5);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let row = 0; row < rows; row++) {
      const chosen = this.cursor && this.cursor.row === row;
      if (row % every && !chosen) continue;
      pen.fillStyle = colour(chosen ? "ink" : "quiet");
      if (chosen || !this.cursor || every === 1 || Math.abs(this.cursor.row - row) >= every)
        pen.fillText(this.names[row], left - 6, top + (row + 0.5) * height);
    }
  }

  drawSteps(pen) {
    const { left, right, bottom } = this.box, { steps, end } = this.data;
    pen.font = font(11.5);
    pen.textBaseline = "top";
    pen.fillStyle = colour("quiet");
    pen.strokeStyle = colour("faint");
    pen.fillRect(left, bottom, right - left, 0.5);
    for (let column = 0; column < steps.length; column++) pen.fillRect(this.x(column), bottom + 1, 0.75, 3);
    const count = Math.max(2, Math.floor((right - left) / 75));
    const ticks = this.byLook
      ? roundSteps(0, steps.length - 1, count).map((column) => [this.x(column), steps[column]])
      : roundSteps(steps[0], end, count).map((step) => [this.xOfStep(step), step]);
    for (const [x, step] of ticks) {
      const label = step === ticks[0][1] ? `step ${step.toLocaleString("en-US")}` : step.toLocaleString("en-US");
      const half = pen.measureText(label).width / 2;
      pen.textAlign = "left";
      pen.beginPath(); pen.moveTo(x + 0.5, bottom); pen.lineTo(x + 0.5, bottom + 8); pen.stroke();
      pen.fillText(label, Math.max(left, Math.min(right - 2 * half, x - half)), bottom + 10);
    }
  }

  drawPins(pen) {
    const { left, right } = this.box, taken = [];
    this.data.pins.forEach((pin, index) => {
      const link = this.pins[index], area = this.areaOf(pin);
      link.style.display = area ? "" : "none";
      if (!area) return;
      if (area.outlined) outline(pen, area, pin.severity);
      let x = Math.max(left, Math.min(right - 24, area.x + 3));
      const y = Math.max(0, area.y + Math.min(area.height, 22) / 2 - 10);
      while (taken.some(([a, b]) => Math.abs(a - x) < 24 && Math.abs(b - y) < 20)) x += 25;
      taken.push([x, y]);
      link.style.left = `${Math.min(x, right - 22)}px`;
      link.style.top = `${y}px`;
    });
  }

  // What a finding covers; nothing for one about the whole run. A layer that this statistic does not show
  // is pinned behind the layer before it, without an outline.
  areaOf(pin) {
    const { left, right, top, row: height, bottom } = this.box;
    if (!pin.rows.length && (!pin.steps || pin.steps[0] <= this.data.steps[0])) return null;
    const x = pin.steps ? this.xOfStep(pin.steps[0]) : left;
    const width = (pin.steps ? Math.max(this.xOfStep(pin.steps[1] + 1), x + 3) : right) - x;
    if (!pin.rows.length) return { x, y: top, width, height: bottom - top, outlined: true };
    const rows = this.statistic.rows.flatMap((layer, row) => (pin.rows.includes(layer) ? [row] : []));
    if (!rows.length) {
      const before = this.statistic.rows.filter((layer) => layer < pin.rows[0]).length;
      return { x, y: top + before * height, width, height: 0, outlined: false };
    }
    const first = top + rows[0] * height;
    return { x, y: first, width, height: top + (rows[rows.length - 1] + 1) * height - first, outlined: true };
  }

  drawCursor(pen) {
    const { top, row: height } = this.box, { row, column } = this.cursor;
    const x = this.x(column), wide = Math.max(3, this.x(column + 1) - x);
    pen.lineWidth = 3; pen.strokeStyle = "#000"; pen.strokeRect(x, top + row * height, wide, height);
    pen.lineWidth = 1.5; pen.strokeStyle = "#fff"; pen.strokeRect(x, top + row * height, wide, height);
  }

  drawLegend() {
    const { low, high, log, ramp } = this.statistic, width = Math.min(240, this.stage.clientWidth), inset = 16;
    this.ramp.style.width = `${width}px`;
    const pen = penOf(this.ramp, width, 34), colours = palette(ramp).map(css);
    for (let x = inset; x < width - inset; x++) {
      pen.fillStyle = colours[LOWEST + Math.round(((x - inset) / (width - 2 * inset)) * (255 - LOWEST))];
      pen.fillRect(x, 0, 1.5, 14);
    }
    pen.fillStyle = colour("quiet");
    pen.font = font(11);
    pen.textBaseline = "top";
    pen.textAlign = "center";
    for (const share of [0, 0.5, 1]) {
      const value = log ? 10 ** (Math.log10(low) + share * (Math.log10(high) - Math.log10(low))) : low + share * (high - low);
      pen.fillText(log ? words(Number(value.toPrecision(1)), 1) : `${100 * value}%`, inset + share * (width - 2 * inset), 18);
    }
    this.ramp.setAttribute("aria-label", `colour scale from ${words(low)} to ${words(high)}`);
    while (this.legend.children.length > 1) this.legend.lastChild.remove();
    const used = new Set(this.cells[this.choice]);
    const zero = log ? "exactly zero" : "all zero";
    const missing = this.statistic.key === "gradient" ? "no gradient" : "not measured";
    for (const [code, name] of [[ZERO, zero], [NONFINITE, "NaN or infinite"], [MISSING, missing]])
      this.legend.append(swatch(code, used.has(code) ? name : `${name} (none here)`));
  }

  point(event) {
    const area = this.canvas.getBoundingClientRect(), { left, right, top, row: height, rows } = this.box;
    const x = event.clientX - area.left, row = Math.floor((event.clientY - area.top - top) / height);
    if (x < left || x > right || row < 0 || row >= rows) { this.cursor = null; this.draw(); return; }
    let column = 0;
    while (column + 1 < this.data.steps.length && this.x(column + 1) <= x) column++;
    this.move(row, column);
  }

  key(event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [0, -20], PageDown: [0, 20], Home: [0, -1e9], End: [0, 1e9] };
    if (event.key === "Escape") { this.cursor = null; this.readout.textContent = HINT; this.draw(); return; }
    if (!moves[event.key]) return;
    event.preventDefault();
    const { row, column } = this.cursor || { row: 0, column: 0 };
    this.move(row + moves[event.key][0], column + moves[event.key][1]);
  }

  move(row, column) {
    this.cursor = {
      row: Math.max(0, Math.min(this.box.rows - 1, row)),
      column: Math.max(0, Math.min(this.data.steps.length - 1, column)),
    };
    this.draw();
    this.tell();
  }

  tell() {
    const { row, column } = this.cursor, { rows, label } = this.statistic;
    const layer = this.data.layers[rows[row]];
    const shape = layer.shape.length ? ` ${layer.shape.join(" × ")}` : "";
    const step = this.data.steps[column].toLocaleString("en-US");
    const about = this.data.pins.filter((pin) => pin.rows.includes(rows[row]) && (!pin.steps || (this.data.steps[column] >= pin.steps[0] && this.data.steps[column] <= pin.steps[1])));
    const marks = about.map((pin) => `, finding ${pin.number}`).join("");
    this.readout.replaceChildren(make("b", {}, layer.name), ` (${layer.kind}${shape}), step ${step}: ${label.toLowerCase()} `, make("b", {}, this.valueOf(row, column)), marks);
  }

  valueOf(row, column) {
    const code = this.cells[this.choice][row * this.data.steps.length + column], { low, high, log, key } = this.statistic;
    if (code === MISSING) return key === "gradient" ? "no gradient" : "not measured";
    if (code === ZERO) return log ? "exactly 0" : "100%";
    if (code === NONFINITE) return "NaN or infinite";
    const share = (code - LOWEST) / (255 - LOWEST);
    if (!log) return `${Math.round(100 * (low + share * (high - low)))}%`;
    const edge = share === 0 ? "at most " : share === 1 ? "at least " : "about ";
    return edge + words(10 ** (Math.log10(low) + share * (Math.log10(high) - Math.log10(low))), 2);
  }
}

function outline(pen, { x, y, width, height }, severity) {
  for (const [style, lineWidth] of [[colour("sheet"), 4], [colour(severity), 2]]) {
    pen.strokeStyle = style;
    pen.lineWidth = lineWidth;
    pen.strokeRect(x, y, width, height);
  }
}
