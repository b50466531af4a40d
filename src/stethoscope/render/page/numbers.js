"use strict";
// Numbers out of base64, and numbers as words.

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function floatsOf(text) {
  const bytes = bytesOf(text);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

function words(value, digits = 3) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : "infinite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(Math.min(1, digits - 1)).replace("e+", "e").replace(".0e", "e");
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return String(Number(value.toPrecision(digits)));
}

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// A canvas as sharp as the screen; returns its pen, with one unit to a CSS pixel.
function penOf(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function font(size, weight = 400) {
  return `${weight} ${size}px ${colour("sans")}`;
}

// About `count` round steps between two steps.
function roundSteps(first, last, count) {
  const span = Math.max(1, last - first);
  const power = 10 ** Math.floor(Math.log10(span / count));
  const stride = Math.max(1, [1, 2, 5, 10].map((m) => m * power).find((s) => span / s <= count) || span);
  const ticks = [];
  for (let step = Math.ceil(first / stride) * stride; step <= last; step += stride) ticks.push(step);
  return ticks;
}

// The index of the last entry that is not above `value`.
function lastAtOrBelow(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (sorted[middle] <= value) low = middle; else high = middle - 1;
  }
  return low;
}
