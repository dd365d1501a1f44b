"use strict";
// Draws the charts from one block of data, and filters, colours, sorts and highlights runs. Text of runs is only ever
// set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const runs = data.runs;
  const find = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const DASHES = [[1, 0], [6, 2], [1.5, 1.5], [7, 2, 1.5, 2], [3, 1.5, 1, 1.5, 1, 1.5]];
  const SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right"];
  const PLAIN = "not told apart";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const views = new Map(); // place -> the Vega view that is drawn there
  let picked = null;

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // The tables travel by columns; text as places in a list of the different words.
  const unpacked = (table) => {
    const columns = Object.entries(table).map(([name, x]) => [name, x.words ? x.at.map((n) => x.words[n]) : x]);
    const length = columns.length ? columns[0][1].length : 0;
    return Array.from({ length }, (_, n) => Object.fromEntries(columns.map(([name, x]) => [name, x[n]])));
  };
  const tables = Object.fromEntries(Object.entries(data.tables).map(([name, table]) => [name, unpacked(table)]));

  // ---- what may be chosen
  const keys = Object.keys(runs[0].keys);
  const values = (key) => [...new Set(runs.map((run) => run.keys[key]))];
  const several = keys.filter((key) => values(key).length > 1);
  const multiples = [...new Set(tables.lengths.map((row) => row.multiple))].sort((a, b) => a - b);

  const options = (select, names, chosen) => {
    for (const [value, text] of names) select.append(make("option", text, { value }));
    for (const option of select.options) if (option.value === chosen) option.setAttribute("selected", "");
  };
  const naming = [...several.map((key) => [key, key]), ["", PLAIN]];
  options(find("colour"), [...naming.slice(0, -1), ["label", "run"], ["", PLAIN]], several.includes("scheme") ? "scheme" : "label");
  options(find("panels"), naming, several.includes("world") ? "world" : "");
  options(find("what"), Object.entries(data.shown), "R-D");

  const boxes = (key, names) => {
    const field = make("fieldset"), inside = make("div", "", names.length > 8 ? { class: "many" } : {});
    field.append(make("legend", key), inside);
    for (const name of names) {
      const label = make("label"), box = make("input", "", { type: "checkbox", checked: "", "data-key": key, value: name });
      label.append(box, ` ${name}`);
      inside.append(label);
    }
    find("keys").append(field);
  };
  const apart = (key) => values(key).length === runs.length && runs.length > 8; // as good as the runs' own names
  for (const key of several.filter((key) => !apart(key))) boxes(key, values(key));
  if (multiples.length > 1) boxes("times the trained length", multiples.map(String));

  // ---- what is chosen
  const chosen = (key) => new Set(all("#keys input:checked").filter((x) => x.dataset.key === key).map((x) => x.value));
  const shown = () => {
    const allowed = several.filter((key) => !apart(key)).map((key) => [key, chosen(key)]);
    const word = find("search").value.trim().toLowerCase();
    const told = (run) => `${run.label} ${Object.values(run.keys).join(" ")}`.toLowerCase();
    return runs.map((run) => allowed.every(([key, set]) => set.has(run.keys[key])) && told(run).includes(word));
  };
  const group = (run) => (find("colour").value === "label" ? run.label : run.keys[find("colour").value] ?? "runs");
  const panel = (run) => run.keys[find("panels").value] ?? "";
  const wrap = (text, width) =>
    text.split(" ").reduce((lines, word) => {
      const last = lines[lines.length - 1];
      return last && (last + " " + word).length <= width ? [...lines.slice(0, -1), `${last} ${word}`] : [...lines, word];
    }, []).join("\n");

  // ---- looks: colour, dash and mark all change, so that two of them may be lost
  const groups = () => [...new Set(runs.map(group))];
  const looks = (names) => ({
    color: names.map((_, n) => colour(`--c${n % 7}`)),
    strokeDash: names.map((_, n) => DASHES[n % DASHES.length]),
    shape: names.map((_, n) => SHAPES[n % SHAPES.length]),
  });
  const PATHS = {
    circle: "M16 3.5a3.5 3.5 0 1 0 .01 0z", square: "M13 4h6v6h-6z", "triangle-up": "M16 3l4 7h-8z", diamond: "M16 2.5l4 4.5-4 4.5-4-4.5z",
    "triangle-down": "M16 11l4-7h-8z", cross: "M15 3h2v3h3v2h-3v3h-2v-3h-3v-2h3z", "triangle-right": "M12.5 3v8l7-4z",
  };
  const legend = (names, look, visible) => {
    find("legend").replaceChildren(...names.filter((name) => visible.has(name)).slice(0, 24).map((name) => {
      const n = names.indexOf(name), item = make("li"), space = "http://www.w3.org/2000/svg";
      const svg = document.createElementNS(space, "svg");
      for (const [k, v] of Object.entries({ width: 32, height: 14, "aria-hidden": "true" })) svg.setAttribute(k, v);
      for (const [d, more] of [["M1 7h30", { stroke: look.color[n], "stroke-width": 2, "stroke-dasharray": look.strokeDash[n].join(" ") }], [PATHS[look.shape[n]], { fill: look.color[n] }]]) {
        const path = document.createElementNS(space, "path");
        for (const [k, v] of Object.entries({ d, ...more })) path.setAttribute(k, v);
        svg.append(path);
      }
      item.append(svg, make("span", name));
      return item;
    }));
  };
  const theme = () => {
    const ink = colour("--ink"), aside = colour("--aside"), line = colour("--line");
    const font = getComputedStyle(document.body).fontFamily.replaceAll('"', "'");
    return {
      background: "transparent", font, lineBreak: "\n", view: { stroke: null }, rule: { color: ink }, tick: { color: ink }, text: { color: ink },
      axis: { labelColor: aside, titleColor: aside, gridColor: line, domainColor: aside, tickColor: aside, titleFontWeight: 400, labelFontSize: 11, titleFontSize: 11.5, labelFlush: false },
      header: { labelColor: ink, titleColor: ink, labelFontSize: 12, labelFontWeight: 600, labelLineHeight: 14, labelPadding: 6 },
      point: { color: colour("--c0") },
    };
  };

  // ---- scales: logarithmic away from 0 where sizes differ more than twentyfold
  const scaling = (sizes) => {
    const found = sizes.filter((x) => Number.isFinite(x) && x !== 0).map(Math.abs).sort((a, b) => a - b);
    const asked = find("scale").value, most = found[found.length - 1] ?? 1;
    const low = Math.max(found[Math.floor(found.length / 20)] ?? 1, most / 1e5);
    if (asked === "linear" || (asked === "auto" && most <= 20 * low)) return null;
    const constant = 10 ** Math.floor(Math.log10(low)), decades = [0];
    const step = Math.log10(most / constant) > 4 ? 100 : 10;
    for (let x = constant; x <= 2 * most; x *= step) decades.push(x);
    const negative = sizes.some((x) => x < 0) ? decades.slice(1).map((x) => -x).reverse() : [];
    return { constant, values: [...negative, ...decades] };
  };
  // Every channel of a specification gets the scale and the looks.
  const dress = (node, names, look, scale, ticks) => {
    if (Array.isArray(node)) return node.map((x) => dress(x, names, look, scale, ticks));
    if (!node || typeof node !== "object") return node;
    const copy = Object.fromEntries(Object.entries(node).map(([k, x]) => [k, dress(x, names, look, scale, ticks)]));
    if (copy.field === "multiple" && copy.axis) copy.axis = { ...copy.axis, values: multiples };
    if (copy.scale && copy.scale.type === "symlog") {
      copy.scale = scale ? { ...copy.scale, constant: scale.constant, nice: false } : { ...copy.scale, type: "linear" };
      if (scale) copy.axis = { ...copy.axis, values: scale.values, format: "~g" };
      if (ticks) copy.axis = { ...copy.axis, tickCount: ticks };
    }
    for (const [channel, range] of [["color", look.color], ["stroke", look.color], ["shape", look.shape], ["strokeDash", look.strokeDash]])
      if (copy[channel] && copy[channel].field === "group") copy[channel] = { ...copy[channel], scale: { domain: names, range } };
    return copy;
  };

  // ---- the charts
  const rowsOf = (name, visible) => {
    const lengths = chosen("times the trained length"), what = find("what").value;
    const near = (row) => multiples.length < 2 || lengths.has(String(row.multiple));
    let rows = tables[name].filter((row) => visible[row.run]);
    if (name === "lengths") rows = rows.filter((row) => row.what === what && near(row));
    if (name === "positions") {
      const longest = new Map();
      for (const row of rows.filter(near)) longest.set(row.run, Math.max(longest.get(row.run) ?? 0, row.multiple));
      rows = rows.filter((row) => row.multiple === longest.get(row.run));
    }
    rows = rows.map((row) => ({ ...row, label: wrap(runs[row.run].label, 36), group: group(runs[row.run]), panel: wrap(panel(runs[row.run]), 60) }));
    if (name === "ladders") rows = rows.map((row) => ({ ...row, beside: `${row.text}  ${row.class === row.text ? "" : row.class}` }));
    if (name === "positions" && rows.length) {
      const marks = new Map(rows.map((row) => [`${row.panel} ${runs[row.run].keys["trained length"]}`, row]));
      rows.push(...[...marks.values()].map((row) => ({ kind: "trained", panel: row.panel, run: null, at: Number(runs[row.run].keys["trained length"]) })));
    }
    return rows;
  };
  const SIZES = { ladders: ["start", "end", "low", "high"], lengths: ["mean"], positions: ["mean"], training: ["mean"], protocols: ["excess"] };
  const room = (place, name, rows) => {
    const wide = place.clientWidth || 800;
    if (name === "ladders") {
      const columns = Math.max(1, Math.min(new Set(rows.map((row) => row.run)).size, Math.floor(wide / 330)));
      return { columns, spacing: { row: 22, column: 26 }, spec: { width: Math.max(120, Math.min(300, wide / columns - 170)), height: 150 } };
    }
    const field = name === "protocols" ? "protocol" : "panel", count = new Set(rows.map((row) => row[field])).size;
    const columns = Math.max(1, Math.min(count, Math.floor(wide / 330)));
    return { columns, spacing: 30, spec: { width: Math.max(200, Math.min(880, wide / columns - 95)), height: columns === 1 ? 330 : 230 } };
  };
  const show = async (place, spec) => {
    views.get(place)?.finalize();
    views.delete(place);
    const actions = { export: true, source: false, compiled: false, editor: false };
    const tooltip = { theme: dark.matches ? "dark" : "light" };
    const result = await vegaEmbed(place, spec, { renderer: "svg", ast: true, actions, tooltip, config: theme() });
    views.set(place, result);
    result.view.signal("chosen", picked).run();
    result.view.addEventListener("click", (_, item) => {
      if (item && item.datum && Number.isInteger(item.datum.run)) pick(item.datum.run);
    });
  };
  const draw = async (place, visible, names, look) => {
    const name = place.dataset.chart, rows = rowsOf(name, visible), base = data.charts[name];
    if (!rows.length) {
      views.get(place)?.finalize();
      views.delete(place);
      place.replaceChildren(make("p", "Nothing to draw: no run that is shown has these numbers."));
      return;
    }
    const scale = scaling(rows.flatMap((row) => SIZES[name].map((size) => row[size])));
    const size = room(place, name, rows), spec = dress(base, names, look, scale, name === "ladders" ? 3 : null);
    const facet = { ...spec.facet, sort: [...new Set(rows.map((row) => row[spec.facet.field]))] };
    const description = place.getAttribute("aria-label"), inner = { ...spec.spec, ...size.spec };
    await show(place, { ...spec, ...size, facet, spec: inner, datasets: { [name]: rows }, description });
  };
  const drawFinding = async (place) => {
    const found = Number(place.dataset.finding), unit = place.dataset.unit;
    if (unit === "phase") return drawPhase(place, data.phases[found]);
    const rows = data.intervals[found][unit];
    const scale = scaling(rows.map((row) => row.value)), look = { color: [], shape: [], strokeDash: [] };
    const spec = dress(data.charts.intervals, [], look, find("scale").value === "symlog" ? scale : null, null);
    const across = { width: Math.max(240, Math.min(520, (place.clientWidth || 800) - 460)), height: { step: 18 } };
    const title = { text: unit, anchor: "start", fontSize: 11, color: colour("--aside"), fontWeight: 400 };
    await show(place, { ...spec, ...across, title, datasets: { intervals: rows, zero: [{ value: 0 }] } });
  };
  const drawPhase = async (place, rows) => {
    const names = [...new Set(rows.map((row) => row.group))], spec = dress(data.charts.phase, names, looks(names), null, null);
    const size = { width: { step: 84 }, height: { step: 40 } };
    const tiled = { ...spec, columns: (place.clientWidth || 800) > 700 ? 2 : 1, spec: { ...spec.spec, ...size } };
    await show(place, { ...tiled, datasets: { phase: rows } });
  };

  let turn = 0;
  const redraw = async () => {
    const mine = ++turn, visible = shown(), names = groups(), look = looks(names);
    const count = visible.filter(Boolean).length;
    find("status").textContent = `${count} of ${runs.length} runs shown`;
    for (const element of all("[data-run]")) element.hidden = !visible[Number(element.dataset.run)];
    legend(names, look, new Set(runs.filter((_, n) => visible[n]).map(group)));
    document.body.dataset.drawn = "no";
    for (const place of all("[data-chart]")) {
      await draw(place, visible, names, look);
      if (mine !== turn) return; // something else was chosen meanwhile
    }
    for (const place of all("details[open] > [data-finding]")) await drawFinding(place);
    if (mine === turn) document.body.dataset.drawn = "yes";
  };

  // ---- one run stands out
  const pick = (run) => {
    picked = picked === run ? null : run;
    for (const button of all("[data-pick]")) button.setAttribute("aria-pressed", String(Number(button.dataset.pick) === picked));
    for (const row of all("tr[data-run]")) row.classList.toggle("picked", Number(row.dataset.run) === picked);
    for (const { view } of views.values()) view.signal("chosen", picked).run();
  };

  const sort = (button) => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0], column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending", text = (row) => row.cells[column].textContent.trim();
    const value = (row) => {
      const said = row.cells[column].dataset.value;
      return said === undefined ? Number(text(row)) : said === "" ? Infinity : Number(said);
    };
    const rows = [...body.rows], numeric = rows.every((row) => text(row) === "" || !Number.isNaN(value(row)));
    rows.sort((a, b) => (numeric ? value(a) - value(b) || 0 : text(a).localeCompare(text(b), "en", { numeric: true })));
    body.append(...(up ? rows : rows.reverse()));
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", other === head ? (up ? "ascending" : "descending") : "none");
  };

  // ---- what the reader does
  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(redraw, 120); };
  find("filters").addEventListener("input", soon);
  find("filters").addEventListener("reset", () => setTimeout(redraw));
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && button.dataset.pick !== undefined) pick(Number(button.dataset.pick));
    else if (button && button.closest("table.sortable thead")) sort(button);
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && picked !== null) pick(picked); });
  for (const finding of all("details.finding")) finding.addEventListener("toggle", () => { if (finding.open) finding.querySelectorAll(":scope > [data-finding]").forEach((place) => views.has(place) || drawFinding(place)); });
  const open = () => { const found = location.hash.match(/^#run-\d+$/) && find(location.hash.slice(1)); if (found) { found.open = true; found.scrollIntoView(); } };
  window.addEventListener("hashchange", open);
  window.addEventListener("resize", soon);
  dark.addEventListener("change", redraw);
  redraw().then(open);
})();
