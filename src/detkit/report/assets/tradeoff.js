"use strict";
/* The fifth view: accuracy against what it costs, with the models that no other beats at both, and limits to set. */
const Tradeoff = (() => {
  const { make, short, bytes, duration, fixed } = Dom;
  const COSTS = [
    ["latency_ms_median", "Latency (ms)", (value) => `${short(value)} ms`, 1],
    ["inference_memory_bytes", "Memory of inference (MB)", bytes, 1e6],
    ["peak_memory_bytes", "Peak memory of training (MB)", bytes, 1e6],
    ["parameters", "Parameters (M)", (value) => `${short(value / 1e6)} M`, 1e6],
    ["weights_bytes", "Weights (MB)", bytes, 1e6],
    ["flops", "GFLOPs", (value) => `${short(value / 1e9)} GFLOPs`, 1e9],
    ["train_s", "Training time (s)", duration, 1],
  ];
  const cost = (row, key) => (key === "parameters" ? row.parameters : row.costs[key]) ?? null;

  function show(into) {
    const board = Runs.experiment().standing;
    const rows = board.rows.filter((row) => Object.keys(row.values).length);
    if (!rows.length) { Dom.fill(into, make("p", { class: "faint" }, "No run has finished yet: there is nothing to weigh against each other.")); return; }
    const costs = COSTS.filter(([key]) => rows.some((row) => Dom.known(cost(row, key))));
    const names = board.columns;
    const parts = { plot: Plots.place(() => plot(now())), verdict: make("p", { class: "verdict", role: "status" }), table: make("div") };
    parts.plot.classList.add("tall");
    const now = () => choice(rows, costs, names);
    const draw = () => { parts.plot.redraw(); told(parts, now()); };
    const axes = make("div", { class: "controls" },
      Controls.choice("Accuracy", names.map((name) => [name, Runs.quantity(name)]), now().y, (value) => { State.set({ y: value }); show(into); }).element,
      Controls.choice("against", costs.map(([key, label]) => [key, label]), now().x?.[0], (value) => { State.set({ x: value }); draw(); }).element,
      Controls.toggle("Log axis", State.flag("xlog", false), (on) => { State.set({ xlog: on || null }); draw(); }).element);
    const limits = make("fieldset", { class: "card limits" }, make("legend", {}, "What must hold"), sliders(rows, costs, now().y, draw),
      Controls.button("No limits", () => { State.set(Object.fromEntries(["least", ...COSTS.map(([key]) => `most_${key}`)].map((key) => [key, null]))); show(into); }));
    Dom.fill(into, axes, limits, parts.verdict, parts.plot, parts.table);
    told(parts, now());
  }

  function choice(rows, costs, names) {
    const y = names.includes(State.get("y")) ? State.get("y") : names[0];
    const x = costs.find(([key]) => key === State.get("x")) ?? costs[0];
    const lower = Runs.lower(y);
    const entries = rows.map((row, i) => {
      const missed = misses(row, costs, y, lower);
      return { row, place: i, x: x ? cost(row, x[0]) : null, y: row.values[y]?.mean ?? null, missed, unknown: missed.some(({ unknown }) => unknown) };
    });
    return { entries, x, y, lower, costs, front: front(entries.filter(({ missed }) => !missed.length), lower) };
  }

  /* What a model misses of the limits, and by how much. */
  function misses(row, costs, y, lower) {
    const found = [], least = State.number("least", NaN), value = row.values[y]?.mean ?? null;
    if (!Number.isNaN(least)) {
      if (value === null) found.push({ text: `its ${Runs.quantity(y)} is not known`, unknown: true });
      else if (lower ? value > least : value < least) found.push({ text: `${Runs.quantity(y)} ${fixed(value)} is ${fixed(Math.abs(value - least))} ${lower ? "too high" : "short"}` });
    }
    for (const [key, label, format] of costs) {
      const most = State.number(`most_${key}`, NaN), own = cost(row, key), name = label.replace(/ \(.*\)/, "").toLowerCase();
      if (Number.isNaN(most)) continue;
      if (own === null) found.push({ text: `its ${name} is not known`, unknown: true });
      else if (own > most) found.push({ text: `${name} ${format(own)} is ${format(own - most)} too much` });
    }
    return found;
  }

  /* Those that no other beats at both. */
  function front(entries, lower) {
    const way = lower ? -1 : 1, known = entries.filter(({ x, y }) => x !== null && y !== null);
    const beaten = (one) => known.some((other) => other.x <= one.x && way * other.y >= way * one.y && (other.x < one.x || way * other.y > way * one.y));
    return known.filter((one) => !beaten(one)).sort((a, b) => a.x - b.x);
  }

  function sliders(rows, costs, y, draw) {
    const values = rows.map((row) => row.values[y]?.mean).filter(Dom.known), lower = Runs.lower(y);
    const [bottom, top] = [Math.min(...values, 0), Math.max(...values)];
    const accuracy = Controls.slider(`${Runs.quantity(y)} ${lower ? "at most" : "at least"}`, { min: bottom, max: top, step: (top - bottom) / 200 || 0.01, id: "limit-accuracy",
      value: State.number("least", lower ? top : bottom), format: (value) => ((lower ? value >= top : value <= bottom) ? "any" : fixed(value)) },
    (value) => { State.set({ least: (lower ? value >= top : value <= bottom) ? null : value }); draw(); });
    return [accuracy.element, ...costs.map(([key, label, format]) => {
      const own = rows.map((row) => cost(row, key)).filter(Dom.known), most = Math.max(...own), least = Math.min(...own) * 0.5;
      return Controls.slider(`${label.replace(/ \(.*\)/, "")} at most`, { min: least, max: most, step: (most - least) / 200 || 1, id: `limit-${key}`,
        value: State.number(`most_${key}`, most), format: (value) => (value >= most ? "any" : format(value)) },
      (value) => { State.set({ [`most_${key}`]: value >= most ? null : value }); draw(); }).element;
    })];
  }

  function plot({ entries, x, y, lower, front: best }) {
    const unit = x?.[3] ?? 1, shown = entries.filter((one) => one.x !== null && one.y !== null);
    const data = shown.map((one) => {
      const qualifies = !one.missed.length;
      return { x: [one.x / unit], y: [one.y], mode: "markers+text", type: "scatter", name: Plots.text(one.row.model), text: [Plots.text(one.row.model)], textposition: "top center",
        opacity: qualifies ? 1 : 0.25, marker: { size: 13, color: qualifies ? Plots.colour(one.place) : Plots.css("--faint"), symbol: qualifies ? (best.includes(one) ? "diamond" : "circle") : "x" },
        error_y: errors(one.row, y), hovertemplate: `${Plots.text(one.row.model)}<br>${Plots.text(Runs.quantity(y))} %{y:.3f}<br>%{x:.4~g}<extra></extra>` };
    });
    if (best.length > 1) data.unshift({ x: best.map((one) => one.x / unit), y: best.map((one) => one.y), mode: "lines", line: { color: Plots.css("--faint"), dash: "dot", width: 1.5, shape: "hv" }, hoverinfo: "skip" });
    return { data, layout: { height: 440, title: `${Runs.quantity(y)} against ${x ? x[1] : ""}`, xaxis: { title: { text: x?.[1] ?? "", standoff: 6 }, type: State.flag("xlog", false) ? "log" : "linear" },
      yaxis: { title: { text: Plots.text(Runs.quantity(y)) }, ...(lower ? { autorange: "reversed" } : {}) }, margin: { l: 56, r: 20, t: 40, b: 48 } } };
  }

  /* The interval of one run, or the deviation over seeds. */
  function errors(row, y) {
    const value = row.values[y], ends = row.intervals?.[y] ?? (y === Runs.experiment().standing.primary ? row.interval : null);
    if (ends) return { type: "data", symmetric: false, array: [ends[1] - value.mean], arrayminus: [value.mean - ends[0]], thickness: 1.5, width: 5 };
    return value.deviation ? { type: "data", array: [value.deviation], thickness: 1.5, width: 5 } : { visible: false };
  }

  function told(parts, { entries, x, y, lower, costs, front: best }) {
    const fit = entries.filter(({ missed, y: value }) => !missed.length && value !== null).sort((a, b) => (lower ? a.y - b.y : b.y - a.y));
    const limited = entries.some(({ missed }) => missed.length);
    const unknown = entries.filter((one) => one.unknown);
    parts.verdict.textContent = [
      fit.length ? `${fit[0].row.model} has the best ${Runs.quantity(y)} (${fixed(fit[0].y)})${limited ? ` among the ${fit.length} of ${entries.length} that qualify` : ""}.` : "No model qualifies.",
      best.length ? `On the front of ${Runs.quantity(y)} and ${x[1].replace(/ \(.*\)/, "").toLowerCase()}: ${best.map(({ row }) => row.model).join(", ")}.` : "",
      unknown.length ? `Not known whether they qualify: ${unknown.map(({ row }) => row.model).join(", ")}.` : "",
    ].filter(Boolean).join(" ");
    Dom.fill(parts.table, Dom.table([
      { title: "model", cell: ({ row }) => row.model },
      { title: Runs.quantity(y), number: true, cell: ({ y: value }) => fixed(value) },
      ...costs.map(([key, label, format]) => ({ title: label.replace(/ \(.*\)/, "").toLowerCase(), number: true, cell: ({ row }) => (cost(row, key) === null ? "–" : format(cost(row, key))) })),
      { title: "front", cell: (one) => (best.includes(one) ? "◆" : "") },
      { title: "misses", cell: ({ missed }) => missed.map(({ text }) => text).join("; ") },
    ], [...entries].sort((a, b) => a.missed.length - b.missed.length), { caption: "The models under these limits", rowClass: ({ missed }) => (missed.length ? "out" : null) }));
  }

  return { front, show };
})();
