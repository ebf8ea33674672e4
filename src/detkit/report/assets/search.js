"use strict";
/* The view of a search: its trials, which values gave what, what counts most, how far it has come. */
const Search = (() => {
  const { make, short, count } = Dom;
  const ORDER = ["finished", "pruned", "running", "interrupted", "pending", "failed", "removed"];
  const all = () => Runs.experiment().search;
  const lower = (objective) => objective.direction === "minimize";
  const value = (trial, at) => trial.objectives?.[at] ?? null;
  const plain = (given) => (typeof given === "number" ? String(Number(given.toPrecision(4))) : Dom.plain(given));

  const now = () => {
    const search = all(), found = search.models.find(({ model }) => model === State.get("searched")) ?? search.models[0];
    const at = Math.max(0, search.objectives.findIndex(({ metric }) => metric === State.get("objective")));
    const there = ORDER.filter((state) => found.trials.some((trial) => trial.state === state)), on = State.list("states") ?? there;
    const trials = ordered(found.trials, at, search.objectives[at]);
    return { search, found, at, objective: search.objectives[at], there, on, trials, shown: trials.filter(({ state }) => on.includes(state)), picked: State.number("trial", NaN) };
  };

  /* The best first; those without a value last. */
  function ordered(trials, at, objective) {
    const way = lower(objective) ? 1 : -1, rank = (trial) => (value(trial, at) === null ? Infinity : way * value(trial, at));
    return [...trials].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (rank(a) === rank(b) ? a.number - b.number : rank(a) - rank(b)));
  }

  function show(into) {
    const search = all(), two = search.objectives.length > 1;
    if (!search.models.length) return Dom.fill(into, make("p", { class: "faint" }, "The search has not begun."));
    const verdict = make("p", { class: "verdict", role: "status" }), controls = make("div", { class: "controls" }), places = make("div");
    const again = () => show(into);
    const redraw = () => { for (const plot of places.querySelectorAll(".plot")) plot.redraw(); Dom.fill(places.querySelector("#trials"), ...table(now(), redraw)); };
    const { found, there, on, at, objective } = now();
    Dom.fill(controls,
      search.models.length > 1 ? Controls.choice("Model", search.models.map(({ model }) => [model, model]), found.model, (model) => { State.set({ searched: model, trial: null, states: null }); again(); }).element : null,
      two ? Controls.choice("Objective", search.objectives.map(({ metric }) => [metric, metric]), objective.metric, (metric) => { State.set({ objective: metric }); again(); }).element : null,
      there.length > 1 ? Controls.chips("Trials", there.map((state) => ({ value: state, label: state })), on, (states) => { State.set({ states: states.length === there.length ? null : states.length ? states : ["~"] }); redraw(); }) : null);
    verdict.textContent = told(now());
    Dom.fill(places,
      section("Trials", make("div", { id: "trials" }, table(now(), redraw))),
      section("Which values gave what", make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Parallel coordinates" }, parallelPlace(found, search)),
        make("p", { class: "faint small" }, `A line is a trial, an axis a key of the spec; the last ${two ? "axes are what it gave" : "is what it gave"} on the validation images (↑ more is better, ↓ less). Dashed: pruned, failed or not at its end.`)),
      make("div", { class: "pair" },
        section(`What counts for ${search.objectives[0].metric}`, importances(found)),
        section("How it came on", Plots.place(() => history(now())))),
      two ? section(`${search.objectives[0].metric} and ${search.objectives[1].metric}`, Plots.place(() => scatter(now()))) : null);
    Dom.fill(into, verdict, controls, places);
  }

  const section = (title, ...content) => make("section", {}, make("h2", {}, title), ...content);

  function told({ search, found, there }) {
    const counts = there.map((state) => `${found.trials.filter((trial) => trial.state === state).length} ${state}`).join(", ") || "none begun";
    const best = found.trials.find(({ number }) => number === found.best);
    const gave = best ? search.objectives.map(({ metric }, at) => `${metric} ${plain(value(best, at))}`).join(", ") : "";
    const which = search.objectives.length > 1 ? `the best for ${search.objectives[0].metric}` : "the best";
    return [best ? `Trial ${best.number} is ${which}: ${gave}.` : "No trial has finished yet.",
      `Search of ${found.model} by ${search.use}, ${found.trials.length} of ${count(found.wanted, "trial")}: ${counts}.`].join(" ");
  }

  /* --- the table --- */

  function table({ search, found, shown, picked }, redraw) {
    const one = search.objectives.length === 1;
    const mark = (trial) => (found.front.includes(trial.number) ? (one ? ", best" : ", none is better in both") : "");
    const pick = (number) => { State.set({ trial: number === State.number("trial", NaN) ? null : number }); redraw(); document.getElementById(`trial-${number}`)?.focus(); };
    const columns = [
      { key: "number", title: "trial", number: true, lower: true, sort: ({ number }) => number, hint: "A click marks the trial in the plots",
        cell: ({ number }) => make("button", { type: "button", class: "link", id: `trial-${number}`, "aria-pressed": number === picked, "aria-label": `Mark trial ${number}`, on: { click: () => pick(number) } }, String(number)) },
      ...search.objectives.map((objective, at) => ({ key: `o${at}`, title: objective.metric, number: true, lower: lower(objective), sort: (trial) => value(trial, at), cell: (trial) => (value(trial, at) === null ? "–" : plain(value(trial, at))) })),
      { key: "state", title: "state", sort: (trial) => ORDER.indexOf(trial.state), cell: (trial) => make("span", {}, Runs.state(trial), mark(trial)) },
      ...found.parameters.map(({ key, kind }, at) => ({ key: `p${at}`, title: key, number: kind === "range", lower: true, sort: (trial) => trial.values[at], cell: (trial) => plain(trial.values[at]) })),
      { key: "runs", title: "runs", sort: (trial) => trial.runs.length, cell: (trial) => runs(trial) },
    ];
    const failed = shown.filter(({ state, reason }) => reason && state === "failed");
    return [shown.length ? Sorting.table(columns, shown, { caption: "Trials", rowClass: ({ number }) => (number === picked ? "picked" : null) }) : make("p", { class: "faint" }, "No trial has such a state."),
      ...failed.map(({ number, reason }) => make("div", { class: "card failure" }, make("strong", {}, `Trial ${number} failed`), make("pre", {}, reason)))];
  }

  /* The other views show the runs of the best trial alone. */
  function runs({ runs: ids }) {
    const there = ids.filter((id) => Runs.find(id));
    if (!there.length) return make("span", { class: "faint", title: "Only the best trial's runs are shown in the other views" }, count(ids.length, "run"));
    return make("button", { type: "button", class: "link", on: { click: () => State.show("metrics", { runs: there }) } }, there.join(", "));
  }

  /* --- parallel coordinates: plotly's own need WebGL and compile code, which the page's policy forbids --- */

  const SCALE = ["#8a6fd1", "#cc5fa3", "#e07b00"];
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  /* From the worst (0) to the best (1). */
  function shade(share) {
    const place = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1), from = Math.min(Math.floor(place), SCALE.length - 2);
    const [a, b] = [rgb(SCALE[from]), rgb(SCALE[from + 1])];
    return `rgb(${a.map((x, i) => Math.round(x + (b[i] - x) * (place - from))).join(",")})`;
  }

  function span(trials, at) {
    const known = trials.map((trial) => value(trial, at)).filter(Dom.known);
    return known.length ? [Math.min(...known), Math.max(...known)] : null;
  }

  const shareOf = (x, [low, high]) => (high > low ? (x - low) / (high - low) : 0.5);

  /* A clipped name keeps its end, which tells keys apart. */
  const clip = (text, most) => (text.length > most ? `…${text.slice(1 - most)}` : text);

  /* In lines of at most so many characters where it has dots, slashes or underscores; of what is too long the end. */
  function wrapped(text, most = 15) {
    const lines = [""];
    for (const part of clip(text, 3 * most).match(/[^._/]*[._/]?/g)) {
      if (lines.at(-1) && (lines.at(-1) + part).length > most) lines.push("");
      lines[lines.length - 1] += part;
    }
    return lines.map((line) => Plots.text(clip(line, 22))).join("<br>");
  }

  /* Each axis: {title, ticks: [[share, text]], of(trial) -> share or null}. */
  function axes({ search, found }) {
    return [
      ...found.parameters.map((parameter, at) => ({ title: parameter.key, ticks: ticks(parameter), of: (trial) => trial.shares[at] })),
      ...search.objectives.map((objective, at) => {
        const ends = span(found.trials, at);
        return { title: `${objective.metric} ${lower(objective) ? "↓" : "↑"}`, ticks: ends ? [...new Set([0, 0.25, 0.5, 0.75, 1].map((share) => (ends[1] > ends[0] ? share : 0.5)))].map((share) => [share, short(ends[0] + share * (ends[1] - ends[0]))]) : [],
          of: (trial) => (ends && value(trial, at) !== null ? shareOf(value(trial, at), ends) : null) };
      }),
    ];
  }

  function ticks({ kind, choices, low, high, log, integer }) {
    if (kind === "choices") {
      const every = Math.ceil(choices.length / 12);
      return choices.map((choice, at) => [choices.length > 1 ? at / (choices.length - 1) : 0.5, clip(plain(choice), 17)]).filter((_, at) => at % every === 0);
    }
    const share = (x) => (log ? Math.log(x / low) / Math.log(high / low) : (x - low) / (high - low));
    const decades = () => Array.from({ length: 40 }, (_, at) => 10 ** (Math.floor(Math.log10(low)) + at)).filter((x) => x < high);
    const inner = log ? decades() : [0.25, 0.5, 0.75].map((part) => low + part * (high - low)).map((x) => (integer ? Math.round(x) : x));
    const free = [...new Set(inner)].filter((x) => share(x) > 0.1 && share(x) < 0.9);
    return [low, ...free, high].map((x) => [share(x), plain(x)]);
  }

  function parallelPlace(found, search) {
    const place = Plots.place(() => parallel(now()));
    place.classList.add("tall");
    place.style.minWidth = `${(found.parameters.length + search.objectives.length) * 6.5}rem`;
    return place;
  }

  const words = (trial, { search, found }) => [`trial ${trial.number}, ${trial.state}`, ...search.objectives.map(({ metric }, at) => `${metric}: ${plain(value(trial, at))}`),
    ...found.parameters.map(({ key }, at) => `${clip(key, 40)}: ${clip(plain(trial.values[at]), 40)}`)].map(Plots.text).join("<br>");

  /* One colour a trial, by what it gave for the objective that is chosen. */
  function colour(trial, { found, at, objective }) {
    const ends = span(found.trials, at);
    if (value(trial, at) === null || !ends) return Plots.css("--faint");
    const share = shareOf(value(trial, at), ends);
    return shade(ends[1] === ends[0] ? 1 : lower(objective) ? 1 - share : share);
  }

  function parallel(state) {
    const { found, shown, at, objective, picked } = state, lines = axes(state), ends = span(found.trials, at);
    const one = (trial) => {
      const whole = trial.state === "finished", marked = trial.number === picked;
      return { x: lines.map((_, i) => i), y: lines.map((axis) => axis.of(trial)), type: "scatter", mode: "lines+markers", name: `trial ${trial.number}`, connectgaps: false, cliponaxis: false,
        line: { color: colour(trial, state), width: marked ? 5 : trial.number === found.best ? 3.5 : 2, dash: whole ? "solid" : "dash" }, marker: { size: marked ? 10 : 6, color: colour(trial, state) },
        opacity: marked ? 1 : Number.isNaN(picked) ? (whole ? 0.9 : 0.45) : 0.2, hoverinfo: "text", hovertext: words(trial, state) };
    };
    // The last is on top: the best, and above it the one that is marked.
    const data = [...shown].reverse().sort((a, b) => (a.number === picked) - (b.number === picked)).map(one);
    if (ends && ends[1] > ends[0]) data.unshift({ x: [null], y: [null], type: "scatter", mode: "markers", hoverinfo: "skip", name: "scale",
      marker: { color: [ends[0]], cmin: ends[0], cmax: ends[1], colorscale: SCALE.map((hex, i) => [i / (SCALE.length - 1), hex]), reversescale: lower(objective), showscale: true,
        colorbar: { orientation: "h", thickness: 10, len: 0.6, x: 0.5, y: 1.02, yanchor: "bottom", outlinewidth: 0, nticks: 4, title: { text: Plots.text(clip(objective.metric, 30)), side: "top" } } } });
    return { data, layout: { height: 440, margin: { l: 8, r: 8, t: 8, b: 60 },
      xaxis: { range: [-0.4, lines.length - 0.4], tickvals: lines.map((_, i) => i), ticktext: lines.map(({ title }) => wrapped(title)), showgrid: false, zeroline: false, fixedrange: true, tickangle: 0 },
      yaxis: { range: [-0.06, 1.06], visible: false, fixedrange: true },
      shapes: lines.map((_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, line: { color: Plots.css("--faint"), width: 1 }, layer: "below" })),
      annotations: lines.flatMap((axis, i) => axis.ticks.map(([share, text]) => ({ x: i, y: share, text: Plots.text(text), showarrow: false, xanchor: "left", xshift: 7, font: { size: 11, color: Plots.css("--ink") }, bgcolor: Plots.css("--back"), opacity: 0.85, borderpad: 1 }))) } };
  }

  /* --- what counts, and how it came on --- */

  function importances(found) {
    if (!found.importances.length) return make("p", { class: "faint" }, found.importances_note ? `Not said: ${found.importances_note}.` : "Not said yet.");
    const height = Math.max(160, 70 + 34 * found.importances.length);
    const place = Plots.place(() => {
      const rows = [...found.importances].reverse();
      return { data: [{ type: "bar", orientation: "h", x: rows.map(([, share]) => share), y: rows.map((_, i) => i), text: rows.map(([, share]) => `${Math.round(share * 100)} %`), textposition: "outside", textangle: 0, cliponaxis: false,
        marker: { color: Plots.colour(0) }, hoverinfo: "text", hovertext: rows.map(([key, share]) => `${Plots.text(clip(key, 60))}: ${(share * 100).toFixed(1)} %`) }],
      layout: { height, margin: { l: 8, r: 40, t: 8, b: 44 }, xaxis: { range: [0, 1], tickformat: ".0%", title: { text: "share of the differences", standoff: 6 }, fixedrange: true },
        yaxis: { tickvals: rows.map((_, i) => i), ticktext: rows.map(([key]) => Plots.text(clip(key, 24))), showgrid: false, fixedrange: true } } };
    });
    place.style.minHeight = `${height}px`;
    return place;
  }

  const SYMBOLS = { finished: "circle", pruned: "x" };

  function points(state, trials, x, y) {
    const { picked } = state;
    return { x: trials.map(x), y: trials.map(y), type: "scatter", mode: "markers", name: "trials", cliponaxis: false, hoverinfo: "text", hovertext: trials.map((trial) => words(trial, state)),
      marker: { size: trials.map(({ number }) => (number === picked ? 16 : 9)), color: trials.map((trial) => colour(trial, state)), symbol: trials.map((trial) => SYMBOLS[trial.state] ?? "circle-open"), line: { width: 1, color: Plots.css("--back") } } };
  }

  function history(state) {
    const { found, shown, at, objective } = state, better = lower(objective) ? Math.min : Math.max;
    const valued = shown.filter((trial) => value(trial, at) !== null).sort((a, b) => a.number - b.number);
    let best = null;
    const steps = found.trials.filter(({ state: is }) => is === "finished").filter((trial) => value(trial, at) !== null).sort((a, b) => a.number - b.number)
      .map((trial) => { best = best === null ? value(trial, at) : better(best, value(trial, at)); return [trial.number, best]; });
    const last = Math.max(1, ...found.trials.map(({ number }) => number));
    if (steps.length) steps.push([last, best]);
    return { data: [{ x: steps.map(([x]) => x), y: steps.map(([, y]) => y), type: "scatter", mode: "lines", name: "best so far", line: { shape: "hv", color: Plots.css("--faint"), width: 2 }, hoverinfo: "skip" }, points(state, valued, ({ number }) => number, (trial) => value(trial, at))],
      layout: { title: `${objective.metric} by trial; the line is the best so far`, xaxis: { title: { text: "trial", standoff: 6 }, range: [0.5, last + 0.5], tickformat: "d", ...(last <= 12 ? { dtick: last <= 6 ? 1 : 2 } : {}) }, yaxis: {} } };
  }

  /* Two objectives: those that no other beats in both are joined. */
  function scatter(state) {
    const { search, found, shown } = state, [x, y] = [1, 0];
    const valued = shown.filter((trial) => value(trial, 0) !== null && value(trial, 1) !== null);
    const front = found.trials.filter(({ number }) => found.front.includes(number)).sort((a, b) => value(a, x) - value(b, x));
    const all = points(state, valued, (trial) => value(trial, x), (trial) => value(trial, y));
    all.marker.symbol = valued.map((trial, i) => (found.front.includes(trial.number) ? "diamond" : all.marker.symbol[i]));
    all.marker.size = valued.map((trial, i) => (found.front.includes(trial.number) ? Math.max(13, all.marker.size[i]) : all.marker.size[i]));
    const title = (at) => ({ title: { text: Plots.text(`${search.objectives[at].metric} ${lower(search.objectives[at]) ? "↓" : "↑"}`), standoff: 6 } });
    return { data: [{ x: front.map((trial) => value(trial, x)), y: front.map((trial) => value(trial, y)), type: "scatter", mode: "lines", name: "front", line: { color: Plots.css("--faint"), dash: "dot", width: 1.5 }, hoverinfo: "skip" }, all],
      layout: { height: 360, title: "Diamonds: no other trial is better in both", xaxis: title(x), yaxis: title(y) } };
  }

  return { show };
})();
