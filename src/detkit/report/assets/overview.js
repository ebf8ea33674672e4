"use strict";
/* The first view: what is compared, who is ahead, how the runs are, what differs between them. */
const Overview = (() => {
  const { make, table, fixed, short, bytes, duration, plain, count } = Dom;

  function show(into) {
    const experiment = Runs.experiment();
    Dom.fill(into,
      tiles(experiment),
      section("Leaderboard", standing(experiment)),
      section("Runs", runs(experiment)),
      section("What differs between the runs", differences(experiment)),
      section("Parameters", parameters(experiment)),
      section("Data and machine", setting(experiment)));
  }

  const section = (title, ...content) => make("section", {}, make("h2", {}, title), ...content);

  function tiles(experiment) {
    const best = experiment.standing.rows[0];
    const value = best?.values[experiment.standing.primary];
    const done = experiment.runs.filter((run) => run.state === "finished").length;
    const sizes = experiment.data.split_sizes ?? {};
    const scores = experiment.standing.scored_on;
    return make("div", { class: "tiles" },
      tile("Best model", value ? best.model : "–", value ? `${Runs.quantity(experiment.standing.primary)} ${fixed(value.mean)}` : "no run has finished"),
      tile("Runs finished", `${done} of ${experiment.runs.length}`, states(experiment)),
      tile("Images", experiment.data.images?.toLocaleString("en-GB") ?? "–", Object.entries(sizes).filter(([, n]) => n).map(([name, n]) => `${n} ${name}`).join(", ")),
      tile("Classes", experiment.data.class_names?.length ?? "–", clip((experiment.data.class_names ?? []).join(", "), 70)),
      tile("Objects", experiment.data.objects?.toLocaleString("en-GB") ?? "–", scores ? `scored on ${scores}` : ""));
  }

  const clip = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

  const tile = (name, value, more) => make("div", { class: "card" },
    make("span", { class: "faint" }, name), make("span", { class: "value" }, String(value)), make("span", { class: "faint small" }, more));

  function states(experiment) {
    const counts = new Map();
    for (const run of experiment.runs) if (run.state !== "finished") counts.set(run.state, (counts.get(run.state) ?? 0) + 1);
    return [...counts].map(([state, n]) => `${n} ${state}`).join(", ");
  }

  /* --- the leaderboard --- */

  const COSTS = [
    ["latency_ms_median", "latency", (value) => `${short(value)} ms`],
    ["inference_memory_bytes", "memory", bytes],
    ["flops", "GFLOPs", (value) => short(value / 1e9)],
    ["weights_bytes", "weights", bytes],
    ["train_s", "training", duration],
  ];

  function standing(experiment) {
    const board = experiment.standing;
    if (!board.primary) return make("p", { class: "faint" }, "No run has finished yet; the views Metrics and Debugging show how far they are.");
    const most = best(board, board.columns);
    const columns = [
      { key: "model", title: "model", cell: (row) => make("strong", {}, row.model), sort: (row) => row.model },
      { key: "runs", title: "runs", number: true, cell: (row) => `${row.finished}/${row.runs.length}`, sort: (row) => row.finished },
      ...board.columns.map((name) => ({
        key: name, title: Runs.quantity(name), hint: name, number: true, lower: !board.higher_is_better && name === board.primary,
        cell: (row) => figure(row, name, board, most), sort: (row) => row.values[name]?.mean ?? null,
      })),
      ...COSTS.filter(([key]) => board.rows.some((row) => Dom.known(row.costs[key]))).map(([key, title, format]) => ({
        key, title, number: true, lower: true, cell: (row) => format(row.costs[key]), sort: (row) => row.costs[key] ?? null,
      })),
      { key: "parameters", title: "parameters", number: true, lower: true, cell: (row) => (row.parameters ? `${short(row.parameters / 1e6)} M` : "–"), sort: (row) => row.parameters },
      { key: "epoch", title: "epoch", number: true, cell: (row) => row.epochs.join(", ") || "–", sort: (row) => row.epochs[0] ?? null },
    ];
    return [
      Sorting.table(columns, board.rows, { caption: "Leaderboard" }),
      make("ul", { class: "sentences" }, board.sentences.map((sentence) => make("li", {}, sentence))),
      make("p", { class: "faint" }, [board.scored_on, ...board.notes].filter(Boolean).join("; "), "."),
    ];
  }

  function best(board, columns) {
    return Object.fromEntries(columns.map((name) => {
      const values = board.rows.map((row) => row.values[name]?.mean).filter(Dom.known);
      return [name, values.length > 1 ? (Runs.lower(name) ? Math.min(...values) : Math.max(...values)) : null];
    }));
  }

  function figure(row, name, board, most) {
    const value = row.values[name];
    if (!value) return "–";
    const spread = value.deviation !== null && value.deviation !== undefined ? ` ± ${fixed(value.deviation)}` : "";
    const ends = name === board.primary && row.interval
      ? make("span", { class: "faint small" }, ` [${fixed(row.interval[0])}, ${fixed(row.interval[1])}]`) : null;
    return make("span", { class: value.mean === most[name] ? "top" : null }, fixed(value.mean), spread, ends);
  }

  /* --- runs, and what they were told --- */

  function runs(experiment) {
    const primary = experiment.primary;
    const rows = experiment.runs.map((run) => ({ ...run, best: bestEpoch(run, primary) }));
    return [table([
      { title: "run", cell: (run) => run.id },
      { title: "state", cell: (run) => Runs.state(run) },
      { title: "epochs", number: true, cell: (run) => Runs.progress(run) },
      { title: `best ${Runs.quantity(primary || "value")}`, number: true, cell: (run) => (run.best ? `${fixed(run.best.value)} (epoch ${run.best.epoch})` : "–") },
      { title: "training", number: true, cell: (run) => duration(sum(run.epochs.map((row) => row.measured.train_s))) },
      { title: "device", cell: (run) => machine(run) },
      { title: "weights from", cell: (run) => plain(run.origin.source ?? null) },
    ], rows, { caption: "Runs" }),
    ...experiment.runs.filter((run) => run.cause).map((run) =>
      make("div", { class: "card failure" }, make("strong", {}, `${run.id} failed`), make("pre", {}, run.cause))),
    ...experiment.runs.filter((run) => run.messages.length).map((run) =>
      make("details", {}, make("summary", {}, `${run.id}: ${count(run.messages.length, "warning")}`),
        make("ul", {}, run.messages.map((message) => make("li", {}, message)))))];
  }

  const sum = (values) => (values.some(Dom.known) ? values.filter(Dom.known).reduce((a, b) => a + b, 0) : null);

  function bestEpoch(run, name) {
    const rows = run.epochs.filter((row) => Dom.known(row.values[name]));
    if (!rows.length) return null;
    const chosen = run.selected_epoch !== null ? rows.find((row) => row.epoch === run.selected_epoch) : null;
    const way = Runs.lower(name) ? -1 : 1;
    const top = chosen ?? rows.reduce((a, b) => (way * b.values[name] > way * a.values[name] ? b : a));
    return { value: top.values[name], epoch: top.epoch };
  }

  function machine(run) {
    const compute = run.hardware.compute;
    return compute ? `${run.costs.device_name ?? compute.accelerator}, ${compute.precision}` : "–";
  }

  function differences(experiment) {
    const rows = experiment.differences;
    if (!rows.length) return make("p", { class: "faint" }, "Nothing that their specs say.");
    const shown = experiment.runs.filter((run) => rows.some((row) => run.id in row.values));
    return table([
      { title: "key", cell: (row) => make("code", {}, row.key) },
      ...shown.map((run) => ({ title: run.label, cell: (row) => plain(row.values[run.id]) })),
    ], rows, { caption: "Keys of the spec that are not the same in all runs" });
  }

  function parameters(experiment) {
    const rows = Object.entries(experiment.spec);
    const search = make("input", { type: "search", placeholder: "find a key or value", "aria-label": "Find a parameter" });
    const place = make("div");
    const draw = () => {
      const wanted = search.value.toLowerCase();
      const kept = rows.filter(([key, value]) => `${key} ${plain(value)}`.toLowerCase().includes(wanted));
      Dom.fill(place, table([
        { title: "key", cell: ([key]) => make("code", {}, key) },
        { title: "value", cell: ([, value]) => plain(value) },
      ], kept, { caption: `${kept.length} of ${rows.length} keys of the spec, every default filled in` }));
    };
    search.addEventListener("input", draw);
    draw();
    return make("details", { id: "parameters" }, make("summary", {}, `The spec with every default filled in (${rows.length} keys)`), search, place);
  }

  function setting(experiment) {
    const first = experiment.runs.find((run) => run.hardware.hardware);
    const hardware = first?.hardware.hardware ?? {};
    const points = {
      "Begun": Dom.date(experiment.created),
      "Data's fingerprint": experiment.data.sha256 ?? "–",
      "Machine": [hardware.processor, hardware.cores ? `${hardware.cores} cores` : "", bytes(hardware.memory_bytes), ...(hardware.gpus ?? []).map(plain), hardware.system].filter(Boolean).join(", "),
      "Versions": Object.entries(experiment.versions).map(([name, version]) => `${name} ${version}`).join(", "),
    };
    return make("dl", {}, Object.entries(points).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  }

  return { show };
})();
