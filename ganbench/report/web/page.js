
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
const interval = (row) => (row.ratio_low === null ? "" : ` [${speed(row.ratio_low)}, ${speed(row.ratio_high)}]`);
const percent = (value) => (value === null ? "—" : value < 1 ? "< 1 %" : `${value.toFixed(0)} %`);

// ---- tables ----

function heading(text, scope) {
  const made = element("th", null, scope === "col" && text ? Object.assign(element("button", text), { type: "button", title: "sort" }) : text);
  made.scope = scope;
  return made;
}

/** Return a cell; what has a number is sorted by it. */
function cell(text, data = {}) {
  const made = element("td", text);
  Object.assign(made.dataset, data);
  return made;
}

const line = (name, cells) => element("tr", null, heading(name, "row"), ...cells);

/** Show lines of cells in a table below their headings, in groups; nothing where there are none. */
function fill(id, head, ...groups) {
  const lines = groups.filter((group) => group.length).map((group) => element("tbody", null, ...group));
  $(id).replaceChildren(...(lines.length ? [element("thead", null, element("tr", null, ...head.map((name) => heading(name, "col")))), ...lines] : []));
}

/** Show texts as the items of a list. */
const list = (id, texts) => $(id).replaceChildren(...texts.map((text) => element("li", text)));

/** Sort each group of a table by one of its columns: numbers from the largest, words from the first, then the other way. */
function sort(head) {
  const column = head.cellIndex, up = head.ariaSort ? head.ariaSort === "descending" : false;
  const value = (row) => { const { value: number, at } = row.cells[column]?.dataset || {}; return number ?? at ?? null; };
  const words = (row) => row.cells[column]?.textContent ?? "";
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x !== null && y !== null) return y - x;
    return (x === null) - (y === null) || words(a).localeCompare(words(b));
  };
  const known = (row) => value(row) !== null;
  for (const other of head.parentNode.cells) other.ariaSort = null;
  head.ariaSort = up ? "ascending" : "descending";
  for (const body of head.closest("table").tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > 1), sorted = rows.sort(order);
    if (up) sorted.sort((a, b) => known(b) - known(a) || order(b, a));
    body.append(...sorted);
  }
}

/** Return a table as Markdown. */
function markdown(table) {
  const text = (one) => one.innerText.trim().replace(/\s*\n\s*/g, ", ").replaceAll("|", "\\|");
  const lines = [...table.rows].map((row) => `| ${[...row.cells].map(text).join(" | ")} |`);
  return [...(table.caption ? [`${table.caption.textContent}\n`] : []), lines[0], `|${" --- |".repeat(table.rows[0].cells.length)}`, ...lines.slice(1)].join("\n") + "\n";
}

// ---- sections ----

/** Give rows their speeds relative to the chosen baseline, which Python has computed. */
function against(rows, baseline) {
  const none = { ratio: null, ratio_low: null, ratio_high: null, verdict: null }, { speeds } = context().baselines[baseline] || { speeds: [] };
  const of = new Map(speeds.map(([place, ratio, ratio_low, ratio_high, verdict]) => [CELLS[place], { ratio, ratio_low, ratio_high, verdict: DATA.texts[verdict] }]));
  return rows.map((row) => ({ ...row, ...none, ...of.get(row) }));
}

/** Say who is fastest of all targets of a case, those that the reader has left out among them. */
function answer(name, view) {
  const here = view.here.filter((row) => row.case === name), timed = here.filter((row) => !row.word);
  const said = DATA.texts[context().baselines[view.baseline]?.answers[name]];
  const alone = timed.length ? `${timed[0].target} alone was timed: ${seconds(timed[0].median_s)}` : "nothing was timed";
  return `${said || alone}; ${state.model}, ${name}, ${context().conditions}`;
}

function showAnswers(view) {
  const lead = view.cases.includes(context().lead) ? context().lead : view.cases[0];
  $("answer").textContent = answer(lead, view);
  $("near").replaceChildren();
  const others = view.cases.filter((name) => name !== lead);
  list("answers", others.map((name) => answer(name, view)));
  return [lead, ...others];
}

function showMatrix(rows, cases, view) {
  const targets = unique(rows.map((row) => row.target)), at = new Map(rows.map((row) => [key(row.case, row.target), row]));
  const { means = {}, cases: all = [] } = context().baselines[view.baseline] || {};
  const mean = all.length > 1 && all.length === cases.length && all.every((name) => cases.includes(name));
  const average = (target) => cell(means[target] ? speed(means[target]) : "—", { mean: target, ...(means[target] && { value: means[target] }) });
  fill("matrix", ["target", ...cases, ...(mean ? ["geometric mean"] : [])], targets.map((target) => line(target, [
    ...cases.map((name) => speedCell(at.get(key(name, target)), view.baseline)), ...(mean ? [average(target)] : [])])));
  const words = `Speed relative to ${view.baseline}: more than 1 is faster. ${context().words}`;
  $("matrix").prepend(element("caption", null, element("span", words)));
  const reasons = rows.filter((row) => row.reason).map((row) => `${row.target}${row.word ? `: ${row.word}` : ""}: ${row.reason}`);
  list("reasons", unique(reasons));
}

function speedCell(row, baseline) {
  if (!row || row.word || row.ratio === null) {
    const made = cell(!row ? "not measured" : row.word || `${seconds(row.median_s)}; no ${baseline}`);
    return Object.assign(made, { className: "missing", title: row?.reason || "" });
  }
  const star = { surely: " ★", maybe: " ☆" }[row.fastest] || "", verdict = row.verdict === "derived" ? "not measured side by side" : row.verdict;
  const made = cell(null, { value: row.ratio, median: row.median_s, case: row.case, target: row.target, verdict: row.verdict, low: row.ratio_low ?? "", high: row.ratio_high ?? "", fastest: row.fastest });
  made.append(element("span", null, element("strong", speed(row.ratio) + star), interval(row)), element("small", `${seconds(row.median_s)}, ${verdict}${row.uneven ? "; uneven" : ""}`));
  tint(made, ["faster", "slower"].includes(row.verdict) ? row.ratio : null);
  if (["undecided", "control failed", "derived"].includes(row.verdict)) made.className = "undecided";
  return made;
}

/** Colour a cell by a speed: blue is faster, orange slower. */
function tint(made, ratio) {
  if (ratio) made.style.background = `rgba(${ratio > 1 ? "37, 99, 235" : "217, 119, 6"}, ${Math.min(0.45, 0.06 + 0.16 * Math.abs(Math.log2(ratio)))})`;
}

/** Return the rows of the first shown case of a whole iteration whose start is known, and the newest of them. */
function paid(rows) {
  const timed = rows.filter((row) => row.operation === "gan_iteration" && row.start_s !== null && !row.word);
  const mine = timed.filter((row) => row.case === timed[0].case);
  return { mine, latest: mine.reduce((best, row) => (best && best.timestamp >= row.timestamp ? best : row), null) };
}

function showFirst({ latest, mine }) {
  const count = state.iterations;
  $("iterations").value = count;
  $("slider").value = Math.log10(count);
  drawn.pays?.view.signal("asked", count).runAsync();
  if (!latest) return;
  const total = (row) => row.start_s + count * row.median_s; // where its line stands
  const said = (row) => `${row.target} (${seconds(total(row))})`;
  const told = (DATA.first[latest.run_id] || []).findLast(([from]) => from <= count);
  const [best, ...rivals] = told ? [told[1], ...told[2]].map((label) => mine.find((row) => row.label === label && row.run_id === latest.run_id)) : [];
  const others = mine.filter((row) => row.run_id !== latest.run_id).map((row) => row.target);
  $("first").textContent = `${count.toLocaleString("en")} iterations of ${latest.case}: ` + (!best ? "the rounds of this run are not here, so nothing is said of who is first."
    : (rivals.length ? `${said(best)} is first, but it cannot be told from ${rivals.map(said).join(", ")}.` : mine.length - others.length > 1 ? `${said(best)} is surely first.` : `${said(best)}; nothing was measured beside it.`)
    + (others.length ? ` Measured in another run, so not compared: ${others.join(", ")}.` : "") + ` A start is measured once, so it is taken as known within a factor of ${DATA.doubt}.`);
  Object.assign($("first").dataset, { first: best?.label ?? "", rivals: rivals.map((row) => row.label).join(" "), run: latest.run_id });
}

function showShares(rows) {
  const timed = rows.filter((row) => row.percent_of_ceiling >= 1 || row.percent_of_floor >= 1), at = (value) => (value === null ? {} : { at: value });
  fill("shares", ["target", "operation", "GFLOP/s", "share of the ceiling", "limited by", "share of the floor"], timed.map((row) => line(row.target, [
    cell(row.case), cell(row.gflops?.toPrecision(3) ?? "—", at(row.gflops)), cell(percent(row.percent_of_ceiling), at(row.percent_of_ceiling)), cell(row.limit === "call" || row.percent_of_ceiling >= 1 ? row.limit : "—"), cell(percent(row.percent_of_floor), at(row.percent_of_floor))])));
}

/** Return the ends of the tenths of all visits of these rows. */
function scattered(rows) {
  return rows.flatMap(({ target, median_s, place }) => DATA.spread[place].map((end, i, { length }) => ({ target, seconds: median_s * end / 1000, share: i / (length - 1) })));
}

function showEnergy(rows) {
  const half = (row) => (row.joules_low === null ? "" : ` ±${(50 * (row.joules_high - row.joules_low) / row.joules).toFixed(1)} %`);
  fill("joules", ["operation", "target", "of one iteration", "above idle", "power"], rows.filter((row) => row.joules !== null).map((row) => line(row.case, [
    cell(row.target), cell(joules(row.joules) + half(row), { at: row.joules }), cell(row.joules_above_idle === null ? "—" : joules(row.joules_above_idle)), cell(`${row.watts.toPrecision(3)} W`, { at: row.watts })])));
}

/** Show what several machines have measured of the chosen model: a line for each machine, a column for each target. */
function showMachines(named, labels) {
  const { names, lines, notes } = DATA.machines;
  const mine = lines.filter((one) => ["model", "data", "dtype", "precision"].every((name) => one[name] === state[name]) && named.has(one.operation) && labels.has(one.target));
  const targets = unique(mine.map((one) => one.target));
  const rows = (work) => { // of the machines that measured it
    const of = mine.filter((one) => one.work === work);
    return names.filter((machine) => of.some((one) => one.cells[machine])).map((machine) => line(machine, targets.map((target) => {
      const [ratio, text] = of.find((one) => one.target === target)?.cells[machine] || [null, "—"];
      const made = cell(text, ratio ? { at: ratio } : {});
      tint(made, /faster|slower/.test(text) ? ratio : null);
      return made;
    })));
  };
  fill("beside", ["machine", ...targets], ...unique(mine.map((one) => one.work)).map((work) => [
    element("tr", null, Object.assign(heading(work, "colgroup"), { colSpan: targets.length + 1 })), ...rows(work)]));
  list("beside-notes", mine.length ? notes : []);
}

function scaled(wanted) {
  const there = unique([...rowsHere(VARIED), ...rowsHere(VARIED, "threads").filter((row) => row.variable === "threads")].map((row) => row.variable));
  const variable = there.includes(state.variable) ? state.variable : there[0];
  options($("variable"), there, variable, (chosen) => choose({ variable: chosen }));
  return rowsHere(VARIED, variable === "threads" ? "threads" : undefined).filter((row) => row.variable === variable && wanted(row));
}

function past(wanted) {
  const rows = rowsHere(HISTORY).filter(wanted), times = rows.map((row) => row.timestamp);
  const changes = DATA.changes.filter((one) => one.machine === state.machine && times.some((time) => time < one.timestamp) && times.some((time) => time >= one.timestamp));
  const moved = rows.filter((row) => row.confirmed === "faster" || row.confirmed === "slower")
    .map((row) => ({ timestamp: row.timestamp, change: `${row.case} on ${row.target} is ${row.confirmed} than at the commit before, confirmed by two runs or more of both` }));
  list("changes", [...moved, ...changes].map((one) => `${one.timestamp.slice(0, 16).replace("T", " ")}: ${one.change}`));
  return [...rows, ...unique(rows.map((row) => row.case)).flatMap((name) => changes.map((one) => ({ ...one, case: name })))];
}

function showConditions(rows) {
  const shown = new Set(rows.map((row) => row.run_id)), table = (facts) => element("div", null, element("table", null, element("tbody", null, ...facts.map(([name, value]) => line(name, [cell(value)])))));
  $("conditions").replaceChildren(...unique(FACTS.map((one) => one.run_id)).filter((run) => shown.has(run)).reverse().map((run, i) => {
    const of = (facts) => table(facts.filter((one) => one.run_id === run).map((one) => [one.name, one.value]));
    const libraries = element("details", null, element("summary", "builds of libraries"), of(LIBRARIES));
    return Object.assign(element("details", null, element("summary", run), of(FACTS), libraries), { open: i === 0 });
  }));
  for (const box of $("conditions").querySelectorAll("div")) box.className = "wide";
}

/** Hide the sections in which there is nothing, and say what would fill them. */
function hideEmpty() {
  const empty = [];
  for (const section of document.querySelectorAll("section")) {
    const boxes = [...section.querySelectorAll(".chart, table, .samples")], link = document.querySelector(`nav a[data-section=${section.id}]`);
    section.hidden = boxes.length > 0 && boxes.every((one) => !one.children.length) && section.id !== "fair";
    link.hidden = section.hidden;
    const why = DATA.nothing[section.dataset.chart] || section.dataset.nothing;
    if (section.hidden && why) empty.push(`${link.textContent}: ${why}.`);
  }
  list("absent", empty);
  for (const copy of document.querySelectorAll(".copy")) copy.hidden = !copy.previousElementSibling.firstElementChild.rows.length;
  for (const box of document.querySelectorAll(".wide, .chart")) box.classList.toggle("more", box.scrollWidth > box.clientWidth + 1);
}

let shows = Promise.resolve(), pays = paid([]);

/** Show everything for the choices; a second call waits for the first. */
function show(section) {
  document.body.dataset.ready = "";
  const found = context(), whole = document.querySelector("main");
  showKeys();
  whole.hidden = $("more").hidden = !found;
  if (!found) { showNothing(); document.body.dataset.ready = "yes"; return; }
  const view = settled();
  showChoices(view);
  const cases = showAnswers(view), place = (row) => cases.indexOf(row.case);
  const all = against(view.here.filter((row) => cases.includes(row.case)), view.baseline).sort((a, b) => place(a) - place(b) || (a.median_s ?? Infinity) - (b.median_s ?? Infinity));
  const rows = all.filter((row) => view.targets.includes(row.target)), timed = rows.filter((row) => !row.word);
  // Other sections have other cases of the same operations.
  const named = new Set(cases.map((name) => name.split(" ")[0])), labels = new Set(rows.flatMap((row) => [row.label, row.target]));
  const loosely = (row) => named.has(row.case.split(" ")[0]) && labels.has(row.target);
  for (const title of document.querySelectorAll("h2")) title.dataset.where = found.words;
  showMatrix(rows, cases, view);
  showShares(rows);
  showEnergy(rows);
  showMachines(named, labels);
  showConditions(rows);
  pays = paid(all);
  const roofed = timed.filter((row) => row.roof_gflops !== null && row.intensity !== null), varied = scaled(loosely);
  const charts = async () => {
    document.querySelectorAll("section").forEach((one) => { one.hidden = false; });
    await draw("ratios", forest(rows, view.baseline), view.all);
    $("scattered").textContent = cases[0];
    await draw("samples", scattered(timed.filter((row) => row.case === cases[0])), view.all);
    await draw("pays", pays.mine.filter((row) => view.targets.includes(row.target)), view.all);
    showFirst(pays);
    await draw("roofline", roofed.length && found.roofs.length ? [...roofed, ...found.roofs] : [], view.all);
    await draw("scaling", varied, view.all, (spec) => spec.spec.layer.forEach(({ encoding }) => { encoding.x.title = varied[0].variable; }));
    await draw("history", past(loosely), view.all);
    await draw("memory", timed.filter((row) => row.host_peak_bytes !== null || row.device_peak_bytes !== null), view.all);
    await draw("training", LOSSES, []);
    hideEmpty();
    if (section) $(section)?.scrollIntoView();
  };
  const turn = (shows = shows.then(charts).then(() => { if (turn === shows) document.body.dataset.ready = "yes"; }));
}

// ---- doors ----

function csv() {
  const quoted = (value) => (value === null ? "" : /[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return [DATA.cells.names, ...CELLS.map((row) => DATA.cells.names.map((name) => row[name]))].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

async function copy(text, button) {
  button.after($("copied"));
  try { await navigator.clipboard.writeText(text); $("copied").textContent = " copied"; }
  catch { $("copied").replaceChildren(Object.assign(element("textarea"), { value: text, ariaLabel: "to be copied" })); $("copied").firstChild.select(); }
}

$("csv").onclick = () => {
  const link = Object.assign(element("a"), { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "ganbench.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
};
$("link").onclick = () => copy(location.href.split("#")[0] + address(), $("link"));
$("iterations").onchange = () => choose({ iterations: iterations($("iterations").value) });
$("slider").oninput = () => { state.iterations = iterations(10 ** $("slider").value); showFirst(pays); };
$("slider").onchange = () => choose({});
$("band").textContent = `${100 * DATA.band} %`;
list("notes", DATA.notes);
document.addEventListener("click", ({ target }) => {
  if (target.matches(".copy")) copy(markdown(target.previousElementSibling.firstElementChild), target);
  else if (target.closest("thead th")) sort(target.closest("thead th"));
  else if (target.closest(".role-legend-label")) {
    const view = settled(), left = view.targets.filter((name) => name !== target.textContent);
    if (left.length < view.targets.length) choose({ targets: left });
  }
});
addEventListener("hashchange", () => { if (!location.hash || location.hash.includes("=")) show(readAddress()); });
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; show(); } });
dark.addEventListener("change", () => show());
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
show(readAddress());
