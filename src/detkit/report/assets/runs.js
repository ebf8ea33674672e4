"use strict";
/* The experiment's runs: their colours and names, which are chosen, and how their quantities are called. */
const Runs = (() => {
  const experiment = () => Report.peek("experiment");
  const all = () => experiment().runs;
  const place = (run) => all().findIndex(({ id }) => id === run.id);
  const colour = (run) => Plots.colour(place(run));
  const dash = (run) => Plots.dash(place(run));
  const find = (id) => all().find((run) => run.id === id);

  /* Those chosen in the chips of all views. */
  function chosen() {
    const ids = State.list("runs");
    return all().filter((run) => (ids === null ? true : ids.includes(run.id)));
  }

  function chips(changed) {
    const options = all().map((run) => ({ value: run.id, label: run.label, colour: colour(run) }));
    return Controls.chips("Runs", options, chosen().map(({ id }) => id), (ids) => {
      State.set({ runs: ids.length === options.length ? null : ids.length ? ids : ["~"] });
      changed();
    });
  }

  /* The state in a word, marked by more than its colour. */
  function state(run) {
    const [mark, kind] = { finished: ["✓", "good"], running: ["▶", "accent"], failed: ["✗", "bad"],
      interrupted: ["‖", "warn"], pending: ["…", "faint"], pruned: ["⊘", "warn"] }[run.state] ?? ["", ""];
    return Dom.make("span", { class: `state ${kind}` }, `${mark} ${run.state}`);
  }

  const progress = (run) => {
    const last = run.epochs.length ? run.epochs[run.epochs.length - 1].epoch : 0;
    return run.planned_epochs ? `${last} of ${run.planned_epochs}` : String(last);
  };

  /* The last part of a quantity's name, as people say it. */
  const NAMES = { ap: "AP", ap50: "AP50", ap75: "AP75", f1: "F1", best_f1: "best F1", ar100: "AR100", mask_ap: "mask AP",
    mask_ap50: "mask AP50", map: "mAP", map_50: "mAP50" };
  const quantity = (name) => NAMES[name.split("/").pop()] ?? name.split("/").pop().replaceAll("_", " ");

  /* The quantities of the comparison: {name, title, unit, about, is_cost, higher_is_better}. */
  const compared = () => experiment().standing.quantities;

  /* A value of one of them, in words. */
  function amount(quantity, value) {
    if (!Dom.known(value)) return "–";
    if (!quantity.is_cost) return value.toFixed(3);
    return quantity.unit && quantity.unit !== quantity.title ? `${Dom.short(value)} ${quantity.unit}` : Dom.short(value);
  }

  /* Whether less is better, as far as is known. */
  const lower = (name) => experiment().higher_is_better[name] === false || /(^|\/)(loss|.*_loss)$/.test(name);

  return { all, amount, chips, chosen, colour, compared, dash, experiment, find, lower, progress, quantity, state };
})();
