"use strict";
/* The plots, in the page's own colours, light and dark. One global, `Plots`. */
const Plots = (() => {
  let survey, fold, watcher;
  const MOST_CLASSES = 60; // bars; the table has all of them
  const MANY_CLASSES = 12; // so many have a row of the page to themselves
  const NAMED_CLASSES = 12; // in a legend

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* Plotly reads a little markup in texts: names must come out as they are. */
  const plain = (name) => String(name).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const short = (name) => plain(name.length > 24 ? `${name.slice(0, 23)}…` : name);

  function start(content, shownFold) {
    survey = content;
    fold = shownFold;
    drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  }

  /* Each plot is drawn when it comes into view: a page with all of them opens slowly. */
  function drawAll() {
    const grid = Dom.byId("plot-grid");
    watcher?.disconnect();
    grid.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
    const { counts } = survey;
    const found = [];
    if (counts.everything.objects) found.push(classes());
    if (counts.per_image) found.push(perImage());
    if (counts.distinct_sizes > 1 || (counts.distinct_sizes && manyClasses())) found.push(imageSizes());
    if (counts.box_width) found.push(boxSizes(), bands(), aspects(), centres());
    const places = found.map(place);
    for (const id of ["plots", "to-plots"]) Dom.byId(id).classList.toggle("hidden", !places.length);
    places[0]?.classList.toggle("row", found.length % 2 === 1); // so that the last row is full
    grid.replaceChildren(...places); // all of them before the first is drawn: its width depends on the others
    watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        draw(target.querySelector(".plot"), found[places.indexOf(target)]);
      }
    }, { rootMargin: "200px" });
    places.forEach((one) => watcher.observe(one));
  }

  const manyClasses = () => survey.classes.length > MANY_CLASSES;

  function place({ title, note = "", height = 320 }) {
    const plot = Dom.make("div", { class: "plot", role: "img", "aria-label": title });
    plot.style.height = `${height}px`;
    return Dom.make("figure", { class: "card" }, Dom.make("h3", {}, title), plot, Dom.make("figcaption", {}, note));
  }

  function draw(plot, { traces, layout = {}, height = 320 }) {
    const { xaxis = {}, yaxis = {}, ...rest } = layout;
    const line = colour("--line");
    const axis = (own) => ({ gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...own });
    Plotly.newPlot(plot, traces, {
      height,
      margin: { l: 48, r: 12, t: 8, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: colour("--back"), bordercolor: line, font: { color: colour("--ink") } },
      legend: { orientation: "h", traceorder: "normal", y: 1.02, yanchor: "bottom", x: 0 },
      bargap: 0.12,
      xaxis: axis(xaxis),
      yaxis: axis(yaxis),
      ...rest,
    }, { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] });
  }

  /* Stacked by split: lying where there are few classes, else standing. */
  function classes() {
    const ranked = survey.counts.everything.classes.map((one, place) => ({ ...one, place }))
      .sort((one, other) => other.objects - one.objects);
    const standing = manyClasses();
    const most = ranked.slice(0, MOST_CLASSES);
    const shown = standing ? most : most.reverse(); // plotly counts from below
    const own = survey.counts.parts.filter((part) => part.fold === null || part.fold === fold);
    const parts = own.length ? own : [survey.counts.everything];
    const traces = parts.map((part) => {
      const places = shown.map(({ place }) => place), amounts = places.map((place) => part.classes[place].objects);
      return {
        type: "bar", name: part.name, orientation: standing ? "v" : "h",
        x: standing ? places : amounts, y: standing ? amounts : places,
        text: amounts.map((amount) => amount.toLocaleString("en")), textposition: "none",
        customdata: shown.map(({ name }) => plain(name)),
        hovertemplate: `%{customdata}<br>%{text} objects<extra>${part.name}</extra>`,
        marker: { color: colour(`--split-${part.name}`) || colour("--accent") },
      };
    });
    const left = ranked.length - shown.length;
    const names = { type: "category", tickvals: shown.map(({ place }) => place), ticktext: shown.map(({ name }) => short(name)) };
    const objects = { title: { text: "objects" } };
    return {
      title: "Objects of each class",
      note: [left ? `the ${MOST_CLASSES} most frequent of ${ranked.length}; the table has all` : "",
        own.some((part) => part.fold !== null) ? `of fold ${fold}` : ""].filter(Boolean).join("; "),
      traces,
      height: standing ? 380 : Math.max(survey.counts.distinct_sizes > 1 ? 200 : 320, 26 * shown.length + 110),
      layout: {
        barmode: "stack",
        showlegend: parts.length > 1,
        xaxis: standing ? { ...names, tickangle: -50 } : objects,
        yaxis: standing ? objects : names,
      },
    };
  }

  function perImage() {
    const numbers = survey.plots.perImage;
    return {
      title: "Objects in an image",
      traces: [{
        type: "bar", x: numbers.map(([many]) => many), y: numbers.map(([, images]) => images),
        hovertemplate: "%{x} objects: %{y} images<extra></extra>", marker: { color: colour("--accent") },
      }],
      layout: { xaxis: { title: { text: "objects" }, rangemode: "tozero" }, yaxis: { title: { text: "images" } } },
    };
  }

  function imageSizes() {
    const { sizes, sizesLeft } = survey.plots;
    const most = Math.max(...sizes.map(([, , images]) => images));
    const reach = 1.08 * Math.max(...sizes.flatMap(([width, height]) => [width, height]));
    return {
      title: "Sizes of images",
      note: [most > 1 ? "a larger point stands for more images" : "", sizesLeft ? `${sizesLeft} rarer sizes are not drawn` : ""]
        .filter(Boolean).join("; "),
      traces: [{
        type: "scatter", mode: "markers",
        x: sizes.map(([width]) => width), y: sizes.map(([, height]) => height), customdata: sizes.map(([, , images]) => images),
        hovertemplate: "%{x} × %{y}: %{customdata} images<extra></extra>",
        marker: { color: colour("--accent"), opacity: 0.65, size: sizes.map(([, , images]) => (most > 1 ? 6 + 18 * Math.sqrt(images / most) : 7)) },
      }],
      layout: {
        xaxis: { title: { text: "width, pixels" }, range: [0, reach] },
        yaxis: { title: { text: "height, pixels" }, range: [0, reach] },
      },
    };
  }

  /* Points of the boxes, a colour a class, with the limits between COCO's sizes. */
  function boxSizes() {
    const { boxes, boxesLeft } = survey.plots;
    const labels = [...new Set(boxes.map(([, , label]) => label))].sort((one, other) => one - other);
    const named = labels.length <= NAMED_CLASSES;
    const traces = labels.map((label) => {
      const own = boxes.filter((box) => box[2] === label);
      const name = survey.classes[label - 1] ?? `class ${label}`;
      return {
        type: "scatter", mode: "markers", name: short(name),
        x: own.map(([width]) => width), y: own.map(([, height]) => height), customdata: own.map(() => plain(name)),
        hovertemplate: "%{customdata}: %{x} × %{y}<extra></extra>",
        marker: { color: Objects.css(Objects.classColour(label)), size: 5, opacity: 0.6 },
      };
    });
    const reach = (place) => [Math.max(0.5, Math.min(...boxes.map((box) => box[place])) / 1.3), Math.max(...boxes.map((box) => box[place])) * 1.3];
    const [[left, right], [low, high]] = [reach(0), reach(1)];
    const limits = [[32, "small"], [96, "medium"]].map(([side, name]) => ({
      type: "scatter", mode: "lines", x: [side * side / high, side * side / low], y: [high, low], hoverinfo: "skip",
      showlegend: false, line: { color: colour("--faint"), width: 1, dash: "dot" }, name,
    }));
    const range = (from, to) => [Math.log10(from), Math.log10(to)];
    return {
      title: "Sizes of boxes",
      note: "both axes logarithmic; dotted: 32 × 32 and 96 × 96 pixels, the limits of COCO's small and large"
        + (boxesLeft ? `; ${boxesLeft.toLocaleString("en")} more boxes are not drawn` : ""),
      traces: [...traces, ...limits],
      layout: {
        showlegend: named && labels.length > 1,
        xaxis: { title: { text: "width, pixels" }, type: "log", range: range(left, right), tickvals: TICKS },
        yaxis: { title: { text: "height, pixels" }, type: "log", range: range(low, high), tickvals: TICKS },
      },
    };
  }
  const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];

  function bands() {
    const { box_sizes: files, input_box_sizes: input, input_size: [least, most] } = survey.counts;
    const trace = (name, found, shade) => ({
      type: "bar", name, x: found.map((bar) => bar.name), y: found.map((bar) => bar.count),
      hovertemplate: "%{x}: %{y} objects<extra></extra>", marker: { color: shade },
    });
    return {
      title: "Small, medium, large",
      note: `COCO's sizes by area, in the files and as models see them: shorter side ${least} pixels, longer at most ${most}`,
      traces: [trace("in the files", files, colour("--faint")), trace("as models see them", input, colour("--accent"))],
      layout: { barmode: "group", yaxis: { title: { text: "objects" } } },
    };
  }

  function aspects() {
    const { aspectEdges: edges, aspects: found } = survey.plots;
    const logs = edges.map(Math.log2);
    const filled = found.map((count, place) => (count ? place : -1)).filter((place) => place >= 0);
    const names = { "-4": "1:16", "-3": "1:8", "-2": "1:4", "-1": "1:2", 0: "1:1", 1: "2:1", 2: "4:1", 3: "8:1", 4: "16:1" };
    return {
      title: "Shapes of boxes",
      note: "width over height, logarithmic; boxes to the left of 1:1 are higher than wide",
      traces: [{
        type: "bar", x: found.map((_, place) => (logs[place] + logs[place + 1]) / 2), y: found, width: 0.23,
        customdata: found.map((_, place) => `${edges[place].toFixed(2)} to ${edges[place + 1].toFixed(2)}`),
        hovertemplate: "%{customdata}: %{y} boxes<extra></extra>", marker: { color: colour("--accent") },
      }],
      layout: {
        xaxis: {
          title: { text: "width : height" }, tickvals: Object.keys(names).map(Number), ticktext: Object.values(names),
          range: [Math.min(logs[filled[0]], -1.1), Math.max(logs[filled.at(-1) + 1], 1.1)],
        },
        yaxis: { title: { text: "boxes" } },
      },
    };
  }

  function centres() {
    const cells = survey.plots.centres;
    const places = cells.map((_, place) => (100 * (place + 0.5)) / cells.length);
    return {
      title: "Where boxes are",
      note: "their centres, in percent of the image's width and height",
      traces: [{
        type: "heatmap", z: cells, x: places, y: places,
        colorscale: [[0, colour("--raised")], [0.5, colour("--accent")], [1, colour("--peak")]],
        hovertemplate: "%{z} boxes<extra></extra>", colorbar: { thickness: 10, outlinewidth: 0 },
      }],
      layout: {
        xaxis: { range: [0, 100], ticksuffix: " %", showgrid: false },
        yaxis: { range: [100, 0], ticksuffix: " %", showgrid: false },
      },
    };
  }

  return { start };
})();
