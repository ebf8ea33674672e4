"use strict";
/* What of an image is drawn: objects with their verdicts, their colours, dashes and letters. */
const Drawing = (() => {
  /* Verdicts by colour, dash and letters: no one of them alone. */
  const KINDS = {
    right: { letters: "TP", title: "right", colour: [64, 200, 120], dash: [] },
    wrong: { letters: "FP", title: "wrong", colour: [255, 96, 84], dash: [7, 4] },
    missed: { letters: "FN", title: "missed", colour: [255, 190, 30], dash: [2, 3] },
    ignored: { letters: "", title: "not counted (a crowd)", colour: [150, 160, 175], dash: [1, 4] },
    truth: { letters: "GT", title: "ground truth", colour: [90, 190, 255], dash: [] },
  };

  /*
   * The objects of an image that are to be drawn: [{kind, box, label, score, overlap, counts}], ground truth first.
   *   evaluation: of one run, or null. look: {iou, confidence, labels, truth}. truthMasks: run lengths, or null.
   */
  function objects(evaluation, image, look, truthMasks) {
    const truths = Evaluations.images(), found = [], hit = new Set();
    const wanted = (label) => !look.labels || look.labels.has(label);
    if (evaluation) {
      const { partner, overlap, verdict } = evaluation.matches(look.iou, image);
      for (let d = evaluation.offsets[image]; d < evaluation.offsets[image + 1]; d++) {
        if (evaluation.scores[d] < look.confidence) break;
        if (verdict[d] === Matching.RIGHT) hit.add(partner[d]);
        if (!wanted(evaluation.labels[d])) continue;
        const kind = ["wrong", "right", "ignored"][verdict[d]];
        found.push({ kind, box: box(evaluation.boxes, d), label: evaluation.labels[d], score: evaluation.scores[d],
          overlap: overlap[d], counts: evaluation.masks?.[d] ?? null });
      }
      found.reverse();  // the surest are drawn last, over the others
    }
    const under = [];
    for (let o = truths.offsets[image]; o < truths.offsets[image + 1]; o++) {
      if (!wanted(truths.labels[o])) continue;
      const missed = evaluation && !hit.has(o) && !truths.crowd[o];
      if (!look.truth && !missed) continue;
      under.push({ kind: missed ? "missed" : truths.crowd[o] ? "ignored" : "truth", box: box(truths.boxes, o), label: truths.labels[o],
        score: null, overlap: null, counts: truthMasks?.[o] ?? null, crowd: truths.crowd[o] === 1 });
    }
    return [...under, ...found];
  }

  const box = (boxes, i) => [boxes[4 * i], boxes[4 * i + 1], boxes[4 * i] + boxes[4 * i + 2], boxes[4 * i + 1] + boxes[4 * i + 3]];

  const className = (label) => Evaluations.classes()[label - 1] ?? `class ${label}`;
  const colour = (object, by) => (by === "class" ? Objects.classColour(object.label) : KINDS[object.kind].colour);

  function words(object) {
    const { letters } = KINDS[object.kind];
    return [letters, className(object.label), object.score === null ? "" : object.score.toFixed(2)].filter(Boolean).join(" ");
  }

  /* One line about an object, for the pointer and for the list. */
  function sentence(object) {
    const score = object.score === null ? "" : ` with confidence ${object.score.toFixed(3)}`;
    const overlap = object.overlap === null ? "" : object.kind === "right" || object.kind === "ignored"
      ? `, IoU ${object.overlap.toFixed(3)} with its object` : `, highest IoU with an object of its class ${object.overlap.toFixed(3)}`;
    const kind = object.crowd ? "a crowd" : KINDS[object.kind].title;
    return `${className(object.label)}${score}: ${kind}${overlap}`;
  }

  /*
   * Draw over an image.
   *   view: {scale, x, y}: canvas pixels for one of the image, and where its corner lies. look: {by, names}. picked: one
   *   object to stand out, or null.
   */
  function draw(context, list, view, look, picked, ratio) {
    for (const object of list) {
      const tint = Objects.css(colour(object, look.by));
      const [x0, y0, x1, y1] = object.box.map((value, i) => value * view.scale + (i % 2 ? view.y : view.x));
      const thin = object.kind === "truth" || object.kind === "ignored";
      context.lineWidth = ratio * (object === picked ? 4 : thin ? 1.5 : 2.25);
      context.setLineDash([]);
      context.strokeStyle = "rgba(0,0,0,0.55)";
      if (!thin) { context.lineWidth += 1.5 * ratio; context.strokeRect(x0, y0, x1 - x0, y1 - y0); context.lineWidth -= 1.5 * ratio; }
      context.strokeStyle = tint;
      context.setLineDash(KINDS[object.kind].dash.map((length) => length * ratio));
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    context.setLineDash([]);
    if (look.names) for (const object of list) if (object.kind !== "truth" || look.by === "class") name(context, object, view, look, ratio);
  }

  function name(context, object, view, look, ratio) {
    const size = 11 * ratio, tint = colour(object, look.by), label = words(object);
    context.font = `600 ${size}px system-ui, sans-serif`;
    const width = context.measureText(label).width + 6 * ratio, height = size + 4 * ratio;
    const left = object.box[0] * view.scale + view.x, top = object.box[1] * view.scale + view.y;
    const x = Math.max(0, Math.min(left, context.canvas.width - width));
    const y = object.kind === "missed" ? object.box[3] * view.scale + view.y : top - height >= 0 ? top - height : top;
    context.fillStyle = Objects.css(tint);
    context.fillRect(x, y, width, height);
    context.fillStyle = 0.299 * tint[0] + 0.587 * tint[1] + 0.114 * tint[2] > 120 ? "#000" : "#fff";
    context.textBaseline = "top";
    context.fillText(label, x + 3 * ratio, y + 2 * ratio);
  }

  return { KINDS, className, colour, draw, objects, sentence };
})();
