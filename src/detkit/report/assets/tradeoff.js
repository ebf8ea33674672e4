"use strict";
/* The fifth view: accuracy against what it costs, with the models that no other beats at both, and limits to set. */
const Tradeoff = (() => {
  const { make } = Dom;
  const AXES = ["latency_ms", "memory_mb", "parameters_m", "gflops", "file_mb", "train_min", "train_memory_mb", "images_per_s"];
  const value = (row, quantity) => row.values[quantity.name]?.value ?? null;
  const lower = (quantity) => quantity.higher_is_better === false;
  const better = (quantity, a, b) => (lower(quantity) ? a < b : a > b);

  function show(into) {
    const board = Runs.experiment().standing, rows = board.rows.filter((row) => row.finished);
    const metrics = board.quantities.filter((one) => !one.is_cost && one.higher_is_better !== null);
    const costs = AXES.map((name) => board.quantities.find((one) => one.name === name)).filter(Boolean);
    if (!rows.length || !metrics.length || !costs.length) {
      Dom.fill(into, make("p", { class: "faint" }, "No run has finished yet: there is nothing to weigh against each other."));
      return;
    }
    const now = () => choice(rows, costs, metrics);
    const parts = { verdict: make("p", { class: "verdict", role: "status" }), table: make("div"), plot: Plots.place(() => plot(now())) };
    parts.plot.classList.add("tall");
    const draw = () => { parts.plot.redraw(); told(parts, now()); };
    const option = (one) => [one.name, one.unit && one.unit !== one.title ? `${one.title} (${one.unit})` : one.title];
    Dom.fill(into,
      make("div", { class: "controls" },
        Controls.choice("Accuracy", metrics.map(option), now().y.name, (name) => { State.set({ y: name, [`limit_${now().y.name}`]: null }); show(into); }).element,
        Controls.choice("against", costs.map(option), now().x.name, (name) => { State.set({ x: name }); draw(); }).element,
        Controls.toggle("Log axis", State.flag("xlog", false), (on) => { State.set({ xlog: on || null }); draw(); }).element),
      make("fieldset", { class: "card limits" }, make("legend", {}, "What must hold"),
        [now().y, ...costs].filter((one) => rows.some((row) => Dom.known(value(row, one)))).map((one) => limit(one, rows, draw)),
        Controls.button("No limits", () => { State.set(Object.fromEntries([...metrics, ...costs].map(({ name }) => [`limit_${name}`, null]))); show(into); })),
      parts.verdict, parts.plot, parts.table);
    told(parts, now());
  }

  /* A slider from "any" to the strictest. */
  function limit(one, rows, draw) {
    const known = rows.map((row) => value(row, one)).filter(Dom.known), low = Math.min(...known), high = Math.max(...known);
    const room = Math.max(high - low, Math.abs(high) * 0.2, 1e-9), any = lower(one) ? high : Math.max(0, low - room * 0.25);
    const [min, max] = lower(one) ? [Math.max(0, low - room * 0.25), high] : [any, high + room * 0.05];
    const isAny = (at) => (lower(one) ? at >= max - room * 1e-9 : at <= min);
    const slider = Controls.slider(`${one.title} ${lower(one) ? "at most" : "at least"}`, { min, max, step: "any", id: `limit-${one.name.replaceAll("/", "-")}`, hint: one.about,
      value: State.number(`limit_${one.name}`, any), format: (at) => (isAny(at) ? "any" : Runs.amount(one, at)) },
    (at) => { State.set({ [`limit_${one.name}`]: isAny(at) ? null : at }); draw(); });
    slider.input.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      slider.set(Number(slider.input.value) + (by * (max - min)) / 100);
      slider.input.dispatchEvent(new Event("input"));
    });
    return slider.element;
  }

  function choice(rows, costs, metrics) {
    const y = metrics.find(({ name }) => name === State.get("y")) ?? metrics[0];
    const x = costs.find(({ name }) => name === State.get("x")) ?? costs[0];
    const entries = rows.map((row, place) => {
      const missed = misses(row, [y, ...costs]);
      return { row, place, x: value(row, x), y: value(row, y), missed, unknown: missed.some(({ unknown }) => unknown) };
    });
    return { entries, x, y, costs, best: front(entries.filter(({ missed }) => !missed.length), x, y) };
  }

  /* What a model misses of the limits, and by how much. */
  function misses(row, quantities) {
    return quantities.flatMap((one) => {
      const bound = State.number(`limit_${one.name}`, NaN), own = value(row, one);
      if (Number.isNaN(bound)) return [];
      if (own === null) return [{ text: `its ${one.title} is not known`, unknown: true }];
      return better(one, bound, own) ? [{ text: `${one.title} by ${Runs.amount(one, Math.abs(own - bound))}` }] : [];
    });
  }

  /* Those that no other beats at both, from left to right. entries: [{x, y}]. */
  function front(entries, x, y) {
    const known = entries.filter((one) => one.x !== null && one.y !== null);
    const beats = (a, b) => !better(x, b.x, a.x) && !better(y, b.y, a.y) && (better(x, a.x, b.x) || better(y, a.y, b.y));
    return known.filter((one) => !known.some((other) => beats(other, one))).sort((a, b) => a.x - b.x);
  }

  /* Of more models than these only those on the front have their names written; the others say theirs when pointed at. */
  const NAMED = 15;

  function plot({ entries, x, y, best }) {
    const shown = entries.filter((one) => one.x !== null && one.y !== null);
    const middle = (Math.max(...shown.map((one) => one.x)) + Math.min(...shown.map((one) => one.x))) / 2;
    const data = shown.map((one) => {
      const out = one.missed.length > 0, name = Plots.text(one.row.name);
      return { x: [one.x], y: [one.y], mode: shown.length <= NAMED || best.includes(one) ? "markers+text" : "markers", type: "scatter", name, text: [name], textposition: one.x > middle ? "middle left" : "middle right", cliponaxis: false, opacity: out ? 0.3 : 1,
        textfont: { size: 13, color: out ? Plots.css("--faint") : Plots.css("--ink") },
        marker: { size: 14, color: out ? Plots.css("--faint") : Plots.colour(one.place), symbol: out ? "x" : best.includes(one) ? "diamond" : "circle" },
        error_y: bars(one.row.values[y.name]), error_x: bars(one.row.values[x.name]), hovertemplate: `${name}<br>${Plots.text(y.title)} %{y:.3f}<br>${Plots.text(x.title)} %{x:.4~g} ${Plots.text(x.unit)}<extra></extra>` };
    });
    if (best.length > 1) data.unshift({ x: best.map((one) => one.x), y: best.map((one) => one.y), mode: "lines", line: { color: Plots.css("--faint"), dash: "dot", width: 1.5 }, hoverinfo: "skip" });
    const title = x.unit && x.unit !== x.title ? `${x.title} (${x.unit})` : x.title;
    const xs = shown.map((one) => one.x), room = xs.length ? Math.max((Math.max(...xs) - Math.min(...xs)) * 0.2, Math.max(...xs) * 0.05) : 1;
    const log = State.flag("xlog", false);
    return { data, layout: { height: 440, title: `${y.title} against ${x.title}`, yaxis: { title: { text: Plots.text(y.title) }, ...(lower(y) ? { autorange: "reversed" } : {}) },
      xaxis: { title: { text: Plots.text(title), standoff: 6 }, type: log ? "log" : "linear", ...(log || !xs.length ? {} : { range: [Math.min(...xs) - room, Math.max(...xs) + room] }) }, margin: { l: 56, r: 20, t: 40, b: 48 } } };
  }

  /* The interval, or the deviation over seeds. */
  function bars({ value: middle, lower: low, upper: high, deviation }) {
    if (Dom.known(low)) return { type: "data", symmetric: false, array: [high - middle], arrayminus: [middle - low], thickness: 1.5, width: 5 };
    return deviation ? { type: "data", array: [deviation], thickness: 1.5, width: 5 } : { visible: false };
  }

  function told(parts, { entries, x, y, costs, best }) {
    const fit = entries.filter((one) => !one.missed.length && one.y !== null).sort((a, b) => (better(y, a.y, b.y) ? -1 : 1));
    const limited = entries.some(({ missed }) => missed.length), unknown = entries.filter((one) => one.unknown);
    const among = limited ? ` among the ${fit.length} of ${entries.length} that qualify` : "";
    parts.verdict.textContent = [
      fit.length ? `${fit[0].row.name} has the best ${y.title} (${Runs.amount(y, fit[0].y)})${among}.` : entries.some((one) => one.y !== null) ? "No model qualifies." : `No model has a value of ${y.title} on these images.`,
      best.length ? `On the front of ${y.title} and ${x.title}, where no other is better at both: ${best.map(({ row }) => row.name).join(", ")}.` : "",
      unknown.length ? `Not known whether they qualify: ${unknown.map(({ row }) => row.name).join(", ")}.` : "",
    ].filter(Boolean).join(" ");
    Dom.fill(parts.table, Sorting.table([
      { key: "model", title: "model", cell: ({ row }) => row.name, sort: ({ row }) => row.name },
      ...[y, ...costs].map((one) => ({ key: one.name, title: one.title, hint: one.about, number: true, lower: lower(one), cell: ({ row }) => Runs.amount(one, value(row, one)), sort: ({ row }) => value(row, one) })),
      { key: "front", title: "front", number: true, cell: (one) => (best.includes(one) ? "◆" : ""), sort: (one) => Number(best.includes(one)) },
      { key: "misses", title: "misses", cell: ({ missed }) => missed.map(({ text }) => text).join("; "), sort: ({ missed }) => missed.length },
    ], [...entries].sort((a, b) => a.missed.length - b.missed.length), { caption: "The models under these limits; ◆ on the front", rowClass: ({ missed }) => (missed.length ? "out" : null) }));
  }

  return { front, show };
})();
