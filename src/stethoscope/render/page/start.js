// The page is complete without this; here the pictures are drawn.

(function start() {
  const data = JSON.parse(document.getElementById("pictures").textContent);
  const map = document.getElementById("health-map");
  if (map && data.map.layers) new HealthMap(map, data.map);
  const panels = document.getElementById("curve-panels");
  if (!panels) return;
  let last = data.map.end || 1;
  for (const panel of data.curves) for (const curve of panel.curves) last = Math.max(last, ...floatsOf(curve.steps).slice(-1));
  const flags = (data.map.pins || []).filter((pin) => pin.steps && pin.steps[0] > 0);
  for (const panel of data.curves) new Panel(panels, panel, panel.key === "loss" ? flags : [], [0, last]);
})();
