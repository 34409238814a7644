
// ---- charts: Python says how each is drawn, the reader's choices say of what ----

const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = {}; // of each chart its view, and of what it was made

/** Give every target the same colour and dash in all charts, and list in legends only what is drawn. */
function mark(part, all, rows) {
  const targets = unique(rows.map((row) => row.target)).filter((name) => name), places = unique([...all, ...targets]);
  for (const { field, scale } of [part?.color || {}, part?.strokeDash || {}]) {
    if (field === "target") Object.assign(scale, { domain: targets, range: targets.map((name) => scale.range[places.indexOf(name) % scale.range.length]) });
  }
  if (part?.color?.field === "decided") part.color.legend.values = unique(rows.filter((row) => row.verdict).map((row) => DATA.decided[row.verdict] || "not decided"));
  for (const inner of Object.values(part ?? {})) if (typeof inner === "object") mark(inner, all, rows);
}

/** Draw one chart with these rows, if they or its looks have changed; its section is hidden where there are none. */
async function draw(name, rows, all, adjust = () => {}) {
  const box = $(`chart-${name}`);
  if (!rows.length) {
    delete drawn[name];
    box.replaceChildren();
    return;
  }
  const spec = structuredClone(DATA.charts[name]), one = spec.spec || spec;
  const narrow = box.clientWidth < 560;
  one.width = Math.max(180, Math.min(760, box.clientWidth - (narrow ? 130 : 210)));
  if (narrow) spec.config = { ...spec.config, legend: { orient: "bottom", columns: 2 } };
  mark(spec, all, rows);
  if (spec.facet) spec.facet.sort = unique(rows.map((row) => row[spec.facet.field])); // null would be the alphabet
  spec.datasets = { ...spec.datasets, rows };
  spec.description = box.closest("section").querySelector("h2").textContent;
  adjust(spec);
  const config = { ...DATA.looks[dark.matches ? "dark" : "light"], background: "transparent" }, of = key(spec, config);
  if (drawn[name]?.of === of) return;
  const actions = { export: true, source: false, compiled: false, editor: false };
  const { view } = await vegaEmbed(box, spec, { actions, renderer: "svg", config, downloadFileName: `ganbench-${name}` });
  drawn[name] = { view, of };
}

/** Return what the chart of ratios shows: of each case that has several, below its name, the fastest first, and the control. */
function forest(rows, baseline) {
  return unique(rows.map((row) => row.case)).flatMap((name) => {
    const mine = rows.filter((row) => row.case === name && row.ratio !== null).sort((a, b) => b.ratio - a.ratio);
    const beside = mine.find((row) => row.ratio_low !== null && row.control_ratio !== null && row.baseline === baseline);
    const control = beside && { case: name, target: "control", verdict: "control", ratio: beside.control_ratio, ratio_low: beside.control_low, ratio_high: beside.control_high };
    return mine.length > 1 ? [{ case: name, target: "", head: name, verdict: null, ratio: null }, ...mine, ...(control ? [control] : [])] : [];
  });
}
