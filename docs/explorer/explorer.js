/* Models side by side: a table to choose from, then facts, drawings and stages of the chosen; the picture is scatter.js's.
   The address keeps what is asked for: #models=googlenet,vgg16&sort=-macs&filter=vgg. */

import { make, scatter } from "./scatter.js";

const MOST = 3; // models beside each other
const STAGES = { stage: 0, "patch/stride": 1, output: 2, branches: 4, params: 6, "multiply-adds": 7 }; // cells of `summary`
const whole = (value) => value.toLocaleString("en");
const giga = (macs) => (macs / 1e9).toFixed(2);
const COLUMNS = {
  name: ["model", String],
  title: ["family", String],
  params: ["parameters", whole],
  macs: ["GMACs", giga],
  top1: ["top-1 %", (value) => value?.toFixed(1) ?? ""],
  input: ["input px", whole],
  smallest: ["smallest px", whole],
};
const state = { models: [], sort: "name", filter: "" };
const models = new Map(); // name: facts, with the row, box and dots that show them
const at = (path) => new URL(path, import.meta.url).href;
const part = (name) => document.getElementById(`explorer-${name}`);

function read() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const names = [...new Set((asked.get("models") ?? "").split(",").filter(Boolean))];
  const sort = asked.get("sort") ?? "name";
  state.models = names.filter((name) => models.has(name)).slice(0, MOST);
  state.sort = sort.replace("-", "") in COLUMNS ? sort : "name";
  state.filter = part("filter").value = asked.get("filter") ?? "";
  show();
  const unknown = names.filter((name) => !models.has(name));
  if (unknown.length) part("state").prepend(`There is no model ${unknown.join(", ")}. `);
}

function change(changes) {
  const { models: names, sort, filter } = Object.assign(state, changes);
  const [chosen, sorted] = [names.length && `models=${names}`, sort !== "name" && `sort=${sort}`];
  const hash = [chosen, sorted, filter && `filter=${encodeURIComponent(filter)}`].filter(Boolean).join("&");
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  show();
}

function toggle(name) {
  const others = state.models.filter((other) => other !== name);
  const added = others.length === state.models.length && others.length < MOST ? [name] : [];
  change({ models: [...others, ...added] });
}

function table() {
  for (const model of models.values()) {
    model.box = make("input", { type: "checkbox", "aria-label": `compare ${model.name}` });
    model.box.onchange = () => toggle(model.name);
    model.row = make("tr", {}, make("th", { scope: "row" }, make("label", {}, model.box, make("code", {}, model.name))));
    for (const [key, [, text]] of Object.entries(COLUMNS).slice(1)) model.row.append(cell(text !== String, text(model[key])));
  }
  const heads = Object.entries(COLUMNS).map(([key, [heading]]) => {
    const button = make("button", { type: "button" }, heading);
    button.onclick = () => change({ sort: state.sort === key ? `-${key}` : key });
    return make("th", { scope: "col", "data-key": key }, button);
  });
  part("table").replaceChildren(framed(heads, [...models.values()].map((model) => model.row)));
}

function order() {
  const [key, sign] = [state.sort.replace("-", ""), state.sort.startsWith("-") ? -1 : 1];
  const compare = ({ [key]: a }, { [key]: b }) => {
    if (a === null || b === null) return (a === null) - (b === null); // without a value: last, either way
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  };
  const [body] = part("table").querySelector("table").tBodies;
  const rows = [...models.values()].sort(compare).map((model) => model.row);
  if (rows.some((row, index) => body.rows[index] !== row)) body.append(...rows); // a row that moves would lose the focus
  for (const head of part("table").querySelectorAll("[data-key]")) {
    head.ariaSort = head.dataset.key !== key ? "none" : sign > 0 ? "ascending" : "descending";
  }
}

function show() {
  const picked = state.models.map((name) => models.get(name));
  const grid = (of) => make("div", { class: "explorer-beside", style: `--models: ${picked.length}` }, ...picked.map(of));
  const full = picked.length === MOST ? ", as many as there is room for" : "";
  order();
  for (const { row, about } of models.values()) {
    row.hidden = !`${row.textContent} ${about}`.toLowerCase().includes(state.filter.toLowerCase());
  }
  press();
  const shown = [...models.values()].filter((model) => !model.row.hidden).length;
  part("state").textContent = `${shown} of ${models.size} models; chosen: ${state.models.join(", ") || "none"}${full}.`;
  const beside = picked.length ? [facts(picked), grid(drawing), grid(stages)] : ["Nothing is chosen so far."];
  part("chosen").replaceChildren(...beside);
}

function press() {
  for (const { name, box, dots } of models.values()) {
    box.checked = state.models.includes(name);
    box.disabled = !box.checked && state.models.length === MOST;
    for (const dot of dots ?? []) dot.ariaPressed = box.checked;
  }
}

function facts(picked) {
  const bar = (key, text) => (model) => {
    const share = model[key] / Math.max(...picked.map((other) => other[key]));
    return [text(model[key]), make("div", { class: "bar", style: `width: ${100 * share}%` })];
  };
  const rows = {
    "what it is": ({ about }) => [about],
    family: ({ family, title }) => [make("a", { href: at(`../families/${family}/`) }, title)],
    paper: ({ paper }) => [paper],
    parameters: bar("params", whole),
    GMACs: bar("macs", giga),
    layers: ({ depth }) => [depth],
    classes: ({ classes }) => [whole(classes)],
    "input, smallest": ({ input, smallest }) => [`${input} px, ${smallest} px`],
    "feature levels": ({ levels }) => [levels.map(([reduction, channels]) => `1/${reduction}: ${channels}`).join(", ")],
    weights: ({ weights }) => (weights.length ? weights.map(published) : ["none published"]),
  };
  const line = ([name, of]) => make("tr", {}, make("th", { scope: "row" }, name), ...picked.map((model) => cell(false, ...of(model))));
  const heads = picked.map(({ name }) => make("th", { scope: "col" }, make("code", {}, name)));
  return region("Facts", framed([make("td"), ...heads], Object.entries(rows).map(line)));
}

function published({ tag, top1, note, licence, url }) {
  const said = [top1 === null ? note : `top-1 ${top1} %`, licence].filter(Boolean).join(", ");
  return make("div", {}, make("a", { href: url }, tag), `: ${said}`);
}

function drawing({ name }) {
  const href = at(`../drawings/${name}.svg`);
  const picture = make("img", { src: href, alt: `${name}, drawn from its table` });
  return region(`Drawing of ${name}`, make("a", { href }, picture));
}

function stages({ name, stages: rows }) {
  const heads = Object.keys(STAGES).map((heading) => make("th", { scope: "col" }, heading));
  const line = (row) => make("tr", {}, ...Object.values(STAGES).map((index) => cell(index > 4, row[index])));
  const inside = framed(heads, rows.map(line));
  inside.prepend(make("caption", {}, name));
  return region(`Stages of ${name}`, inside);
}

function cell(number, ...inside) {
  return make("td", number ? { class: "number" } : {}, ...inside);
}

function framed(heads, rows) {
  return make("table", { class: "explorer" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
}

function region(name, inside) {
  return make("div", { class: "explorer-scroll", role: "region", "aria-label": name, tabindex: 0 }, inside);
}

try {
  const answer = await fetch(at("models.json"));
  for (const model of await answer.json()) {
    const known = model.weights.map((row) => row.top1).filter((value) => value !== null);
    models.set(model.name, { ...model, top1: known.length ? Math.max(...known) : null });
  }
  table();
  read();
  const redraw = () => {
    scatter(part("plot"), [...models.values()], toggle);
    press();
  };
  new ResizeObserver(redraw).observe(part("plot"));
  addEventListener("hashchange", read);
  part("filter").oninput = ({ target }) => change({ filter: target.value });
  part("clear").onclick = () => change({ models: [], filter: (part("filter").value = "") });
} catch (error) {
  part("state").textContent = `The models could not be shown: ${error.message}.`;
}
