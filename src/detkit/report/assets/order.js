"use strict";
/* Which images are flipped through, and in which order. */
const Order = (() => {
  const KINDS = [["worst", "worst first"], ["errors", "most errors first"], ["ap", "lowest AP first"], ["name", "by file name"], ["data", "as in the dataset"]];

  /*
   * The places of the images.
   *   kind: one of KINDS. evaluations: of the models that are shown, some may be null. runs: of each. look: {step, iou,
   *   confidence, labels, only: Set of ids or null, find: a part of a name}. figures: of each run, for "ap".
   */
  function places(kind, runs, evaluations, look, figures) {
    const images = Evaluations.images(), wanted = look.find.toLowerCase();
    const kept = images.ids.map((_, i) => i).filter((i) =>
      (look.only === null || look.only.has(images.ids[i]))
      && (!wanted || images.names[i].toLowerCase().includes(wanted))
      && (!runs.length || runs.some((run) => Evaluations.covers(run, Evaluations.keyOf(run, look.step), i))));
    if (kind === "name") return kept.sort((a, b) => images.names[a].localeCompare(images.names[b], "en", { numeric: true }));
    if (kind === "data") return kept;
    const value = kind === "ap" ? byAp(figures) : byCounts(kind, runs, evaluations.filter(Boolean), look);
    const keys = new Map(kept.map((i) => [i, value(i)]));
    return kept.sort((a, b) => compare(keys.get(a), keys.get(b)) || a - b);
  }

  /* Lists of numbers, the lowest first; what has none stands last. */
  function compare(a, b) {
    if (a === null || b === null) return (a === null) - (b === null);
    for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
    return 0;
  }

  /*
   * Over the models that are shown. "worst": the lowest F1, to which one right object is added, so that a single slip on an
   * image without objects (F1 0) does not stand before many on a full one. "errors": their number.
   */
  function byCounts(kind, runs, evaluations, look) {
    return (image) => {
      let right = 0, errors = 0, any = false;
      for (const one of evaluations) {
        if (!Evaluations.covers(one.run, one.key, image)) continue;
        const found = one.count(image, look.iou, look.confidence, look.labels);
        right += found.right;
        errors += found.wrong + found.missed;
        any = true;
      }
      if (!any) return null;
      const f1 = (2 * right + 2) / (2 * right + 2 + errors);
      return kind === "errors" ? [-errors, f1] : [f1, -errors];
    };
  }

  /* The mean of the models' AP of the image alone, as the record's table of images has it. */
  function byAp(figures) {
    const found = new Map();
    for (const table of figures.map(perImage).filter(Boolean)) {
      const id = table.columns.indexOf("image_id"), ap = table.columns.indexOf("ap");
      if (id < 0 || ap < 0) continue;
      for (const row of table.rows) if (row[ap] >= 0) found.set(row[id], [...(found.get(row[id]) ?? []), row[ap]]);
    }
    const images = Evaluations.images();
    return (image) => {
      const values = found.get(images.ids[image]);
      return values ? [values.reduce((a, b) => a + b) / values.length] : null;
    };
  }

  /* The table of images among the figures of metrics; undefined where none has one. */
  const perImage = (figures) =>
    Object.entries(figures?.tables ?? {}).find(([name, table]) => name.endsWith("per_image") && table.columns.includes("image_id"))?.[1];

  return { KINDS, perImage, places };
})();
