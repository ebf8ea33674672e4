"use strict";
/* Curves of all runs, one plot a quantity. */
const Metrics = (() => {
  const { make } = Dom;
  const FIRST = ["ap", "ap50", "ap75", "f1", "precision", "recall", "mask_ap", "mask_ap50", "ar100", "map", "map_50"];
  const BYTES = /bytes/;
  const GROUPS = { accuracy: "Accuracy", losses: "Losses", pace: "Learning rate and speed", machine: "Machine", more: "More quantities" };

  function show(into) {
    const places = make("div");
    const draw = () => plots(places);
    const redraw = () => { for (const plot of places.querySelectorAll(".plot, #values")) plot.redraw(); };
    const smoothing = Controls.slider("Smoothing", { min: 0, max: 0.99, step: 0.01, value: State.number("smooth", 0),
      format: (value) => value.toFixed(2), id: "smoothing",
      hint: "An exponential mean; the values themselves stay visible, faintly" }, (value) => { State.set({ smooth: value || null }); redraw(); });
    const log = Controls.toggle("Log axis", State.flag("log", false), (on) => { State.set({ log: on || null }); redraw(); });
    const groups = Controls.chips("Show", Object.entries(GROUPS).map(([value, label]) => ({ value, label })),
      groupsChosen(), (list) => { State.set({ groups: list.length ? list : ["none"] }); draw(); });
    const search = make("input", { type: "search", placeholder: "find a quantity", "aria-label": "Find a quantity", value: State.get("find") });
    search.addEventListener("input", () => { State.set({ find: search.value || null }); draw(); });
    Dom.fill(into, make("div", { class: "controls sticky" }, Runs.chips(redraw), smoothing.element, log.element),
      make("div", { class: "controls" }, groups, search), places);
    draw();
  }

  const groupsChosen = () => State.list("groups") ?? ["accuracy", "losses", "pace", "machine"];

  /* Every quantity that any run has: {title, group, x, of(run) -> [{x, y, dashed}], lower}. */
  function quantities() {
    const found = new Map();
    const add = (key, entry) => { if (!found.has(key)) found.set(key, { key, ...entry }); };
    for (const run of Runs.all()) {
      for (const row of run.epochs) {
        for (const name of Object.keys(row.values)) ofEpoch(add, name);
        for (const name of Object.keys(row.measured)) {
          add(`epoch ${name}`, { title: nameOf(name), group: "pace", x: "epoch", bytes: BYTES.test(name), of: (one) => [epochs(one, (r) => r.measured[name])] });
        }
      }
      for (const name of Object.keys(run.steps.series)) {
        const loss = name.startsWith("loss");
        add(`step ${name}`, { title: loss ? (name === "loss" ? "training loss by step" : `${name.slice(5).replaceAll("_", " ")} by step`) : name === "lr" ? "learning rate" : nameOf(name),
          group: loss ? "losses" : "pace", x: "step", of: (one) => [series(one.steps, name)] });
      }
      for (const name of Object.keys(run.system.series)) {
        add(`system ${name}`, { title: nameOf(name), group: "machine", x: "minutes", bytes: BYTES.test(name), of: (one) => [series(one.system, name, 60)] });
      }
    }
    return [...found.values()].sort((a, b) => rank(a) - rank(b));
  }

  function ofEpoch(add, name) {
    const loss = name.match(/^(train\/epoch_|validation\/)(.*)$/);
    if (loss) {
      const term = loss[2];
      add(`loss ${term}`, { title: term === "loss" ? "loss by epoch (validation; training dashed)" : `${term.replaceAll("_", " ")} by epoch (training dashed)`, group: "losses", x: "epoch",
        of: (run) => [epochs(run, (row) => row.values[`validation/${term}`]), { ...epochs(run, (row) => row.values[`train/epoch_${term}`]), dashed: true }] });
      return;
    }
    const first = name === Runs.experiment().primary || FIRST.includes(name.split("/").pop());
    add(name, { title: name, group: first ? "accuracy" : "more", x: "epoch", of: (run) => [epochs(run, (row) => row.values[name])], marked: true });
  }

  const nameOf = (name) => name.replace(/_bytes$/, "").replaceAll("_", " ").replaceAll(".", " ");

  function rank({ key, group }) {
    const order = Object.keys(GROUPS).indexOf(group) * 1000;
    if (key === Runs.experiment().primary) return order - 1;
    const first = FIRST.indexOf(key.split("/").pop());
    return order + (group === "accuracy" && first >= 0 ? first : /loss$/.test(key) && !key.includes("_") ? 20 : 100);
  }

  const epochs = (run, value) => ({ x: run.epochs.map((row) => row.epoch), y: run.epochs.map((row) => value(row) ?? null) });
  const series = (stream, name, unit = 1) => ({ x: stream.x.map((x) => x / unit), y: stream.series[name] ?? [] });

  function plots(into) {
    const wanted = State.get("find").toLowerCase(), on = groupsChosen();
    const kept = quantities().filter(({ title, key, group }) =>
      wanted ? `${title} ${key}`.toLowerCase().includes(wanted) : on.includes(group));
    const sections = Object.entries(GROUPS).map(([group, title]) => {
      const own = kept.filter((entry) => entry.group === group);
      return own.length ? make("section", { "data-group": group }, make("h2", {}, title),
        make("div", { class: "plots" }, own.map((entry) => Plots.place(() => plot(entry))))) : null;
    });
    const nothing = wanted ? "No quantity has such a name." : "Nothing has been measured yet.";
    Dom.fill(into, kept.length ? [...sections, values(kept)] : make("p", { class: "faint" }, nothing));
  }

  /* The same numbers to read, and to copy: a row for each epoch of each run. */
  function values(kept) {
    const shown = kept.filter(({ x }) => x === "epoch").flatMap((entry) => entry.of({ epochs: [] }).map((_, part) => ({ ...entry, part })));
    if (!shown.length) return null;
    const place = make("div");
    const fill = () => {
      const rows = Runs.chosen().flatMap((run) => {
        const lines = shown.map((entry) => entry.of(run)[entry.part].y);
        return run.epochs.map((row, at) => ({ run, epoch: row.epoch, values: lines.map((y) => y[at]) }));
      });
      const used = shown.map((_, i) => i).filter((i) => rows.some(({ values: own }) => Dom.known(own[i])));
      const title = ({ title: whole, part, key, of }) => (of({ epochs: [] }).length === 1 ? whole : `${key.slice(5)} ${part ? "(training)" : "(validation)"}`);
      Dom.fill(place, Dom.table([{ title: "run", cell: ({ run }) => run.label }, { title: "epoch", number: true, cell: ({ run, epoch }) => `${epoch}${epoch === run.selected_epoch ? " ★" : ""}` },
        ...used.map((i) => ({ title: title(shown[i]), number: true, cell: ({ values: own }) => (shown[i].bytes ? Dom.bytes(own[i]) : shown[i].marked ? Dom.fixed(own[i]) : Dom.short(own[i])) }))], rows,
      { caption: "★ the epoch that was selected", label: "Values by epoch" }));
    };
    const details = make("details", { id: "values", on: { toggle: () => { if (details.open) fill(); } } }, make("summary", {}, "The values of each epoch as a table"), place);
    details.redraw = () => { if (details.open) fill(); };
    return details;
  }

  function plot(entry) {
    const weight = State.number("smooth", 0), log = State.flag("log", false);
    const data = Runs.chosen().flatMap((run) => entry.of(run).flatMap((line) => traces(run, entry, line, weight)));
    return { data, layout: { title: entry.title, xaxis: { title: { text: entry.x, standoff: 6 }, ...(entry.x === "epoch" ? whole(data) : {}) },
      yaxis: { type: log ? "log" : "linear", ...(data.every(({ y }) => y.every((value) => value === null || value >= 0)) ? { rangemode: "nonnegative" } : {}), ...(entry.bytes ? { tickformat: ".3s", ticksuffix: "B" } : {}) } } };
  }

  /* Epochs are whole numbers: no ticks between them. */
  function whole(data) {
    const last = Math.max(1, ...data.flatMap(({ x }) => x));
    return { tickformat: "d", ...(last <= 12 ? { dtick: last <= 6 ? 1 : 2 } : {}) };
  }

  function traces(run, entry, { x, y, dashed = false }, weight) {
    if (!y.some(Dom.known)) return [];
    const few = x.length <= 30;
    const base = { x, type: "scatter", name: Plots.text(run.label), mode: few && !dashed ? "lines+markers" : "lines",
      marker: { size: 5, symbol: x.map((value) => (entry.marked && value === run.selected_epoch ? "star" : "circle")) },
      line: { color: Runs.colour(run), dash: dashed ? "dot" : Runs.dash(run), width: 2 } };
    if (entry.marked) base.marker.size = x.map((value) => (value === run.selected_epoch ? 11 : 5));
    if (!weight) return [{ ...base, y, connectgaps: true }];
    return [{ ...base, y, mode: "lines", opacity: 0.25, hoverinfo: "skip", line: { ...base.line, width: 1 } },
      { ...base, y: smooth(y, weight), mode: "lines", connectgaps: true }];
  }

  /* An exponential mean that begins without a bias towards zero (as Adam's moments do; TensorBoard's smoothing). */
  function smooth(values, weight) {
    let last = 0, seen = 0;
    return values.map((value) => {
      if (!Dom.known(value)) return null;
      last = last * weight + (1 - weight) * value;
      seen += 1;
      return last / (1 - weight ** seen);
    });
  }

  return { show, smooth };
})();
