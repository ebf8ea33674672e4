"use strict";
/*
 * Which detection matches which object: COCO's greedy rule (pycocotools' COCOeval.evaluateImg), as the record's own
 * numbers use it. In an image and class, detections choose in the order of their scores; each takes the free object with
 * the highest IoU, one that counts before a crowd, the later one of two with equal IoU. Since the surer ones choose first,
 * a match does not depend on the confidence from which detections are shown.
 */
const Matching = (() => {
  const WRONG = 0, RIGHT = 1, IGNORED = 2;

  /* IoU of boxes (x, y, width, height), in the arithmetic of pycocotools' bbIou: with a crowd, the share that lies in it. */
  function iou(found, i, objects, j, crowd) {
    const width = Math.min(found[i] + found[i + 2], objects[j] + objects[j + 2]) - Math.max(found[i], objects[j]);
    const height = Math.min(found[i + 1] + found[i + 3], objects[j + 1] + objects[j + 3]) - Math.max(found[i + 1], objects[j + 1]);
    if (width <= 0 || height <= 0) return 0;
    const shared = width * height, own = found[i + 2] * found[i + 3];
    return shared / (crowd ? own : own + objects[j + 2] * objects[j + 3] - shared);
  }

  /*
   * Match the detections of one image, the surest first, with its objects.
   *   detections, objects: {offsets, boxes: xywh, labels}; objects has crowd too. into: as `empty`.
   *   most: of a class in an image; those beyond are of no account.
   */
  function matchImage(detections, image, objects, { threshold, most }, into) {
    const [begin, end] = [detections.offsets[image], detections.offsets[image + 1]];
    const [from, to] = [objects.offsets[image], objects.offsets[image + 1]];
    const limit = Math.min(threshold, 1 - 1e-10), seen = new Map();
    const taken = new Uint8Array(to - from);
    for (let d = begin; d < end; d++) {
      const label = detections.labels[d], rank = seen.get(label) ?? 0;
      seen.set(label, rank + 1);
      into.partner[d] = -1;
      into.overlap[d] = 0;
      into.verdict[d] = rank < most ? WRONG : IGNORED;
      if (rank >= most) continue;
      let best = -1, highest = limit, bestCrowd = -1, highestCrowd = limit;
      for (let o = from; o < to; o++) {
        if (objects.labels[o] !== label) continue;
        const crowd = objects.crowd[o] === 1;
        const overlap = iou(detections.boxes, 4 * d, objects.boxes, 4 * o, crowd);
        if (!crowd && overlap > into.overlap[d]) into.overlap[d] = overlap;
        if (crowd) {
          if (overlap >= highestCrowd) { highestCrowd = overlap; bestCrowd = o; }
        } else if (!taken[o - from] && overlap >= highest) { highest = overlap; best = o; }
      }
      if (best >= 0) {
        taken[best - from] = 1;
        into.partner[d] = best;
        into.overlap[d] = highest;
        into.verdict[d] = RIGHT;
      } else if (bestCrowd >= 0) {
        into.partner[d] = bestCrowd;
        into.overlap[d] = highestCrowd;
        into.verdict[d] = IGNORED;
      }
    }
  }

  /* Of all detections: partner, an object or -1; overlap, the IoU with it, else the highest with any of its class; verdict. */
  function empty(detections) {
    const size = detections.labels.length;
    return { partner: new Int32Array(size).fill(-1), overlap: new Float64Array(size), verdict: new Uint8Array(size) };
  }

  return { IGNORED, RIGHT, WRONG, empty, iou, matchImage };
})();
