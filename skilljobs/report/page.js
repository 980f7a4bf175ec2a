"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const by_id = (id) => document.getElementById(id);

/* Everything from data becomes text by textContent; nothing is parsed as HTML. */
function element(tag, content = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const part of [content].flat()) made.append(part);
  return made;
}
const signed = (value) => (value === null ? "-" : (value < 0 ? "-" : "+") + Math.abs(value).toFixed(3));
const small = (value) => (value === null ? "-" : value.toExponential(1));
const number = (value) => (value === null ? "-" : String(Number(value.toPrecision(3))));
const whole = (value) => value.toLocaleString("en");
function neuron_text(id) {
  const [name, token] = id.split("@");
  const parts = name.split("/");
  const expert = parts.length === 3 ? ` expert ${parts[1]}` : "";
  return `layer ${parts[0]}${expert} neuron ${parts.at(-1)}` + (token === undefined ? "" : ` token ${token}`);
}
function neuron_id(text) {
  const [name, at] = text.split("@");
  const token = at ?? text.match(/token (\d+)/)?.[1];
  const found = name.replace(/token \d+/, "").match(/\d+/g) ?? [];
  return found.join("/") + (token === undefined ? "" : `@${token.trim()}`);
}

/* Charts. */
const drawn = new Map();
async function draw(place, spec, rows) {
  drawn.set(place, [spec, rows]);
  const name = spec.data?.name;
  const complete = { ...spec, background: "transparent" };
  if (name) complete.datasets = { [name]: rows.map((row) => ({ ...row })) };
  const { view } = await vegaEmbed(place, complete, {
    mode: "vega-lite", renderer: "svg", config: dark.matches ? DATA.themes.dark : DATA.themes.light,
    actions: { export: true, source: false, compiled: false, editor: false },
    tooltip: { theme: dark.matches ? "dark" : "light" }, logLevel: 1,
  });
  view.addEventListener("click", (_, item) => {
    const neuron = item?.datum?.neuron;
    if (typeof neuron === "string" && neuron !== "") open_card(neuron_id(neuron));
  });
}
dark.addEventListener("change", () => {
  for (const [place, [spec, rows]] of [...drawn]) place.isConnected ? draw(place, spec, rows) : drawn.delete(place);
});
function density_rows(panel) {
  const rows = [];
  for (const group of panel.groups) {
    for (const line of group.lines ?? []) rows.push({ group: group.name, line });
    const curve = group.curve ?? [];
    curve.forEach((share, place) => rows.push({
      group: group.name, density: (share * panel.highest) / 1000,
      activation: panel.grid[0] + ((panel.grid[1] - panel.grid[0]) * place) / (curve.length - 1),
    }));
  }
  return rows;
}
function draw_densities(place, panels) {
  const made = panels.map((panel) => {
    const chart = element("div", [], { className: "chart" });
    const title = element("h4", panel.title);
    if (panel.subtitle) title.append(element("small", ` ${panel.subtitle}`));
    return [panel, chart, element("div", [title, panel.groups.length ? chart : element("p", "no examples")])];
  });
  place.replaceChildren(...made.map(([, , box]) => box));
  for (const [panel, chart] of made) if (panel.groups.length) draw(chart, DATA.specs.density, density_rows(panel));
}

/* Tables: a click on a heading sorts, text in the box above filters. */
const value_of = (cell) => {
  const stated = cell?.dataset.value ?? cell?.textContent ?? "";
  const found = stated.replaceAll(",", "").replace("≈", "").trim();
  return found !== "" && !Number.isNaN(Number(found.replace("*", ""))) ? Number(found.replace("*", "")) : stated;
};
function compare(first, second) {
  if (typeof first === "number" && typeof second === "number") return first - second;
  if (typeof first !== typeof second) return typeof first === "number" ? -1 : 1;
  return first.localeCompare(second, "en", { numeric: true });
}
function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = element("button", [...heading.childNodes], { type: "button" });
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") === "descending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      const values = new Map(rows.map((row) => [row, value_of(row.cells[column])]));
      const missing = (row) => values.get(row) === "-";
      rows.sort((a, b) => missing(a) - missing(b)
        || (up ? 1 : -1) * compare(values.get(a), values.get(b)));
      table.tBodies[0].append(...rows);
    });
  });
  const box = table.dataset.filter && by_id(table.dataset.filter);
  box?.addEventListener("input", () => filter(table, box));
}
function filter(table, box) {
  const wanted = box.value.trim().toLowerCase();
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    row.hidden = ![...row.cells].some((cell) => cell.textContent.toLowerCase().includes(wanted));
    shown += !row.hidden;
  }
  const count = by_id(`${box.id}-count`);
  if (count) count.textContent = wanted ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
}
function row_of(cells) {
  const row = element("tr");
  for (const cell of cells) {
    const [content, value] = Array.isArray(cell) ? cell : [cell, undefined];
    const made = element("td", content);
    if (value !== undefined) made.dataset.value = value ?? "-";
    row.append(made);
  }
  return row;
}
function card_button(id) {
  const button = element("button", neuron_text(id), { type: "button", className: "neuron" });
  button.addEventListener("click", () => open_card(id));
  return button;
}

/* The picked metric and population. */
const picked = { metric: 0, population: 0 };
function pick() {
  picked.metric = Number(by_id("metric").value);
  picked.population = Number(by_id("population").value);
  const pair = DATA.pairs[picked.metric][picked.population];
  const sentences = [`n = ${whole(pair.n)} examples, ${whole(pair.neurons)} ${DATA.noun}s with an r.`];
  if (pair.top !== null) sentences.push(`|r| of the tenth is ${pair.top.toFixed(3)} (dashes in the histogram).`);
  sentences.push(pair.null === null ? `There is no null threshold: ${pair.nullIs}.`
    : `The null threshold is |r| = ${pair.null.toFixed(3)} (dots): ${pair.nullIs}.`);
  if (DATA.rare[picked.metric]) sentences.push(`${DATA.rare[picked.metric]}.`);
  by_id("about").textContent = sentences.join(" ");
  const both = (name, value) => (value === null ? [] : [{ [name]: -value }, { [name]: value }]);
  draw(by_id("histogram"), DATA.specs.histogram, [
    ...pair.bins.map(([low, high, neurons]) => ({ low: low / 1000, high: high / 1000, neurons, floor: 0.5 })),
    ...both("top", pair.top), ...both("null", pair.null),
  ]);
  const shares = DATA.quantiles;
  draw(by_id("layers"), DATA.specs.layers, [
    ...pair.layers.flatMap(([layer, ...values]) => shares.map((share, place) => ({
      layer, share, strength: values[place], neuron: place === 2 ? neuron_text(values[3]) : "",
    }))),
    ...(pair.null === null ? [] : [{ null: pair.null }]),
  ]);
  draw(by_id("halves"), DATA.specs.halves, [
    ...pair.strongest.map(([id, r, , , , q, half0, half1]) => ({ neuron: neuron_text(id), r, q, half0, half1 })),
    ...both("null0", pair.nullHalves[0]), ...both("null1", pair.nullHalves[1]),
  ]);
  const rows = pair.strongest.map(([id, r, low, high, p, q, half0, half1, mean, std, n]) => {
    const below = pair.null !== null && Math.abs(r) <= pair.null;
    const strength = [signed(r)];
    if (below) strength.push(element("span", " below the null", { className: "below" }));
    return row_of([
      [card_button(id)], [strength, r], [`${signed(low)} .. ${signed(high)}`, low], [small(p), p], [small(q), q],
      [signed(half0), half0], [signed(half1), half1], [number(mean), mean], [number(std), std], [whole(n), n],
    ]);
  });
  const table = by_id("strongest");
  for (const heading of table.tHead.rows[0].cells) heading.removeAttribute("aria-sort");
  table.tBodies[0].replaceChildren(...rows);
  by_id("undefined").hidden = rows.length > 0;
  filter(table, by_id("strongest-filter"));
  const panels = DATA.densities[picked.metric];
  by_id("no-densities").hidden = panels.length > 0;
  draw_densities(by_id("densities"), panels);
}

/* Cards. */
function texts(heading, rows) {
  if (!rows.length) return [];
  return [element("h3", heading), ...rows.map(([activation, text, answer]) =>
    element("pre", [`${number(activation)}  ${text}`, element("b", answer)]))];
}
function tokens(heading, pairs) {
  if (!pairs.length) return [];
  const spans = pairs.flatMap(([token, logit]) => [element("span", token, { className: "token", title: signed(logit) }), " "]);
  return [element("h3", heading), element("p", spans)];
}
function small_table(headings, rows) {
  const head = element("thead", element("tr", headings.map((heading) => element("th", heading, { scope: "col" }))));
  return element("div", element("table", [head, element("tbody", rows)]), { className: "wide" });
}
function full_card(card) {
  const rows = card.correlations.map(([metric, r, low, high, q, half0, half1]) =>
    row_of([metric, signed(r), `${signed(low)} .. ${signed(high)}`, small(q), signed(half0), signed(half1)]));
  const densities = element("div", [], { className: "charts" });
  const parts = [
    element("h3", "r over all test examples"),
    small_table(["metric", "r", "95 % interval", "q", "half 0", "half 1"], rows),
    element("div", [
      element("div", tokens("promoted tokens", card.promoted)),
      element("div", tokens("suppressed tokens", card.suppressed)),
    ], { className: "columns" }),
    densities,
    element("div", [
      element("div", texts("highest activations", card.highest)),
      element("div", texts("lowest activations", card.lowest)),
    ], { className: "columns" }),
  ];
  return [parts, () => draw_densities(densities, card.groups)];
}
function short_card(id) {
  const rows = [];
  DATA.pairs.forEach((pairs, metric) => pairs.forEach((pair, population) => {
    for (const [other, r, low, high, , q, half0, half1] of pair.strongest) {
      if (other === id) {
        rows.push(row_of([DATA.metrics[metric], DATA.populations[population], signed(r),
          `${signed(low)} .. ${signed(high)}`, small(q), signed(half0), signed(half1)]));
      }
    }
  }));
  const [name] = id.split("@");
  const command = element("pre", `skilljobs neuron ${DATA.run} ${name}`);
  if (!rows.length) return [[element("p", "It is among the strongest of no metric here. Everything about it:"), command], () => {}];
  return [[
    element("p", "It is among the strongest of these metrics and populations:"),
    small_table(["metric", "population", "r", "95 % interval", "q", "half 0", "half 1"], rows),
    element("p", "This page has texts and tokens for the very strongest alone. Everything about this one:"), command,
  ], () => {}];
}
function is_read(id) {
  const [layer, ...rest] = id.split("@")[0].split("/").map(Number);
  const known = DATA.layers.find((other) => other.layer === layer);
  if (!known || !rest.length || rest.length > 2) return false;
  if (rest.length === 1) return rest[0] < known.dense;
  return known.experts.includes(rest[0]) && rest[1] < known.perExpert;
}
function open_card(id) {
  const dialog = by_id("card");
  by_id("card-title").textContent = neuron_text(id);
  const card = DATA.cards[id];
  const [parts, then] = card ? full_card(card) : short_card(id);
  by_id("card-body").replaceChildren(...parts);
  if (!dialog.open) dialog.showModal();
  by_id("card-body").scrollTop = 0;
  then();
  history.replaceState(null, "", `#${id}`);
}
function close_card() {
  history.replaceState(null, "", location.pathname + location.search);
}
function search(event) {
  event?.preventDefault();
  const text = by_id("search").value.trim();
  const id = DATA.cards[text] ? text : neuron_id(text);
  const known = is_read(id);
  const shown = known && (DATA.cards[id] ? id : Object.keys(DATA.cards).find((other) => other.split("@")[0] === id));
  by_id("search-says").textContent = known ? "" : text === "" ? "Write a neuron, such as "
    + `${Object.keys(DATA.cards)[0] ?? "0/1"}.` : `There is no such ${DATA.noun}: the run read layers ${DATA.layers[0].layer}`
    + ` to ${DATA.layers.at(-1).layer}, with ${whole(DATA.layers[0].count)} ${DATA.noun}s in the first.`;
  if (known) open_card(shown || id);
}
function from_address() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (/^\d+(\/\d+){1,2}(@\d+)?$/.test(id) && is_read(id)) open_card(id);
}

for (const table of document.querySelectorAll("table.sortable")) sortable(table);
for (const control of ["metric", "population"]) {
  const names = DATA[control === "metric" ? "metrics" : "populations"];
  by_id(control).append(...names.map((name, place) => element("option", name, { value: String(place) })));
  by_id(control).addEventListener("change", pick);
}
by_id("neurons").append(...Object.keys(DATA.cards).map((id) => element("option", neuron_text(id), { value: id })));
by_id("search-form").addEventListener("submit", search);
for (const button of document.querySelectorAll("button[data-metric]")) {
  button.addEventListener("click", () => {
    const place = DATA.metrics.indexOf(button.dataset.metric);
    if (place < 0) return;
    by_id("metric").value = String(place);
    pick();
    by_id("explore").scrollIntoView();
  });
}
for (const button of document.querySelectorAll("button[data-neuron]")) {
  button.addEventListener("click", () => open_card(button.dataset.neuron));
}
by_id("card").addEventListener("close", close_card);
by_id("card").addEventListener("click", (event) => { if (event.target === by_id("card")) by_id("card").close(); });
by_id("card-close").addEventListener("click", () => by_id("card").close());
addEventListener("hashchange", from_address);
pick();
for (const figure of DATA.figures) draw(by_id(`figure-${figure.name}`), figure.spec, []);
from_address();
document.documentElement.dataset.ready = "yes";
