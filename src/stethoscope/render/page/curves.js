// Loss, metrics, rates and norms: training faint with its running median, validation as points.

class Panel {
  constructor(place, data, flags, span) {
    this.data = data;
    this.flags = flags;
    this.span = span;
    this.log = data.log;
    this.curves = data.curves.map((curve) => ({
      ...curve, steps: floatsOf(curve.steps), values: floatsOf(curve.values),
      smoothSteps: floatsOf(curve.smooth_steps), smooth: floatsOf(curve.smooth),
    }));
    this.pointer = null;
    this.build(place);
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  build(place) {
    this.canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": this.summary() });
    this.keys = make("ul", { class: "keys" });
    this.readout = make("output", { class: "readout", "aria-live": "polite" });
    const head = make("div", { class: "panel-head" }, make("h3", {}, this.data.title));
    if (this.curves.some((curve) => curve.values.some((value) => value > 0))) {
      const axis = choices("Axis", `axis-${this.data.key}`, ["Linear", "Log"], (index) => { this.log = index === 1; this.draw(); });
      axis.querySelectorAll("input")[this.log ? 1 : 0].checked = true;
      head.append(axis);
    }
    const wide = this.data.key === "loss" ? " wide" : "";
    place.append(make("section", { class: `panel${wide}`, "aria-label": this.data.title }, head, make("div", { class: "stage" }, this.canvas), this.keys, this.readout));
    this.canvas.addEventListener("pointermove", (event) => this.point(event.clientX - this.canvas.getBoundingClientRect().left));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event.clientX - this.canvas.getBoundingClientRect().left));
    this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  summary() {
    return this.curves.map((curve) => {
      const last = curve.values.length ? words(curve.values[curve.values.length - 1]) : "nothing";
      return `${curve.name}: ${curve.count.toLocaleString("en-US")} values, last ${last}`;
    }).join("; ");
  }

  measure() {
    const width = this.canvas.parentElement.clientWidth, height = this.data.key === "loss" ? 300 : 190;
    let low = Infinity, high = -Infinity;
    for (const curve of this.curves)
      for (const value of curve.values)
        if (Number.isFinite(value) && !(this.log && value <= 0)) { low = Math.min(low, value); high = Math.max(high, value); }
    if (!(low <= high)) [low, high] = this.log ? [0.1, 1] : [0, 1];
    const level = this.data.level;
    if (level !== null && Number.isFinite(level)) { low = Math.min(low, level); high = Math.max(high, level); }
    if (this.data.key === "accuracy") { low = Math.min(low, 0); high = Math.max(high, 1); }
    let [bottom, top] = this.log ? [Math.log10(low), Math.log10(high)] : [low, high];
    const pad = 0.05 * (top - bottom) || Math.abs(top) * 0.1 || 0.5;
    this.box = { width, height, left: 50, right: width - 10, top: 16, floor: height - 26, low: bottom - pad, high: top + pad };
  }

  x(step) {
    const [first, last] = this.span;
    return this.box.left + ((step - first) / Math.max(1, last - first)) * (this.box.right - this.box.left);
  }

  y(value) {
    const { top, floor, low, high } = this.box;
    const place = this.log ? (value > 0 ? Math.log10(value) : low) : value;
    return floor - ((place - low) / (high - low)) * (floor - top);
  }

  draw() {
    this.measure();
    if (this.box.width < 50) return;
    const pen = penOf(this.canvas, this.box.width, this.box.height);
    pen.lineJoin = "round";
    this.drawAxes(pen);
    this.drawBad(pen);
    this.curves.forEach((curve, index) => this.drawCurve(pen, curve, colour(`series-${index}`)));
    this.drawLevel(pen);
    this.drawFlags(pen);
    if (this.pointer !== null) this.drawPointer(pen);
    this.drawKeys();
  }

  ticks() {
    const { low, high } = this.box;
    if (!this.log) {
      const power = 10 ** Math.floor(Math.log10((high - low) / 4));
      const stride = [1, 2, 5, 10].map((m) => m * power).find((s) => (high - low) / s <= 5);
      const list = [];
      for (let value = Math.ceil(low / stride) * stride; value <= high; value += stride) list.push(Number(value.toPrecision(6)));
      return list;
    }
    const decades = high - low, list = [];
    const steps = decades > 8 ? [1] : decades > 2 ? [1] : decades > 0.8 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
    const skip = decades > 8 ? Math.ceil(decades / 6) : 1;
    for (let power = Math.floor(low); power <= high; power += 1)
      if (power % skip === 0) for (const step of steps) { const value = step * 10 ** power; if (Math.log10(value) >= low && Math.log10(value) <= high) list.push(value); }
    return list;
  }

  drawAxes(pen) {
    const { left, right, top, floor } = this.box;
    pen.font = font(11.5);
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const value of this.ticks()) {
      const y = Math.round(this.y(value)) + 0.5;
      pen.strokeStyle = colour("line");
      pen.beginPath(); pen.moveTo(left, y); pen.lineTo(right, y); pen.stroke();
      pen.fillStyle = colour("quiet");
      pen.fillText(words(value), left - 8, y);
    }
    pen.textBaseline = "top";
    const count = Math.max(2, Math.floor((right - left) / 75));
    roundSteps(...this.span, count).forEach((step, index) => {
      const label = index ? step.toLocaleString("en-US") : `step ${step.toLocaleString("en-US")}`;
      pen.textAlign = index ? "center" : "left";
      if (!index || this.x(step) < right - 12) pen.fillText(label, this.x(step), floor + 8);
    });
    pen.strokeStyle = colour("faint");
    pen.beginPath(); pen.moveTo(left, floor + 0.5); pen.lineTo(right, floor + 0.5); pen.stroke();
    pen.clearRect(0, 0, 0, top);
  }

  drawLevel(pen) {
    const level = this.data.level;
    if (level === null || !Number.isFinite(level)) return;
    const y = this.y(level);
    pen.setLineDash([2, 4]);
    pen.strokeStyle = colour("quiet");
    pen.beginPath(); pen.moveTo(this.box.left, y); pen.lineTo(this.box.right, y); pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = colour("quiet");
    pen.font = font(11);
    pen.textAlign = "right";
    pen.textBaseline = "bottom";
    pen.strokeStyle = colour("paper");
    pen.lineWidth = 4;
    pen.strokeText(`guessing: ${words(level)}`, this.box.right - 2, y - 3);
    pen.fillText(`guessing: ${words(level)}`, this.box.right - 2, y - 3);
  }

  drawCurve(pen, curve, ink) {
    const training = curve.phase !== "validation", smoothed = curve.smooth.length > 0;
    pen.globalAlpha = training && smoothed ? 0.32 : 1;
    this.line(pen, curve.steps, curve.values, ink, training && smoothed ? 1 : 1.6);
    pen.globalAlpha = 1;
    if (smoothed) this.line(pen, curve.smoothSteps, curve.smooth, ink, 2);
    if (!training && curve.steps.length <= 80) this.dots(pen, curve, ink);
  }

  line(pen, steps, values, ink, width) {
    pen.strokeStyle = ink;
    pen.lineWidth = width;
    pen.beginPath();
    let down = false;
    for (let i = 0; i < steps.length; i++) {
      if (!Number.isFinite(values[i])) { down = false; continue; }
      if (down) pen.lineTo(this.x(steps[i]), this.y(values[i])); else pen.moveTo(this.x(steps[i]), this.y(values[i]));
      down = true;
    }
    pen.stroke();
  }

  dots(pen, curve, ink) {
    pen.fillStyle = ink;
    for (let i = 0; i < curve.steps.length; i++) {
      if (!Number.isFinite(curve.values[i])) continue;
      pen.beginPath();
      pen.arc(this.x(curve.steps[i]), this.y(curve.values[i]), 3, 0, 7);
      pen.fill();
    }
  }

  // Values that are no numbers are drawn as such, over the full height.
  drawBad(pen) {
    const { top, floor } = this.box;
    pen.fillStyle = colour("bad");
    for (const [first, last] of united(this.curves.flatMap((curve) => curve.bad))) {
      const x = this.x(first), wide = Math.max(2, this.x(last) - x);
      pen.globalAlpha = 0.22;
      pen.fillRect(x, top, wide, floor - top);
      pen.globalAlpha = 1;
      pen.fillRect(x, top, 2, floor - top);
      if (wide < 100) continue;
      pen.font = font(11.5);
      pen.textAlign = "left";
      pen.textBaseline = "top";
      pen.fillText("NaN or infinite", x + 8, top + 6);
    }
  }

  drawFlags(pen) {
    pen.font = font(11, 600);
    pen.textBaseline = "bottom";
    pen.textAlign = "center";
    for (const flag of this.flags) {
      const x = this.x(flag.steps[0]);
      pen.strokeStyle = pen.fillStyle = colour(flag.severity);
      pen.setLineDash([3, 3]);
      pen.lineWidth = 1;
      pen.beginPath(); pen.moveTo(x, this.box.top); pen.lineTo(x, this.box.floor); pen.stroke();
      pen.setLineDash([]);
      pen.fillText(String(flag.number), x, this.box.top - 1);
    }
  }

  drawPointer(pen) {
    const x = this.x(this.pointer);
    pen.strokeStyle = colour("ink");
    pen.globalAlpha = 0.5;
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(x, this.box.top); pen.lineTo(x, this.box.floor); pen.stroke();
    pen.globalAlpha = 1;
  }

  drawKeys() {
    this.keys.replaceChildren(...this.curves.map((curve, index) => {
      const canvas = make("canvas"), pen = penOf(canvas, 24, 12);
      pen.strokeStyle = pen.fillStyle = colour(`series-${index}`);
      pen.lineWidth = 2;
      pen.beginPath(); pen.moveTo(0, 6); pen.lineTo(24, 6); pen.stroke();
      if (curve.phase === "validation") { pen.beginPath(); pen.arc(12, 6, 3, 0, 7); pen.fill(); }
      const smoothed = curve.smooth.length ? ", with its running median" : "";
      return make("li", {}, canvas, `${curve.name}${smoothed}`);
    }));
    if (this.data.left_out) this.keys.append(make("li", {}, `and ${this.data.left_out} more, not drawn`));
  }

  point(x) {
    const [first, last] = this.span, { left, right } = this.box;
    if (x < left || x > right) { this.pointer = null; this.draw(); return; }
    this.move(Math.round(first + ((x - left) / (right - left)) * (last - first)));
  }

  key(event) {
    const [first, last] = this.span, stride = Math.max(1, Math.round((last - first) / 200));
    const moves = { ArrowLeft: -stride, ArrowRight: stride, Home: -1e12, End: 1e12 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.move(Math.max(first, Math.min(last, (this.pointer === null ? first : this.pointer) + moves[event.key])));
  }

  move(step) {
    this.pointer = step;
    this.draw();
    const parts = this.curves.filter((curve) => curve.steps.length && curve.steps[0] <= step).map((curve) => {
      const near = lastAtOrBelow(curve.steps, step);
      const broken = curve.bad.some(([first, last]) => step >= first && step <= last);
      return `${curve.name} ${broken ? "NaN or infinite" : words(curve.values[near])}`;
    });
    this.readout.replaceChildren(make("b", {}, `step ${step.toLocaleString("en-US")}`), parts.length ? `: ${parts.join(", ")}` : "");
  }
}

// Stretches of several curves, with those that overlap made one.
function united(stretches) {
  const list = [];
  for (const [first, last] of [...stretches].sort((a, b) => a[0] - b[0])) {
    const before = list[list.length - 1];
    if (before && first <= before[1]) before[1] = Math.max(before[1], last); else list.push([first, last]);
  }
  return list;
}
