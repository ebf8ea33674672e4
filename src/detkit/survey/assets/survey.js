"use strict";
/* The page: numbers, plots, images. */
(() => {
  const survey = JSON.parse(document.getElementById("survey").textContent);
  const { counts } = survey;
  const fold = survey.training?.fold ?? 1;

  /* What is between backticks as code. */
  const coded = (note) => note.split("`").map((part, place) => (place % 2 ? Dom.make("code", {}, part) : part));

  function notes() {
    Dom.byId("notes").replaceChildren(...survey.notes.map((note) => Dom.make("li", {}, ...coded(note))));
    Dom.byId("notes").classList.toggle("hidden", !survey.notes.length);
  }

  function tiles() {
    const { everything } = counts;
    const found = [
      ["images", everything.images],
      ["objects", everything.objects],
      ["classes", survey.classes.length],
      ["images without objects", everything.without_objects],
      ["objects an image, median", counts.per_image?.median ?? 0],
      ["different image sizes", counts.distinct_sizes],
      ["objects with masks", counts.masks],
      ["crowds", counts.crowds],
      ["unreadable images", everything.unreadable],
    ].filter(([title, value]) => value || !["crowds", "unreadable images", "objects with masks"].includes(title));
    Dom.byId("tiles").replaceChildren(...found.map(([title, value]) =>
      Dom.make("div", { class: "card" }, Dom.make("span", { class: "value" }, Dom.shown(value)),
        Dom.make("span", { class: "faint" }, title))));
  }

  const title = (part) => (part.fold === null ? part.name : `fold ${part.fold} ${part.name}`);
  const number = (name) => ({ title: name, number: true });

  function tables() {
    const parts = [...counts.parts, counts.everything];
    Dom.fillTable(Dom.byId("splits"), "Splits",
      [{ title: "split" }, number("images"), number("without objects"), number("objects"), number("an image")],
      parts.map((part) => [title(part), part.images, part.without_objects, part.objects,
        part.images > part.unreadable ? part.objects / (part.images - part.unreadable) : ""]));
    Dom.fillTable(Dom.byId("classes"), "Objects of each class",
      [{ title: "class" }, number("images"), number("objects"), ...counts.parts.map((part) => number(title(part)))],
      counts.everything.classes.map((one, place) =>
        [one.name, one.images, one.objects, ...counts.parts.map((part) => part.classes[place].objects)]));
    const sizes = [["width of images", counts.image_width], ["height of images", counts.image_height],
      ["width of boxes", counts.box_width], ["height of boxes", counts.box_height]].filter(([, range]) => range);
    Dom.fillTable(Dom.byId("sizes"), "Sizes, pixels",
      [{ title: "" }, number("min"), number("median"), number("mean"), number("max")],
      sizes.map(([name, range]) => [name, range.min, range.median, range.mean, range.max]));
  }

  function aboutImages() {
    const { training } = survey;
    const chosen = `${survey.images.length} images, chosen to show every class and split, the rare ones first; press one to enlarge it. `;
    const drawn = survey.images.some(({ before }) => before.objects.some(({ crowd }) => crowd))
      ? " Crowds are dashed; no training has them." : "";
    const told = training
      ? `Training images are shown before and after ${training.transforms.join(", ")}, exactly as ${training.model}`
        + ` with seed ${training.seed}${training.fold === null ? "" : `, fold ${training.fold},`} trains on them in each epoch.`
        + " Other images are never augmented."
      : survey.without;
    Dom.byId("about-images").textContent = chosen + told + drawn;
  }

  Pictures.setClasses(survey.classes);
  notes();
  tiles();
  tables();
  aboutImages();
  for (const id of ["images", "to-images"]) Dom.byId(id).classList.toggle("hidden", !survey.images.length);
  Viewer.start(survey.training?.epochs ?? []);
  Gallery.start(survey);
  Plots.start(survey, fold);
})();
