"use strict";
/* A picture with its objects on a canvas, as large as its place and as sharp as the screen. One global, `Pictures`. */
const Pictures = (() => {
  let classes = [];

  function image(picture) {
    if (!picture.image) {
      picture.image = new Image();
      picture.image.src = picture.source;
      picture.ready = picture.image.decode();
    }
    return picture.ready;
  }

  /* The objects as `Objects.draw` takes them; those of pressed classes alone where any is pressed. */
  function objects(picture) {
    picture.drawn ??= picture.objects.map((object) => ({
      ...object,
      colour: Objects.classColour(object.label),
      name: (classes[object.label - 1] ?? `class ${object.label}`) + (object.crowd ? " (crowd)" : ""),
      dashed: object.crowd,
    }));
    const chosen = State.values.classes;
    return chosen.size ? picture.drawn.filter(({ label }) => chosen.has(label)) : picture.drawn;
  }

  /* Draw into a place of so many CSS pixels; `marked` is an object to be drawn stronger. */
  async function draw(canvas, picture, width, height, marked) {
    await image(picture);
    const ratio = window.devicePixelRatio || 1;
    const scale = Math.min(width / picture.width, height / picture.height);
    canvas.width = Math.max(1, Math.round(picture.width * scale * ratio));
    canvas.height = Math.max(1, Math.round(picture.height * scale * ratio));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.image, 0, 0, canvas.width, canvas.height);
    context.scale(ratio, ratio);
    const { masks, names, line } = State.values;
    const shown = objects(picture);
    Objects.draw(context, shown, scale, { masks, names, line });
    if (marked && shown.includes(marked)) {
      Objects.draw(context, [marked], scale, { masks: false, names: true, line: line + 2 });
    }
    canvas.dataset.drawn = String(shown.length);
  }

  /* The object under the mouse, undefined where there is none. */
  function under(canvas, picture, event) {
    const place = canvas.getBoundingClientRect();
    const shrink = Math.min(place.width / picture.width, place.height / picture.height);
    const left = (place.width - picture.width * shrink) / 2, top = (place.height - picture.height * shrink) / 2;
    return Objects.at(
      objects(picture), (event.clientX - place.left - left) / shrink, (event.clientY - place.top - top) / shrink);
  }

  /* As "3 cat, 1 dog", of what is drawn. */
  function summary(picture) {
    const counts = new Map();
    for (const { name } of objects(picture)) counts.set(name, (counts.get(name) ?? 0) + 1);
    return [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "no objects";
  }

  return { draw, summary, under, setClasses: (names) => { classes = names; } };
})();
