// Colour ramps that are even in lightness and read by colour-blind eyes, as a few stops each.
// viridis: van der Walt and Smith 2015; cividis: Nunez, Anderton and Renslow 2018; both without their darkest
// part, so that black stays free for "exactly zero". balance runs from too small (blue) to too large (red).

const STOPS = {
  viridis: ["#482374", "#404387", "#345e8d", "#29788e", "#20908c", "#22a784", "#44be70", "#79d151", "#bdde26", "#fde725"],
  cividis: ["#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"],
  balance: ["#123a6b", "#2a6ba6", "#6ba0c9", "#aec8da", "#dddcd5", "#e6bd96", "#d98d5c", "#b0532a", "#701f12"],
};
const MISSING = 0, ZERO = 1, NONFINITE = 2, LOWEST = 4;
const RESERVED = { [ZERO]: [0, 0, 0], [NONFINITE]: [226, 0, 163] };

// 256 colours for the codes of the cells.
function palette(ramp) {
  const stops = STOPS[ramp].map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, code) => {
    if (RESERVED[code]) return RESERVED[code];
    const place = Math.max(0, (code - LOWEST) / (255 - LOWEST)) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(place));
    return stops[low].map((from, i) => Math.round(from + (stops[low + 1][i] - from) * (place - low)));
  });
}

function css(rgb) {
  return `rgb(${rgb.join(" ")})`;
}

// Diagonal lines for "no gradient" and "not measured".
function hatch(pen) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const draw = tile.getContext("2d");
  draw.fillStyle = colour("wash");
  draw.fillRect(0, 0, 8, 8);
  draw.strokeStyle = colour("faint");
  draw.lineWidth = 1.4;
  for (const shift of [-8, 0, 8]) {
    draw.beginPath();
    draw.moveTo(shift - 1, 9);
    draw.lineTo(shift + 9, -1);
    draw.stroke();
  }
  return pen.createPattern(tile, "repeat");
}
