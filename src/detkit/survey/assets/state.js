"use strict";
/* What is shown of the images, and how; those who draw are told of each change. One global, `State`. */
const State = (() => {
  const listeners = [];
  const values = {
    splits: new Set(), // of chips that are pressed; none stands for all
    classes: new Set(),
    search: "",
    epoch: 0, // place among the epochs, or "all"
    masks: true,
    names: false,
    line: 2,
  };

  function set(changes) {
    Object.assign(values, changes);
    listeners.forEach((listener) => listener(changes));
  }

  /* Press a chip of a set, or release it. */
  function flip(name, member) {
    const members = new Set(values[name]);
    if (!members.delete(member)) members.add(member);
    set({ [name]: members });
  }

  /* Whether an image passes the filters. */
  function passes(image) {
    const { splits, classes, search } = values;
    if (splits.size && !splits.has(image.split)) return false;
    if (classes.size && !image.before.objects.some(({ label }) => classes.has(label))) return false;
    return image.name.toLowerCase().includes(search.trim().toLowerCase());
  }

  /* The pictures of an image that are shown now: [{picture, title}]. */
  function pictures(image, epochs) {
    const after = image.after.map((picture, place) => ({ picture, title: `epoch ${epochs[place]}` }));
    const chosen = values.epoch === "all" ? after : after.slice(values.epoch, values.epoch + 1);
    return [{ picture: image.before, title: image.after.length ? "before" : "" }, ...chosen];
  }

  return { values, set, flip, passes, pictures, listen: (listener) => listeners.push(listener) };
})();
