"use strict";
/* What each run found in each evaluation, with its matches at the IoU that is asked for. */
const Evaluations = (() => {
  let truth = null;
  const held = new Map();

  /* The images with their objects: {ids, names, sizes, copies, splits, folds, offsets, boxes xywh, labels, crowd, place}. */
  function images() {
    if (truth) return truth;
    const content = Report.peek("images") ?? { ids: [], names: [], sizes: [], copies: [], splits: [], folds: [] };
    const array = (name, kind) => (content[name] ? Report.array(content[name]) : new kind(1));
    truth = { ...content, offsets: array("offsets", Int32Array), boxes: array("boxes", Float64Array),
      labels: array("labels", Uint16Array), crowd: array("crowd", Uint8Array),
      place: new Map(content.ids.map((id, i) => [id, i])) };
    return truth;
  }

  /* What is known of the images: they came after the page was opened. */
  function forget() {
    truth = null;
    held.clear();
  }

  const classes = () => Runs.experiment().data.class_names ?? [];

  class Evaluation {
    constructor(run, key, content) {
      this.run = run;
      this.key = key;
      this.hasMasks = content.masks;
      this.offsets = Report.array(content.offsets);
      this.labels = Report.array(content.labels);
      this.scores = Report.array(content.scores);
      this.boxes = content.form === "corners" ? sizes(Report.array(content.boxes)) : Report.array(content.boxes);
      this.matched = new Map();
      this.masks = null;
    }

    /* {partner, overlap, verdict} of all detections; those of an image are there once it was matched. */
    matches(threshold, image) {
      if (!this.matched.has(threshold)) {
        if (this.matched.size > 3) this.matched.clear();
        this.matched.set(threshold, { ...Matching.empty(this), done: new Uint8Array(this.offsets.length - 1) });
      }
      const found = this.matched.get(threshold);
      if (!found.done[image]) {
        Matching.matchImage(this, image, images(), { threshold, most: this.run.matching.most }, found);
        found.done[image] = 1;
      }
      return found;
    }

    /* Right, wrong and missed of an image, from a confidence on, of some classes (a Set of labels; null: all). */
    count(image, threshold, confidence, labels) {
      const truths = images(), { verdict } = this.matches(threshold, image);
      let right = 0, wrong = 0, objects = 0;
      for (let d = this.offsets[image]; d < this.offsets[image + 1] && this.scores[d] >= confidence; d++) {
        if (labels && !labels.has(this.labels[d])) continue;
        if (verdict[d] === Matching.RIGHT) right++;
        else if (verdict[d] === Matching.WRONG) wrong++;
      }
      for (let o = truths.offsets[image]; o < truths.offsets[image + 1]; o++) {
        if (!truths.crowd[o] && (!labels || labels.has(truths.labels[o]))) objects++;
      }
      return { right, wrong, missed: objects - right, objects };
    }
  }

  /* Corners, float32, as (x, y, width, height) in doubles: the record's own numbers to the last bit. */
  function sizes(corners) {
    const boxes = new Float64Array(corners.length);
    for (let i = 0; i < corners.length; i += 4) {
      boxes[i] = corners[i];
      boxes[i + 1] = corners[i + 1];
      boxes[i + 2] = corners[i + 2] - corners[i];
      boxes[i + 3] = corners[i + 3] - corners[i + 1];
    }
    return boxes;
  }

  /*
   * The evaluation of a run that belongs to a step: of the final ones a run that has none yet, or failed before, shows its
   * latest epoch instead.
   */
  function keyOf(run, step) {
    const has = (key) => run.evaluations.some((one) => one.key === key && one.predictions);
    if (has(step) || !["validation", "test"].includes(step) || run.scored) return step;
    return run.evaluations.filter((one) => one.predictions && one.epoch !== null).at(-1)?.key ?? step;
  }

  /* A promise of an evaluation; of null where the record has no predictions of it. */
  async function get(run, key) {
    const listed = run.evaluations.find((one) => one.key === key);
    if (!listed?.predictions) return null;
    const name = `${run.id}/${key}`;
    if (!held.has(name)) {
      held.set(name, Report.load(name).then((content) => new Evaluation(run, key, content)));
      held.get(name).catch(() => held.delete(name));
    }
    return held.get(name);
  }

  /* The masks of the detections, loaded when they are first wanted. */
  async function withMasks(evaluation) {
    if (evaluation.hasMasks && !evaluation.masks) evaluation.masks = await Report.load(`${evaluation.run.id}/${evaluation.key}.masks`);
    return evaluation;
  }

  /* A promise of the figures of metrics: {tables, curves, matrices}; of null where there are none. */
  async function figures(run, key) {
    return run.evaluations.find((one) => one.key === key)?.figures ? Report.load(`${run.id}/${key}.figures`) : null;
  }

  /* The evaluations that any of the runs has, by epoch, the final ones last: [{key, label}]. */
  function steps(runs, kind = "predictions") {
    const found = new Map();
    for (const run of runs) for (const one of run.evaluations) if (one[kind]) found.set(one.key, one);
    const order = (one) => (one.epoch === null ? 1e9 + (one.key === "test") : one.epoch);
    return [...found.values()].sort((a, b) => order(a) - order(b))
      .map((one) => ({ key: one.key, label: one.epoch === null ? `final (${one.split})` : `epoch ${one.epoch}` }));
  }

  /* Whether an evaluation covers an image: that of its split, and of the run's fold. */
  function covers(run, key, image) {
    const truths = images(), split = key === "test" ? "test" : "validation";
    return truths.splits[image] === split && (run.fold === null || split === "test" || truths.folds[image] === run.fold);
  }

  return { classes, covers, figures, forget, get, images, keyOf, steps, withMasks };
})();

/* Where a picture comes from: a file beside the page, or, in a page that is one file, the page itself. */
const Pictures = { source: (name) => (Report.whole() ? Report.peek("pictures")?.[name] ?? null : name) };
