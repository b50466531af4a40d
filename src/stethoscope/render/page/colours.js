// Colour ramps that are even in lightness and read by colour-blind eyes, as a few stops each.
// viridis: van der Walt and Smith 2015, without its darkest eighth, so that black stays free for "exactly zero".

const STOPS = {
  viridis: ["#482374", "#404387", "#345e8d", "#29788e", "#20908c", "#22a784", "#44be70", "#79d151", "#bdde26", "#fde725"],
  ember: ["#f2efe6", "#f0dcae", "#eabf74", "#dd9c49", "#c87632", "#a9532a", "#843727", "#5b2323"],
  balance: ["#123a6b", "#2a6ba6", "#6ba0c9", "#b5cfe0", "#ecebe4", "#ecc7a4", "#d98d5c", "#b0532a", "#701f12"],
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
