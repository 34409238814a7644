"use strict";
// What the reader chose stands in the address; everything below is drawn from it and from the data in the page.
// Texts of results go into the page as text only (textContent), never as markup.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const unpacked = ({ names, rows }) => rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
  const [CELLS, PAIRS, VARIED, HISTORY] = [DATA.cells, DATA.pairs, DATA.varied, DATA.history].map(unpacked);
  const KEYS = DATA.keys, NAMES = { source: "measured by" };
  const $ = (id) => document.getElementById(id);
  const unique = (values) => [...new Set(values)];
  const pairOf = new Map(PAIRS.map((pair) => [key(pair.run_id, pair.operation, pair.target, pair.baseline), pair]));
  const state = {};

  function key(...parts) { return JSON.stringify(parts); }

  function element(name, text, ...children) {
    const made = document.createElement(name);
    if (text !== null && text !== undefined) made.textContent = text;
    made.append(...children);
    return made;
  }

  // ---- choices ----

  const contextOf = (row) => KEYS.map((name) => String(row[name]));
  const newest = new Map();
  for (const row of CELLS) {
    const id = key(...contextOf(row)), time = row.word ? "" : row.timestamp || "";
    if (!newest.has(id) || newest.get(id) < time) newest.set(id, time);
  }
  const CONTEXTS = [...newest].sort((a, b) => (a[1] < b[1] ? 1 : a[1] > b[1] ? -1 : 0)).map(([id]) => JSON.parse(id));

  /** Return the context with the most of the wanted values; the value of ``fixed`` must be as wanted. */
  function nearest(wanted, fixed) {
    const fits = (context) => KEYS.reduce((sum, name, i) => sum + (context[i] === wanted[name]), 0);
    const place = KEYS.indexOf(fixed);
    const possible = CONTEXTS.filter((context) => place < 0 || context[place] === wanted[fixed]);
    return (possible.length ? possible : CONTEXTS).reduce((best, one) => (fits(one) > fits(best) ? one : best));
  }

  function rowsHere(rows, free) {
    return rows.filter((row) => KEYS.every((name) => name === free || row[name] === null || String(row[name]) === state[name]));
  }

  /** Make every choice one that exists; what does not becomes the nearest that does. */
  function settle(changed) {
    nearest(state, changed).forEach((value, i) => { state[KEYS[i]] = value; });
    const here = rowsHere(CELLS), timed = here.filter((row) => !row.word);
    const labels = unique((timed.length ? timed : here).map((row) => row.label));
    if (!labels.includes(state.baseline)) {
      const asked = timed.filter((row) => labels.includes(row.baseline)).sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1));
      state.baseline = asked.length ? asked[0].baseline : labels[0];
    }
    const among = (chosen, all) => { const kept = (chosen || []).filter((one) => all.includes(one)); return kept.length ? kept : null; };
    state.operations = among(state.operations, unique(here.map((row) => row.case)));
    state.targets = among(state.targets, unique(here.map((row) => row.target)));
    state.iterations = Math.min(1e7, Math.max(1, Math.round(Number(state.iterations)) || 1000));
  }

  /** Return the cases that were chosen, or else those that the baseline was measured on. */
  function casesShown(here) {
    const there = here.filter((row) => row.label === state.baseline && !row.word);
    return state.operations || unique((there.length ? there : here).map((row) => row.case));
  }

  function readAddress() {
    const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
    for (const name of [...KEYS, "baseline", "iterations", "variable"]) state[name] = asked.get(name) ?? undefined;
    for (const name of ["operations", "targets"]) state[name] = asked.has(name) ? asked.getAll(name) : null;
    settle(KEYS.find((name) => asked.has(name)));
  }

  function address() {
    const said = new URLSearchParams(KEYS.map((name) => [name, state[name]]));
    said.set("baseline", state.baseline);
    said.set("iterations", state.iterations);
    if (state.variable) said.set("variable", state.variable);
    for (const name of ["operations", "targets"]) for (const one of state[name] || []) said.append(name, one);
    return `#${said}`;
  }

  function choose(changes) {
    Object.assign(state, changes);
    settle(Object.keys(changes).find((name) => KEYS.includes(name)));
    history.replaceState(null, "", address());
    show();
  }

  function options(select, values, chosen, change) {
    select.replaceChildren(...values.map((value) => { const one = element("option", value); one.value = value; return one; }));
    select.value = chosen;
    select.disabled = values.length < 2;
    select.onchange = () => change(select.value);
  }

  function checks(box, all, chosen, change) {
    const boxes = all.map((value) => {
      const input = element("input");
      input.type = "checkbox";
      input.value = value;
      input.checked = !chosen || chosen.includes(value);
      input.onchange = () => change(boxes.filter((one) => one.checked).map((one) => one.value));
      return input;
    });
    box.replaceChildren(...boxes.map((input, i) => element("label", null, input, ` ${all[i]}`)));
  }

  function showChoices(here) {
    // What has the focus is made anew, so it must get the focus back.
    const focused = document.activeElement && (document.activeElement.id || [document.activeElement.value, document.activeElement.closest("div")?.id]);
    $("keys").replaceChildren(...KEYS.map((name, i) => {
      const select = element("select");
      select.id = `key-${name}`;
      options(select, unique(CONTEXTS.map((context) => context[i])).sort(), state[name], (value) => choose({ [name]: value }));
      return element("label", `${NAMES[name] || name} `, select);
    }));
    const timed = here.filter((row) => !row.word);
    options($("baseline"), unique(timed.map((row) => row.label)), state.baseline, (baseline) => choose({ baseline }));
    checks($("operations"), unique(here.map((row) => row.case)), casesShown(here), (operations) => choose({ operations }));
    checks($("targets"), unique(here.map((row) => row.target)), state.targets, (targets) => choose({ targets }));
    if (Array.isArray(focused)) [...($(focused[1])?.querySelectorAll("input") || [])].find((one) => one.value === focused[0])?.focus();
    else if (focused) $(focused)?.focus();
  }

  // ---- numbers ----

  /** Return a time as the tables of ganbench show it. */
  function seconds(value) {
    const [scale, unit] = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]].find(([size]) => value >= size) || [1e-9, "ns"];
    const shown = value / scale;
    return `${shown.toFixed(shown >= 100 ? 0 : shown >= 10 ? 1 : 2)} ${unit}`;
  }

  /** Return an energy with three digits. */
  function joules(value) {
    const [scale, unit] = [[1, "J"], [1e-3, "mJ"], [1e-6, "µJ"]].find(([size]) => Math.abs(value) >= size) || [1e-6, "µJ"];
    return `${Number((value / scale).toPrecision(3))} ${unit}`;
  }

  const speed = (value) => (value >= 0.1 ? value.toFixed(2) : value.toPrecision(2));

  /** Return rows with their ratio to the chosen baseline: measured beside it, or else of medians. */
  function against(rows, baseline) {
    const medians = new Map();
    for (const row of [...rows].sort((a, b) => ((a.timestamp || "") < (b.timestamp || "") ? -1 : 1))) {
      if (row.label !== baseline || row.word) continue;
      medians.set(key(row.case), row.median_s).set(key(row.case, row.run_id), row.median_s);
    }
    return rows.map((row) => {
      const none = { ratio: null, ratio_low: null, ratio_high: null, verdict: null };
      if (row.word) return { ...row, ...none };
      if (row.label === baseline) return { ...row, ...none, ratio: 1, verdict: "baseline" };
      if (row.baseline === baseline && row.ratio !== null) return row;
      const pair = pairOf.get(key(row.run_id, row.operation, row.label, baseline));
      if (pair) return { ...row, ...pair, target: row.target, baseline };
      const median = medians.get(key(row.case, row.run_id)) ?? medians.get(key(row.case));
      return { ...row, ...none, ratio: median === undefined ? null : median / row.median_s, verdict: "derived" };
    });
  }

  /** Return the targets of one case that may be the fastest: those of which no other is surely faster. */
  function fastest(rows) {
    const timed = rows.filter((row) => !row.word);
    if (timed.length < 2) return [];
    const best = timed.reduce((one, other) => (other.median_s < one.median_s ? other : one));
    return timed.filter((row) => row === best || against([row, best], row.label).find((one) => one.target === best.target).verdict !== "faster");
  }

  // ---- sections ----

  function showMatrix(rows) {
    const cases = unique(rows.map((row) => row.case)), targets = unique(rows.map((row) => row.target));
    const at = new Map(rows.map((row) => [key(row.case, row.target), row]));
    const answers = [], lines = [];
    for (const name of cases) {
      const mine = targets.map((target) => at.get(key(name, target))).filter(Boolean), winners = fastest(mine);
      answers.push(answer(name, mine, winners));
      lines.push(element("tr", null, heading(name, "row"), ...targets.map((target) => cell(at.get(key(name, target)), winners))));
    }
    const measured = targets.filter((target) => rows.some((row) => row.target === target && row.ratio !== null));
    const shared = cases.filter((name) => measured.every((target) => at.get(key(name, target))?.ratio > 0));
    const mean = (target) => Math.exp(shared.reduce((sum, name) => sum + Math.log(at.get(key(name, target)).ratio), 0) / shared.length);
    const means = targets.map((target) => {
      const there = shared.length > 0 && measured.includes(target), made = element("td", there ? speed(mean(target)) : "—");
      if (there) made.dataset.value = mean(target);
      return made;
    });
    if (cases.length > 1) lines.push(element("tr", null, heading(`geometric mean of ${shared.length} of ${cases.length}, which all have`, "row"), ...means));
    const head = element("thead", null, element("tr", null, ...["operation", ...targets].map((name) => heading(name, "col"))));
    $("matrix").replaceChildren(element("caption", `Speed relative to ${state.baseline}: more than 1 is faster`), head, element("tbody", null, ...lines));
    $("answers").replaceChildren(...answers.map((text) => element("li", text)));
    const reasons = rows.filter((row) => row.reason).map((row) => `${row.target}${row.word ? `: ${row.word}` : ""}: ${row.reason}`);
    $("reasons").replaceChildren(...unique(reasons).map((text) => element("li", text)));
  }

  function heading(text, scope) {
    const made = element("th", text);
    made.scope = scope;
    return made;
  }

  function answer(name, rows, winners) {
    if (!winners.length) return `${name}: ${rows.some((row) => !row.word) ? "one target only" : "nothing was timed"}.`;
    if (winners.length > 1) return `${name}: cannot tell ${winners.map((row) => row.target).join(" and ")} apart; each may be the fastest.`;
    const [row] = winners, width = row.ratio_low === null ? "" : ` [${speed(row.ratio_low)}, ${speed(row.ratio_high)}]`;
    const by = row.ratio === null || row.label === state.baseline ? "" : `, ${speed(row.ratio)} times the speed of ${state.baseline}${width}`;
    return `${name}: ${row.target} is fastest${by}.`;
  }

  function cell(row, winners) {
    const made = element("td");
    if (!row || row.word || row.ratio === null) {
      made.textContent = !row ? "not measured" : row.word || `${seconds(row.median_s)}; no ${state.baseline}`;
      made.className = "missing";
      if (row?.reason) made.title = row.reason;
      return made;
    }
    const star = winners.includes(row) ? (winners.length > 1 ? " ☆" : " ★") : "";
    const width = row.ratio_low === null ? "" : ` [${speed(row.ratio_low)}, ${speed(row.ratio_high)}]`;
    made.append(element("span", null, element("strong", speed(row.ratio) + star), width), element("small", `${seconds(row.median_s)}, ${row.verdict}`));
    if (row.uneven) made.lastChild.append("; uneven");
    Object.assign(made.dataset, { value: row.ratio, median: row.median_s, case: row.case, target: row.target, verdict: row.verdict });
    const strength = Math.min(0.45, 0.06 + 0.16 * Math.abs(Math.log2(row.ratio)));
    if (["faster", "slower"].includes(row.verdict)) made.style.background = `rgba(${row.ratio > 1 ? "37, 99, 235" : "217, 119, 6"}, ${strength})`;
    if (["undecided", "control failed", "derived"].includes(row.verdict)) made.className = "undecided";
    return made;
  }

  /** Return what the chart of ratios shows: of each case that has several, the fastest first, and the control. */
  function forest(rows) {
    return unique(rows.map((row) => row.case)).flatMap((name) => {
      const mine = rows.filter((row) => row.case === name && row.ratio !== null).sort((a, b) => b.ratio - a.ratio);
      const beside = mine.find((row) => row.ratio_low !== null && row.control_ratio !== null && row.baseline === state.baseline);
      const control = beside && { case: name, target: "control", verdict: "control", ratio: beside.control_ratio, ratio_low: beside.control_low, ratio_high: beside.control_high };
      return mine.length > 1 ? [...mine, ...(control ? [control] : [])] : [];
    });
  }

  function showPays(rows) {
    const timed = rows.filter((row) => row.operation === "gan_iteration" && row.start_s !== null && !row.word);
    const latest = timed.reduce((best, row) => (best && best.timestamp >= row.timestamp ? best : row), null);
    const mine = latest ? timed.filter((row) => row.case === latest.case) : [], count = state.iterations;
    $("iterations").value = count;
    $("slider").value = Math.log10(count);
    const total = (row, time, factor) => row.start_s * factor + count * (time ?? row.median_s);
    const ranked = [...mine].sort((a, b) => total(a, a.median_s, 1) - total(b, b.median_s, 1)), [best] = ranked;
    const high = best && total(best, best.ci_high_s, DATA.doubt);
    const rivals = ranked.slice(1).filter((row) => total(row, row.ci_low_s, 1 / DATA.doubt) <= high);
    const said = (row) => `${row.target} (${seconds(total(row, row.median_s, 1))})`;
    $("first").textContent = !best ? "" : `${count.toLocaleString("en")} iterations of ${best.case}: ` + (rivals.length
      ? `${said(best)} is first, but it cannot be told from ${rivals.map(said).join(", ")}.` : `${said(best)} is surely first${ranked.length > 1 ? `, before ${said(ranked[1])}` : ""}.`)
      + ` A start is measured once, so it is taken as known within a factor of ${DATA.doubt}.`;
    return draw("pays", mine, (spec) => { spec.params.find((one) => one.name === "asked").value = count; });
  }

  function showShares(rows) {
    const timed = rows.filter((row) => !row.word && (row.percent_of_ceiling !== null || row.percent_of_floor !== null));
    const head = ["operation", "target", "GFLOP/s", "share of the ceiling", "limited by", "share of the floor"];
    const share = (value) => (value === null ? "—" : `${value.toFixed(0)} %`);
    fill("shares", head, timed.map((row) => [row.case, row.target, row.gflops?.toPrecision(3) ?? "—", share(row.percent_of_ceiling), row.bound ?? "—", share(row.percent_of_floor)]));
  }

  function showEnergy(rows) {
    const known = rows.filter((row) => row.joules !== null), head = ["operation", "target", "of one iteration", "above idle", "power"];
    const half = (row) => (row.joules_low === null ? "" : ` ±${(50 * (row.joules_high - row.joules_low) / row.joules).toFixed(1)} %`);
    const above = (row) => (row.joules_above_idle === null ? "—" : joules(row.joules_above_idle));
    fill("joules", head, known.map((row) => [row.case, row.target, joules(row.joules) + half(row), above(row), `${row.watts.toPrecision(3)} W`]));
    $("no-joules").hidden = known.length > 0;
  }

  /** Show lines of texts in a table, the first of each as its heading; nothing where there are none. */
  function fill(id, head, lines) {
    const rows = lines.map(([first, ...others]) => element("tr", null, heading(first, "row"), ...others.map((text) => element("td", text))));
    $(id).replaceChildren(...(rows.length ? [element("thead", null, element("tr", null, ...head.map((name) => heading(name, "col")))), element("tbody", null, ...rows)] : []));
  }

  function showScaling(wanted) {
    const there = unique([...rowsHere(VARIED).map((row) => row.variable), ...rowsHere(VARIED, "threads").filter((row) => row.variable === "threads").map((row) => row.variable)]);
    if (!there.includes(state.variable)) state.variable = there[0];
    options($("variable"), there, state.variable, (variable) => choose({ variable }));
    const free = state.variable === "threads" ? "threads" : undefined;
    return draw("scaling", rowsHere(VARIED, free).filter((row) => row.variable === state.variable && wanted(row)));
  }

  function showHistory(wanted) {
    const rows = rowsHere(HISTORY).filter(wanted), times = rows.map((row) => row.timestamp);
    const changes = DATA.changes.filter((one) => one.machine === state.machine && times.some((time) => time < one.timestamp) && times.some((time) => time >= one.timestamp));
    const marks = unique(rows.map((row) => row.case)).flatMap((name) => changes.map((one) => ({ ...one, case: name })));
    $("changes").replaceChildren(...changes.map((one) => element("li", `${one.timestamp.slice(0, 16).replace("T", " ")}: ${one.change}`)));
    return draw("history", [...rows, ...marks]);
  }

  function showConditions(rows) {
    const shown = new Set(rows.map((row) => row.run_id));
    $("conditions").replaceChildren(...DATA.runs.filter((run) => shown.has(run.run_id)).reverse().map((run, i) => {
      const lines = run.facts.map(([name, value]) => element("tr", null, heading(name, "row"), element("td", value)));
      const made = element("details", null, element("summary", run.run_id), element("div", null, element("table", null, element("tbody", null, ...lines))));
      made.lastChild.className = "wide";
      made.open = i === 0;
      return made;
    }));
  }

  // ---- charts ----

  const dark = matchMedia("(prefers-color-scheme: dark)"), printed = matchMedia("print");

  const look = () => ({ ...DATA.looks[dark.matches && !printed.matches ? "dark" : "light"], background: "transparent" });

  /** Give every target the same colour in all charts. */
  function colour(part, targets) {
    if (part?.color?.field === "target") part.color.scale.domain = targets;
    for (const inner of Object.values(part ?? {})) if (typeof inner === "object") colour(inner, targets);
  }

  /** Draw one chart again with these rows, or say why there is none. */
  async function draw(name, rows, adjust = () => {}) {
    const box = $(`chart-${name}`);
    if (!rows.length) { box.replaceChildren(element("p", `Nothing to draw: ${DATA.nothing[name]}.`)); return; }
    const spec = structuredClone(DATA.charts[name]), one = spec.spec || spec, room = box.clientWidth - 210;
    one.width = Math.max(180, Math.min(760, room));
    if (box.clientWidth < 560) spec.config = { ...spec.config, legend: { orient: "bottom", columns: 2 } };
    colour(spec, unique(rowsHere(CELLS).map((row) => row.target)));
    spec.datasets = { ...spec.datasets, rows };
    spec.description = box.closest("section").querySelector("h2").textContent;
    adjust(spec);
    const actions = { export: true, source: false, compiled: false, editor: false };
    await vegaEmbed(box, spec, { actions, renderer: "svg", logLevel: 1 /* errors */, config: look(), downloadFileName: `ganbench-${name}` });
  }

  let shows = Promise.resolve();

  /** Show everything for the choices; a second call waits for the first. */
  function show() {
    document.body.dataset.ready = "";
    const here = rowsHere(CELLS), all = against(here, state.baseline);
    const cases = casesShown(here);
    const wanted = (row) => cases.includes(row.case) && (!state.targets || state.targets.includes(row.target));
    const rows = all.filter(wanted);
    showChoices(here);
    showMatrix(rows);
    showShares(rows);
    showEnergy(rows);
    showConditions(rows);
    // Other sections have other cases of the same operations.
    const named = new Set(cases.map((name) => name.split(" ")[0]));
    const labels = new Set(rows.map((row) => row.label)), targets = new Set(rows.map((row) => row.target));
    const loosely = (row) => named.has(row.case.split(" ")[0]) && (targets.has(row.target) || labels.has(row.target));
    const timed = rows.filter((row) => !row.word);
    const charts = () => Promise.all([
      draw("ratios", forest(rows)),
      showPays(rows),
      draw("roofline", timed.filter((row) => row.roof_gflops !== null && row.intensity !== null)),
      showScaling(loosely),
      showHistory(loosely),
      draw("memory", timed.filter((row) => row.host_peak_bytes !== null || row.device_peak_bytes !== null)),
      draw("training", DATA.losses),
    ]);
    const turn = (shows = shows.then(charts).then(() => { if (turn === shows) document.body.dataset.ready = "yes"; }));
  }

  // ---- doors ----

  function csv() {
    const quoted = (value) => (value === null ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
    return [DATA.cells.names, ...DATA.cells.rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  }

  $("csv").onclick = () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "ganbench.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  $("link").onclick = async () => {
    history.replaceState(null, "", address());
    try { await navigator.clipboard.writeText(location.href); $("copied").textContent = "copied"; }
    catch { $("copied").textContent = "the link stands in the address bar"; }
  };
  $("iterations").onchange = () => choose({ iterations: $("iterations").value });
  $("slider").oninput = () => choose({ iterations: 10 ** Number($("slider").value) });
  $("band").textContent = `${100 * DATA.band} %`;
  $("notes").replaceChildren(...DATA.notes.map((text) => element("li", text)));
  addEventListener("hashchange", () => { if (location.hash.includes("=")) { readAddress(); show(); } });
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; show(); } });
  for (const media of [dark, printed]) media.addEventListener("change", show);
  addEventListener("beforeprint", () => document.querySelectorAll("#conditions details").forEach((one) => { one.open = true; }));
  readAddress();
  show();
})();
