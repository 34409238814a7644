"use strict";
// What the reader chose stands in the address; everything below is drawn from it and from the data in the page.
// Texts of results go into the page as text only (textContent), never as markup.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const unpacked = ({ names, words, rows }) => rows.map((row) => Object.fromEntries(names.map((name, i) => [name, words[i].length && row[i] !== null ? words[i][row[i]] : row[i]])));
  const [CELLS, VARIED, HISTORY, LOSSES] = [DATA.cells, DATA.varied, DATA.history, DATA.losses].map(unpacked);
  const KEYS = DATA.keys, NAMES = { source: "measured by" };
  const $ = (id) => document.getElementById(id);
  const unique = (values) => [...new Set(values)];
  const state = {};

  function key(...parts) { return JSON.stringify(parts); }

  function element(name, text, ...children) {
    const made = document.createElement(name);
    if (text !== null && text !== undefined) made.textContent = text;
    made.append(...children);
    return made;
  }

  // ---- choices ----

  const CONTEXTS = DATA.contexts.map((context) => context.values); // the newest first

  /** Return the context with the most of the wanted values; the value of ``fixed`` must be as wanted. */
  function nearest(wanted, fixed) {
    const fits = (context) => KEYS.reduce((sum, name, i) => sum + (context[i] === wanted[name]), 0);
    const place = KEYS.indexOf(fixed);
    const possible = CONTEXTS.filter((context) => place < 0 || context[place] === wanted[fixed]);
    return (possible.length ? possible : CONTEXTS).reduce((best, one) => (fits(one) > fits(best) ? one : best));
  }

  const context = () => DATA.contexts.find((one) => one.values.every((value, i) => value === state[KEYS[i]]));

  function rowsHere(rows, free) {
    return rows.filter((row) => KEYS.every((name) => name === free || row[name] === null || String(row[name]) === state[name]));
  }

  /** Make every choice one that exists; what does not becomes the nearest that does. */
  function settle(changed) {
    nearest(state, changed).forEach((value, i) => { state[KEYS[i]] = value; });
    const here = rowsHere(CELLS), timed = here.filter((row) => !row.word);
    const labels = unique((timed.length ? timed : here).map((row) => row.label));
    if (!labels.includes(state.baseline)) state.baseline = context().baseline;
    const among = (chosen, all) => { const kept = (chosen || []).filter((one) => all.includes(one)); return kept.length ? kept : null; };
    state.operations = among(state.operations, unique(here.map((row) => row.case)));
    state.targets = among(state.targets, unique(here.map((row) => row.target)));
    state.iterations = Math.min(1e7, Math.max(1, Math.round(Number(state.iterations)) || 1000));
  }

  /** Return the cases that were chosen, or else those that the baseline was measured on. */
  function casesShown(here) {
    return state.operations || context().baselines[state.baseline]?.cases || unique(here.map((row) => row.case));
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

  /** Return rows of the chosen context with their speeds relative to the chosen baseline, which Python has computed. */
  function against(rows) {
    const none = { ratio: null, ratio_low: null, ratio_high: null, verdict: null }, { speeds } = context().baselines[state.baseline] || { speeds: [] };
    const of = new Map(speeds.map(([cell, ratio, ratio_low, ratio_high, verdict]) => [CELLS[cell], { ratio, ratio_low, ratio_high, verdict }]));
    return rows.map((row) => ({ ...row, ...none, ...of.get(row) }));
  }

  // ---- sections ----

  function showMatrix(rows) {
    const cases = unique(rows.map((row) => row.case)), targets = unique(rows.map((row) => row.target));
    const at = new Map(rows.map((row) => [key(row.case, row.target), row]));
    const lines = cases.map((name) => element("tr", null, heading(name, "row"), ...targets.map((target) => cell(at.get(key(name, target))))));
    const means = context().baselines[state.baseline]?.means || {}, all = context().baselines[state.baseline]?.cases || [];
    if (all.length > 1 && key(...all) === key(...cases)) lines.push(element("tr", null, heading("geometric mean", "row"), ...targets.map((target) => {
      const made = element("td", means[target] ? speed(means[target]) : "—");
      Object.assign(made.dataset, { mean: target, value: means[target] ?? "" });
      return made;
    })));
    const head = element("thead", null, element("tr", null, ...["operation", ...targets].map((name) => heading(name, "col"))));
    $("matrix").replaceChildren(element("caption", `Speed relative to ${state.baseline}: more than 1 is faster`), head, element("tbody", null, ...lines));
    $("answers").replaceChildren(...cases.map((name) => element("li", answer(name))));
    const reasons = rows.filter((row) => row.reason).map((row) => `${row.target}${row.word ? `: ${row.word}` : ""}: ${row.reason}`);
    $("reasons").replaceChildren(...unique(reasons).map((text) => element("li", text)));
  }

  function heading(text, scope) {
    const made = element("th", text);
    made.scope = scope;
    return made;
  }

  /** Say who is fastest of all targets of a case, those that the reader has left out among them. */
  function answer(name) {
    const rows = against(rowsHere(CELLS).filter((row) => row.case === name)), winners = rows.filter((row) => row.fastest);
    if (!winners.length) return `${name}: ${rows.some((row) => !row.word) ? "one target only" : "nothing was timed"}.`;
    if (winners.length > 1) return `${name}: cannot tell ${winners.map((row) => row.target).join(" and ")} apart; each may be the fastest.`;
    const [row] = winners, width = row.ratio_low === null ? "" : ` [${speed(row.ratio_low)}, ${speed(row.ratio_high)}]`;
    const by = row.ratio === null || row.label === state.baseline ? "" : `, ${speed(row.ratio)} times the speed of ${state.baseline}${width}`;
    return `${name}: ${row.target} is fastest${by}.`;
  }

  function cell(row) {
    const made = element("td");
    if (!row || row.word || row.ratio === null) {
      made.textContent = !row ? "not measured" : row.word || `${seconds(row.median_s)}; no ${state.baseline}`;
      made.className = "missing";
      if (row?.reason) made.title = row.reason;
      return made;
    }
    const star = { surely: " ★", maybe: " ☆" }[row.fastest] || "";
    const width = row.ratio_low === null ? "" : ` [${speed(row.ratio_low)}, ${speed(row.ratio_high)}]`;
    made.append(element("span", null, element("strong", speed(row.ratio) + star), width), element("small", `${seconds(row.median_s)}, ${row.verdict}`));
    if (row.uneven) made.lastChild.append("; uneven");
    Object.assign(made.dataset, { value: row.ratio, median: row.median_s, case: row.case, target: row.target, verdict: row.verdict, low: row.ratio_low ?? "", high: row.ratio_high ?? "", fastest: row.fastest });
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

  function showPays(rows, shown) {
    const timed = rows.filter((row) => row.operation === "gan_iteration" && row.start_s !== null && !row.word);
    const latest = timed.reduce((best, row) => (best && best.timestamp >= row.timestamp ? best : row), null);
    const mine = latest ? timed.filter((row) => row.case === latest.case) : [], count = state.iterations;
    $("iterations").value = count;
    $("slider").value = Math.log10(count);
    const total = (row) => row.start_s + count * row.median_s; // where its line stands
    const mineOf = (label) => mine.find((row) => row.label === label && row.run_id === latest.run_id);
    const said = (row) => `${row.target} (${seconds(total(row))})`;
    const told = latest && (DATA.first[latest.run_id] || []).findLast(([from]) => from <= count);
    const [best, ...rivals] = told ? [told[1], ...told[2]].map(mineOf) : [];
    const others = mine.filter((row) => row.run_id !== latest.run_id).map((row) => row.target);
    $("first").textContent = !latest ? "" : `${count.toLocaleString("en")} iterations of ${latest.case}: ` + (!best ? "the rounds of this run are not here, so nothing is said of who is first."
      : (rivals.length ? `${said(best)} is first, but it cannot be told from ${rivals.map(said).join(", ")}.` : mine.length - others.length > 1 ? `${said(best)} is surely first.` : `${said(best)}; nothing was measured beside it.`)
      + (others.length ? ` Measured in another run, so not compared: ${others.join(", ")}.` : "") + ` A start is measured once, so it is taken as known within a factor of ${DATA.doubt}.`);
    Object.assign($("first").dataset, { first: best?.label ?? "", rivals: rivals.map((row) => row.label).join(" "), run: latest?.run_id ?? "" });
    return draw("pays", mine.filter(shown), (spec) => { spec.params.find((one) => one.name === "asked").value = count; });
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
    const here = rowsHere(CELLS), all = against(here);
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
      showPays(all.filter((row) => cases.includes(row.case)), wanted),
      draw("roofline", timed.filter((row) => row.roof_gflops !== null && row.intensity !== null)),
      showScaling(loosely),
      showHistory(loosely),
      draw("memory", timed.filter((row) => row.host_peak_bytes !== null || row.device_peak_bytes !== null)),
      draw("training", LOSSES),
    ]);
    const turn = (shows = shows.then(charts).then(() => { if (turn === shows) document.body.dataset.ready = "yes"; }));
  }

  // ---- doors ----

  function csv() {
    const quoted = (value) => (value === null ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
    return [DATA.cells.names, ...CELLS.map((row) => DATA.cells.names.map((name) => row[name]))].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
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
