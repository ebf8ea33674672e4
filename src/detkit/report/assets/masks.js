"use strict";
/* Run-length masks as coloured pixels of the shown size: a mask of a large photograph is never decoded in full. */
const Masks = (() => {
  /*
   * Lay one mask over a picture.
   *   picture: ImageData of the shown size. counts: COCO's compressed run lengths, down the columns.
   *   size: [width, height] of the image, in whose pixels the mask is.
   */
  function lay(picture, counts, [width, height], [red, green, blue], alpha) {
    const data = picture.data, columns = columnsOf(width, picture.width), rows = rowsOf(height, picture.height);
    let at = 0, inside = false;
    for (const run of Objects.runs(counts)) {
      if (inside && run > 0) {
        const end = Math.min(at + run, width * height);
        for (let x = Math.floor(at / height); x * height < end; x++) {
          const own = columns[x];
          if (own === undefined) continue;
          const top = rows[Math.max(at - x * height, 0)], bottom = rows[Math.min(end - x * height, height)];
          for (const column of own) {
            for (let y = top; y < bottom; y++) {
              const offset = 4 * (y * picture.width + column);
              data[offset] = red; data[offset + 1] = green; data[offset + 2] = blue; data[offset + 3] = alpha;
            }
          }
        }
      }
      at += run;
      inside = !inside;
    }
  }

  /* For each column of the image the shown columns whose centre lies in it; undefined where there are none. */
  function columnsOf(width, shown) {
    const found = new Array(width);
    for (let column = 0; column < shown; column++) {
      const x = Math.min(width - 1, Math.floor(((column + 0.5) * width) / shown));
      (found[x] ??= []).push(column);
    }
    return found;
  }

  /* For each edge between rows of the image the first shown row whose centre lies below it. */
  function rowsOf(height, shown) {
    return Array.from({ length: height + 1 }, (_, y) => Math.max(0, Math.min(shown, Math.ceil((y * shown) / height - 0.5))));
  }

  /* A canvas with all of them. objects: [{counts, colour}]. */
  function layer(objects, size, width, height, opacity) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), picture = context.createImageData(width, height);
    for (const { counts, colour } of objects) lay(picture, counts, size, colour, Math.round(255 * opacity));
    context.putImageData(picture, 0, 0);
    return canvas;
  }

  return { layer };
})();
