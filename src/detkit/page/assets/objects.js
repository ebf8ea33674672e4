"use strict";
/* Objects over an image: boxes, masks, names. One global, `Objects`. */
const Objects = (() => {
  /* Run lengths of COCO's compressed masks, down the columns, background first (pycocotools, rleFrString). */
  function runs(counts) {
    const found = [];
    for (let at = 0; at < counts.length;) {
      let value = 0, shift = 0, more = true;
      while (more) {
        const code = counts.charCodeAt(at++) - 48;
        value |= (code & 0x1f) << shift;
        more = (code & 0x20) !== 0;
        shift += 5;
        if (!more && code & 0x10 && shift < 32) value |= -1 << shift;
      }
      if (found.length > 2) value += found[found.length - 2];
      found.push(value);
    }
    return found;
  }

  /* A mask as a picture of its own size: {size: [height, width], counts: compressed string} in one colour. */
  function maskPicture(mask, [red, green, blue], opacity) {
    const [height, width] = mask.size;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const alpha = Math.round(255 * opacity);
    let at = 0, inside = false;
    for (const run of runs(mask.counts)) {
      if (inside) {
        for (let end = Math.min(at + run, width * height), i = at; i < end; i++) {
          const offset = 4 * ((i % height) * width + Math.floor(i / height));
          picture.data[offset] = red;
          picture.data[offset + 1] = green;
          picture.data[offset + 2] = blue;
          picture.data[offset + 3] = alpha;
        }
      }
      at += run;
      inside = !inside;
    }
    context.putImageData(picture, 0, 0);
    return canvas;
  }

  /* A colour for a class, by its number from 1: hues a golden angle apart, bright enough over dark photographs. */
  function classColour(number) {
    const hue = (number * 137.508 + 200) % 360;
    return fromHsl(hue, 0.85, 0.58);
  }

  function fromHsl(hue, saturation, lightness) {
    const reach = saturation * Math.min(lightness, 1 - lightness);
    const channel = (n) => {
      const k = (n + hue / 30) % 12;
      return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
    };
    return [channel(0), channel(8), channel(4)];
  }

  const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;

  /*
   * Draw objects over what a canvas shows.
   *   objects: [{box: [x0, y0, x1, y1], colour: [r, g, b], name: "", mask: null or {size, counts}, dashed: false}]
   *   scale: canvas pixels for each pixel in which boxes are given. options: {masks, names, line, opacity}; a line of 0
   *   draws no boxes
   */
  function draw(context, objects, scale, options = {}) {
    const { masks = true, names = true, line = 2, opacity = 0.4 } = options;
    if (masks) {
      for (const object of objects) {
        if (!object.mask) continue;
        const key = `${css(object.colour)} ${opacity}`;
        if (object.pictureKey !== key) {
          object.picture = maskPicture(object.mask, object.colour, opacity);
          object.pictureKey = key;
        }
        const [height, width] = object.mask.size;
        context.drawImage(object.picture, 0, 0, width * scale, height * scale);
      }
    }
    for (const object of line > 0 ? objects : []) {
      const [x0, y0, x1, y1] = object.box.map((value) => value * scale);
      context.lineWidth = line;
      context.strokeStyle = css(object.colour);
      context.setLineDash(object.dashed ? [3 * line, 2 * line] : []);
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    context.setLineDash([]);
    if (names) for (const object of objects) if (object.name) writeName(context, object, scale);
  }

  function writeName(context, object, scale) {
    const size = 12;
    context.font = `${size}px system-ui, sans-serif`;
    const width = context.measureText(object.name).width + 6;
    const right = context.canvas.width / context.getTransform().a; // a page may draw in CSS pixels
    const x = Math.max(0, Math.min(object.box[0] * scale, right - width));
    const above = object.box[1] * scale - size - 4;
    const y = above >= 0 ? above : object.box[1] * scale;
    const [red, green, blue] = object.colour;
    context.fillStyle = css(object.colour);
    context.fillRect(x, y, width, size + 4);
    context.fillStyle = 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
    context.textBaseline = "top";
    context.fillText(object.name, x + 3, y + 2);
  }

  /* The smallest object under a point, in the pixels in which boxes are given; undefined where there is none. */
  function at(objects, x, y) {
    const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    return objects
      .filter(({ box }) => box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3])
      .sort((one, other) => area(one) - area(other))[0];
  }

  return { at, classColour, css, draw, maskPicture, runs };
})();
