// What stands round the pictures: choices, swatches, names that fit.

function choices(title, name, labels, pick) {
  const group = make("fieldset", { class: "choices", "aria-label": title });
  labels.forEach((label, index) => {
    const input = make("input", { type: "radio", name });
    input.checked = index === 0;
    input.addEventListener("change", () => pick(index));
    group.append(make("label", {}, input, make("span", {}, label)));
  });
  return group;
}

function swatch(code, name) {
  const canvas = make("canvas"), pen = penOf(canvas, 18, 18);
  pen.fillStyle = code === MISSING ? hatch(pen) : css(RESERVED[code]);
  pen.fillRect(0, 0, 18, 18);
  return make("span", { class: "swatch" }, canvas, name);
}

// Names that fit: where one is too long, all lose the path that they share, and then their middle.
function fitted(pen, names, width) {
  const fits = (name) => pen.measureText(name).width <= width;
  if (names.every(fits)) return names;
  let shared = 0;
  while (names.length > 1 && names.every((name) => name.split(".")[shared + 1] && name.split(".")[shared] === names[0].split(".")[shared])) shared++;
  return names.map((name) => {
    const short = name.split(".").slice(shared).join(".");
    let kept = short.length;
    const cut = () => `${short.slice(0, Math.ceil(kept * 0.4))}…${short.slice(short.length - Math.floor(kept * 0.6))}`;
    if (fits(short)) return short;
    while (kept > 2 && !fits(cut())) kept--;
    return cut();
  });
}
