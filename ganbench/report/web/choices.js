"use strict";
// What the reader chose stands in the address; everything is drawn from it and from the data in the page.
// Texts of results go into the page as text only (textContent), never as markup.

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const unpacked = ({ names, words, rows }) => rows.map((row) => Object.fromEntries(names.map((name, i) => [name, words[i].length && row[i] !== null ? words[i][row[i]] : row[i]])));
const [CELLS, VARIED, HISTORY, LOSSES, FACTS, LIBRARIES] = ["cells", "varied", "history", "losses", "facts", "libraries"].map((name) => unpacked(DATA[name]));
CELLS.forEach((row, place) => { row.place = place; });
const KEYS = DATA.keys, NAMES = { source: "measured by" }, USUAL_ITERATIONS = 1000;
const CONTEXTS = DATA.contexts.map((one) => ({ ...one, keys: Object.fromEntries(KEYS.map((name, i) => [name, one.values[i]])) }));
const unique = (values) => [...new Set(values)];
const key = (...parts) => JSON.stringify(parts);
let state = {};

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== null && text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Return the context that was chosen; nothing where such a one was not measured. */
const context = (chosen = state) => CONTEXTS.find((one) => KEYS.every((name) => one.keys[name] === chosen[name]));

function rowsHere(rows, free) {
  return rows.filter((row) => KEYS.every((name) => name === free || row[name] === null || String(row[name]) === state[name]));
}

/** Return what is shown: of the choices those that exist in this context, the usual where none does. */
function settled() {
  const here = rowsHere(CELLS), { baselines, baseline: usual } = context(), absent = [];
  const baseline = Object.keys(baselines).includes(state.baseline) ? state.baseline : usual;
  if (state.baseline && baseline !== state.baseline) absent.push(state.baseline);
  const among = (chosen, all, otherwise) => {
    absent.push(...(chosen || []).filter((one) => !all.includes(one)));
    const kept = all.filter((one) => chosen?.includes(one));
    return kept.length ? kept : otherwise;
  };
  const cases = unique(here.map((row) => row.case)), all = unique(here.map((row) => row.target));
  return { here, baseline, all, cases: among(state.operations, cases, baselines[baseline]?.cases || cases), targets: among(state.targets, all, all), absent };
}

// ---- the address ----

function readAddress() {
  const asked = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const keys = Object.fromEntries(KEYS.filter((name) => asked.has(name)).map((name) => [name, asked.get(name)]));
  const usual = CONTEXTS[DATA.shown], fits = (one) => Object.entries(keys).every(([name, value]) => one.keys[name] === value);
  state = { ...([usual, ...CONTEXTS].find(fits) || usual).keys, ...keys };
  for (const name of ["baseline", "variable"]) state[name] = asked.get(name) ?? undefined;
  for (const name of ["operations", "targets"]) state[name] = asked.has(name) ? asked.getAll(name) : null;
  state.iterations = iterations(asked.get("iterations"));
  return asked.get("section");
}

const iterations = (asked) => Math.min(1e7, Math.max(1, Math.round(Number(asked)) || USUAL_ITERATIONS));

/** Return the address of the choices with some changes. */
function address(changes = {}) {
  const all = { ...state, ...changes }, said = new URLSearchParams(KEYS.map((name) => [name, all[name]]));
  if (all.iterations === USUAL_ITERATIONS) delete all.iterations;
  for (const name of ["baseline", "iterations", "variable", "section"]) if (all[name]) said.set(name, all[name]);
  for (const name of ["operations", "targets"]) for (const one of all[name] || []) said.append(name, one);
  return `#${said}`;
}

/** Change what was chosen, and nothing else; the browser's way back undoes it. */
function choose(changes) {
  state = { ...state, ...changes };
  if (address() !== location.hash) history.pushState(null, "", address());
  show();
}

// ---- what there is to choose ----

/** Fill a select; values that do not go with the other choices stand apart. */
function options(select, values, chosen, change, fits = () => true) {
  const made = (some) => some.map((value) => Object.assign(element("option", value), { value }));
  const others = made(values.filter((value) => !fits(value)));
  select.replaceChildren(...made(values.filter(fits)));
  if (others.length) select.append(Object.assign(element("optgroup", null, ...others), { label: "not with these other choices" }));
  select.value = chosen;
  select.onchange = () => change(select.value);
  select.closest("label").hidden = values.length < 2;
}

function checks(box, all, chosen, change) {
  const boxes = all.map((value) => Object.assign(element("input"), { type: "checkbox", value, checked: chosen.includes(value) }));
  for (const input of boxes) input.onchange = () => change(boxes.filter((one) => one.checked).map((one) => one.value));
  box.replaceChildren(...boxes.map((input, i) => element("label", null, input, ` ${all[i]}`)));
}

function showKeys() {
  for (const name of KEYS) {
    if (!$(`key-${name}`)) $("keys").append(element("label", `${NAMES[name] || name} `, Object.assign(element("select"), { id: `key-${name}` })));
    const values = unique([...CONTEXTS.map((one) => one.keys[name]), state[name]]).sort();
    options($(`key-${name}`), values, state[name], (value) => choose({ [name]: value }), (value) => context({ ...state, [name]: value }));
  }
  for (const link of document.querySelectorAll("nav a")) link.href = address({ section: link.dataset.section });
}

function showChoices(view) {
  // What has the focus may be made anew, so it must get the focus back.
  const { value, id } = document.activeElement || {}, box = document.activeElement?.closest(".checks")?.id;
  options($("baseline"), Object.keys(context().baselines), view.baseline, (baseline) => choose({ baseline }));
  checks($("operations"), unique(view.here.map((row) => row.case)), view.cases, (operations) => choose({ operations }));
  checks($("targets"), view.all, view.targets, (targets) => choose({ targets }));
  if (box && !id) [...$(box).querySelectorAll("input")].find((one) => one.value === value)?.focus();
  const left = view.all.filter((name) => !view.targets.includes(name));
  $("left").textContent = [left.length && `left out: ${left.join(", ")}`, view.absent.length && `not measured here, so not shown: ${view.absent.join(", ")}`].filter(Boolean).join("; ");
}

/** Say that nothing was measured with these choices, and lead to what was. */
function showNothing() {
  const differing = (one) => KEYS.filter((name) => one.keys[name] !== state[name]).length;
  const near = [...CONTEXTS].sort((a, b) => differing(a) - differing(b)).slice(0, 5);
  $("answer").textContent = `Nothing was measured with these choices: ${KEYS.map((name) => state[name]).join(", ")}. What comes nearest:`;
  $("near").replaceChildren(...near.map((one) => element("li", null, Object.assign(element("a", one.words), { href: address(one.keys) }))));
}
