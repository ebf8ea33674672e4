"use strict";
/* The fourth view: which mistakes are made, and at which confidence. */
const Errors = (() => {
  const { make } = Dom;
  let serial = 0;

  async function show(into) {
    const runs = Runs.all().filter((run) => run.evaluations.some(({ figures }) => figures));
    if (!runs.length) { Dom.fill(into, make("p", { class: "faint" }, Runs.all().every(({ state }) => state === "finished") ? "The metrics of this experiment give no tables, curves or matrices." : "No metric has left figures yet.")); return; }
    const run = runs.find(({ id }) => id === State.get("of")) ?? runs[0];
    const steps = Evaluations.steps([run], "figures");
    const step = steps.find(({ key }) => key === State.get("at")) ?? steps.at(-1);
    const again = () => show(into);
    const place = make("div");
    const which = Controls.choice("Run", runs.map(({ id, label }) => [id, label]), run.id, (id) => { State.set({ of: id, at: null }); again(); });
    const slider = Controls.slider("Epoch", { min: 0, max: steps.length - 1, step: 1, value: steps.indexOf(step), id: "errors-step", format: (at) => steps[at].label },
      (at) => { State.set({ at: steps[at].key }); draw(place, run, steps[at]); });
    Dom.fill(into, make("div", { class: "controls sticky" }, which.element, slider.element), place);
    await draw(place, run, step);
  }

  async function draw(place, run, step) {
    const mine = ++serial;
    const figures = await Evaluations.figures(run, step.key).catch(() => null);
    if (mine !== serial || !place.isConnected) return;
    if (!figures) { Dom.fill(place, make("p", { class: "faint" }, "The figures of this epoch cannot be had.")); return; }
    const open = (ids, why) => Debugging.open(ids, why, { runs: [run.id], step: step.key, confidence: run.matching.confidence, iou: run.matching.iou, classes: null });
    Dom.fill(place,
      Object.entries(figures.matrices).map(([name, matrix]) => section(`Confusion (${name})`, Confusion.show(matrix, open))),
      kinds(figures), byClass(figures), curves(run, step, figures), suspects(figures, open), rest(figures));
  }

  const section = (title, ...content) => make("section", {}, make("h2", {}, title), ...content);
  const named = (figures, ending) => Object.entries(figures.tables).find(([name]) => name.endsWith(ending))?.[1];

  /* --- kinds of errors --- */

  function kinds(figures) {
    const table = named(figures, "/error_kinds");
    if (!table) return null;
    const [kind, lost, count, what] = ["error", "ap_lost", "count", "what it is"].map((name) => table.columns.indexOf(name));
    const plot = Plots.place(() => ({
      data: [{ type: "bar", orientation: "h", y: table.rows.map((row) => Plots.text(row[kind])), x: table.rows.map((row) => row[lost]), marker: { color: Plots.css("--accent") },
        text: table.rows.map((row) => Dom.fixed(row[lost])), textposition: "auto", hoverinfo: "text", hovertext: table.rows.map((row) => Plots.text(row[what])) }],
      layout: { title: table.title, yaxis: { autorange: "reversed" }, margin: { l: 90, r: 12, t: 34, b: 40 } },
    }));
    return section("Kinds of errors", make("div", { class: "pair" }, plot, Dom.table([
      { title: "error", cell: (row) => row[kind] }, { title: "AP lost", number: true, cell: (row) => Dom.fixed(row[lost]) },
      { title: "count", number: true, cell: (row) => Dom.short(row[count]) }, { title: "what it is", cell: (row) => row[what] }], table.rows,
    { caption: "How far AP rises where that kind alone is repaired (TIDE)" })));
  }

  /* --- classes --- */

  function byClass(figures) {
    const tables = Object.entries(figures.tables).filter(([name]) => name.endsWith("per_class"));
    return tables.map(([name, { columns, rows }]) => section(tables.length > 1 ? `By class (${name})` : "By class", Sorting.table(columns.map((title, i) => ({
      key: String(i), title: title.replaceAll("_", " "), number: i > 0,
      cell: (row) => (typeof row[i] === "string" ? row[i] : Number.isInteger(row[i]) && i > 0 && title === "objects" ? row[i].toLocaleString("en-GB") : Dom.fixed(row[i])),
      sort: (row) => row[i],
    })), rows, { caption: "Numbers of each class" })));
  }

  /* --- curves --- */

  const FAMILIES = [["pr50", "Precision and recall at IoU 0.50"], ["pr75", "Precision and recall at IoU 0.75"], ["pr", "Precision and recall, mean over IoU"], ["f1_confidence", "F1 by confidence"],
    ["precision_confidence", "Precision by confidence"], ["recall_confidence", "Recall by confidence"], ["calibration", "Calibration"]];

  function curves(run, step, figures) {
    const entries = Object.entries(figures.curves);
    if (!entries.length) return null;
    const prefixes = [...new Set(entries.map(([name]) => name.split("/").slice(0, 2).join("/")))];
    const order = (name) => { const at = FAMILIES.findIndex(([one]) => one === name.split("/")[1].replace(/^mask_/, "")); return at < 0 ? 99 : at; };
    const compare = Controls.toggle("All runs together", State.flag("together", true), (on) => { State.set({ together: on ? null : false }); redraw(); },
      "The mean of all classes of every run at this epoch, in place of the classes of one run");
    const plots = prefixes.sort((a, b) => order(a) - order(b)).map((name) => Plots.place(() => curve(name, run, figures, others)));
    const redraw = () => plots.forEach((plot) => plot.redraw());
    let others = new Map([[run, figures]]);
    Promise.all(Runs.chosen().map(async (one) => [one, await Evaluations.figures(one, Evaluations.keyOf(one, step.key)).catch(() => null)])).then((found) => {
      others = new Map(found.filter(([, one]) => one));
      redraw();
    });
    return section("Curves", make("div", { class: "controls" }, compare.element), make("div", { class: "plots" }, plots));
  }

  function curve(name, run, figures, others) {
    const together = State.flag("together", true);
    const own = Object.entries(figures.curves).filter(([one]) => one === name || one.startsWith(`${name}/`))
      .sort(([a], [b]) => (b === name) - (a === name));
    const classes = own.filter(([one]) => one !== name);
    const data = together
      ? [...others].filter(([, found]) => found.curves[name]).map(([one, found]) => line(found.curves[name], one.label, Runs.colour(one), Runs.dash(one)))
      : own.map(([one, found]) => line(found, one === name ? "all classes" : one.slice(name.length + 1), one === name ? Plots.css("--ink") : Plots.colour(classes.findIndex(([c]) => c === one)), "solid"));
    const first = own[0]?.[1];
    if (name.endsWith("calibration")) data.push({ x: [0, 1], y: [0, 1], mode: "lines", line: { color: Plots.css("--faint"), dash: "dot", width: 1 }, name: "as sure as right", hoverinfo: "skip" });
    const family = FAMILIES.find(([one]) => one === name.split("/")[1].replace(/^mask_/, ""));
    return { data, layout: { title: `${family?.[1] ?? name}${name.includes("/mask_") ? " (masks)" : ""}`, showlegend: data.length > 1 && data.length < 12,
      xaxis: { title: { text: Plots.text(first?.x_name ?? ""), standoff: 6 }, range: [0, 1.01] }, yaxis: { title: { text: Plots.text(first?.y_name ?? "") }, range: [0, 1.02] }, height: 320 } };
  }

  function line({ x, y }, name, color, dash) {
    return { x, y: y.map((value) => (value < 0 ? null : value)), name: Plots.text(name), mode: x.length < 30 ? "lines+markers" : "lines", line: { color, dash, width: 2 } };
  }

  /* --- labels that may be wrong --- */

  function suspects(figures, open) {
    const table = named(figures, "/label_errors");
    if (!table?.rows.length) return null;
    const at = Object.fromEntries(table.columns.map((name, i) => [name, i]));
    return section(table.title || "Labels that may be wrong", Dom.table([
      { title: "image", cell: (row) => Controls.button(String(row[at.image]), () => open([row[at.image_id]], ""), { class: "link" }) },
      { title: "suspicion", cell: (row) => row[at.suspicion] }, { title: "labelled", cell: (row) => row[at.labelled] || "–" }, { title: "found", cell: (row) => row[at.found] },
      { title: "confidence", number: true, cell: (row) => Dom.fixed(row[at.score], 2) }, { title: "IoU", number: true, cell: (row) => Dom.fixed(row[at.iou], 2) },
    ], table.rows.slice(0, 25), { caption: `The ${Math.min(25, table.rows.length)} surest of ${table.rows.length}: click to look` }));
  }

  /* --- whatever other metrics gave --- */

  function rest(figures) {
    const known = /(per_image|per_class|error_kinds|label_errors)$/;
    return Object.entries(figures.tables).filter(([name]) => !known.test(name)).map(([name, table]) => make("details", {}, make("summary", {}, table.title || name),
      Dom.table(table.columns.map((title, i) => ({ title, number: table.rows.every((row) => typeof row[i] !== "string"), cell: (row) => (typeof row[i] === "number" ? Dom.short(row[i]) : Dom.plain(row[i])) })), table.rows.slice(0, 500), { caption: name })));
  }

  return { show };
})();
