"use strict";
/* The first view: what is compared, who is ahead, how the runs are, what differs between them. */
const Overview = (() => {
  const { make, table, fixed, bytes, duration, plain, count } = Dom;

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
    const value = best?.values[experiment.standing.by];
    const done = experiment.runs.filter((run) => run.state === "finished").length;
    const sizes = experiment.data.split_sizes ?? {};
    const scores = experiment.standing.scored_on;
    return make("div", { class: "tiles" },
      tile("Best model", value ? best.name : "–", value ? `${Runs.quantity(experiment.standing.by)} ${fixed(value.value)}` : "no run has finished"),
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

  /* Of metrics so many are shown at first, and all costs but these. */
  const FIRST = 5, LATER = ["latency_p95_ms", "train_images_per_s", "train_memory_mb"];

  function standing(experiment) {
    const board = experiment.standing;
    const notes = make("ul", { class: "faint notes" }, [board.scored_on ? `scored on ${board.scored_on}` : "", ...board.notes].filter(Boolean).map((note) => make("li", {}, note)));
    if (!board.by) return [make("p", { class: "faint" }, "No run has finished yet; the views Metrics and Debugging show how far they are."), notes];
    const place = make("div");
    const draw = (all) => Dom.fill(place, Sorting.table(columns(board, all), board.rows, { caption: "Leaderboard" }));
    const all = State.flag("columns", false);
    draw(all);
    return [
      make("div", { class: "sentences" }, board.sentences.map((sentence, i) => make("p", { class: i ? null : "verdict" }, sentence, "."))),
      place, make("div", { class: "controls" }, Controls.toggle("All columns", all, (on) => { State.set({ columns: on || null }); draw(on); }).element), notes,
    ];
  }

  function columns(board, all) {
    const metrics = board.quantities.filter((one) => !one.is_cost).slice(0, all ? undefined : FIRST);
    const costs = board.quantities.filter((one) => one.is_cost && (all || !LATER.includes(one.name)));
    return [
      { key: "model", title: "model", cell: (row) => make("strong", {}, row.name), sort: (row) => row.name },
      { key: "runs", title: "runs", number: true, cell: (row) => `${row.finished}/${row.runs.length}`, sort: (row) => row.finished },
      ...[...metrics, ...costs].map((one) => ({
        key: one.name, title: one.title, hint: one.about, number: true, lower: one.higher_is_better === false,
        cell: (row) => figure(row, one, board), sort: (row) => row.values[one.name]?.value ?? null,
      })),
      { key: "weights", title: "weights from", cell: (row) => row.texts.weights ?? "–", sort: (row) => row.texts.weights ?? null },
    ];
  }

  /* The best of a column, where there are others. */
  function best(one, board) {
    const values = board.rows.map((row) => row.values[one.name]?.value).filter(Dom.known);
    if (values.length < 2 || one.higher_is_better === null) return null;
    return one.higher_is_better ? Math.max(...values) : Math.min(...values);
  }

  function figure(row, one, board) {
    const value = row.values[one.name];
    if (!value) return "–";
    const spread = Dom.known(value.deviation) && !one.is_cost ? ` ± ${fixed(value.deviation)}` : "";
    const ends = one.name === board.by && Dom.known(value.lower) ? make("span", { class: "faint small" }, ` [${fixed(value.lower)}, ${fixed(value.upper)}]`) : null;
    return make("span", { class: value.value === best(one, board) ? "top" : null }, Runs.amount(one, value.value), spread, ends);
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
    ], rows, { label: "Runs" }),
    ...experiment.runs.filter((run) => run.cause).map((run) =>
      make("div", { class: "card failure" }, make("strong", {}, `${run.id} failed`), make("pre", {}, run.cause))),
    ...experiment.runs.filter((run) => run.damaged.length).map((run) =>
      make("div", { class: "card failure" }, make("strong", {}, `Files of ${run.id} are damaged, and left out here`), make("ul", {}, run.damaged.map((text) => make("li", {}, text))))),
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
    const search = make("input", { type: "search", placeholder: "find a key or value", "aria-label": "Find a parameter", value: State.get("parameter") });
    const place = make("div");
    const draw = () => {
      const wanted = search.value.toLowerCase();
      const kept = rows.filter(([key, value]) => `${key} ${plain(value)}`.toLowerCase().includes(wanted));
      Dom.fill(place, table([
        { title: "key", cell: ([key]) => make("code", {}, key) },
        { title: "value", cell: ([, value]) => plain(value) },
      ], kept, { caption: `${kept.length} of ${rows.length} keys of the spec, every default filled in` }));
    };
    search.addEventListener("input", () => { State.set({ parameter: search.value || null }); draw(); });
    draw();
    return make("details", { id: "parameters", open: search.value !== "" }, make("summary", {}, `The spec with every default filled in (${rows.length} keys)`), search, place);
  }

  function setting(experiment) {
    const first = experiment.runs.find((run) => run.hardware.hardware);
    const hardware = first?.hardware.hardware ?? {};
    const points = {
      "Begun": Dom.date(experiment.created),
      "Data's fingerprint": experiment.data.sha256 ?? "–",
      "Machine": [hardware.processor, hardware.cores ? `${hardware.cores} cores` : "", hardware.memory_bytes ? bytes(hardware.memory_bytes) : "", ...(hardware.gpus ?? []).map(plain), hardware.system].filter(Boolean).join(", "),
      "Versions": Object.entries(experiment.versions).map(([name, version]) => `${name} ${version}`).join(", "),
    };
    return make("dl", {}, Object.entries(points).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  }

  return { show };
})();
