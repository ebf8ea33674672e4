"use strict";
/* Plots by plotly, in the page's colours, light or dark. */
const Plots = (() => {
  const drawn = new Map();
  const wide = matchMedia("(prefers-color-scheme: dark)");
  const shade = () => document.documentElement.classList.toggle("dark", wide.matches);  // DataTables' own word for it
  shade();
  wide.addEventListener("change", () => {
    shade();
    for (const [element, make] of drawn) if (element.isConnected) show(element, make); });

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* Names as plotly's text, which knows some markup. */
  const text = (value) => String(value).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  const plain = (name) => name.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  /* Colours apart from each other for most eyes (Okabe and Ito), each visible on light and dark. */
  const PALETTE = ["#3b7dd8", "#e07b00", "#1f9e74", "#cc5fa3", "#b59b00", "#56a9d6", "#d1493a", "#8a6fd1", "#7a8791", "#9b6a3c"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const colour = (number) => PALETTE[number % PALETTE.length];
  const dash = (number) => DASHES[Math.floor(number / PALETTE.length) % DASHES.length];

  function layout(given) {
    const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: css("--ink"), family: "system-ui, sans-serif", size: 12 },
      margin: { l: 48, r: 12, t: 34, b: 40 }, height: 300, hovermode: "closest", showlegend: false,
      hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: css("--ink") }, namelength: -1 },
      legend: { orientation: "h", y: -0.2 },
    };
    const merged = { ...base, ...given, xaxis: { ...axis, ...given.xaxis }, yaxis: { ...axis, ...given.yaxis } };
    if (given.title) merged.title = { text: text(given.title), font: { size: 13 }, x: 0.02, xanchor: "left" };
    return merged;
  }

  /* What a plot shows, in words, for those who do not see it: of each line where it begins and ends. */
  function told(data) {
    const lines = data.filter(({ name, y, hoverinfo, opacity }) => name && hoverinfo !== "skip" && opacity !== 0.25 && Array.isArray(y) && y.some(Dom.known));
    const words = lines.slice(0, 12).map(({ name, y }) => {
      const known = y.filter(Dom.known);
      return `${plain(name)}: ${known.length > 1 ? `${Dom.short(known[0])} to ${Dom.short(known.at(-1))}` : Dom.short(known[0])}`;
    });
    return lines.length > 12 ? [...words, `and ${lines.length - 12} more`] : words;
  }

  /* Draw, or draw again. make() gives {data, layout}; it is asked again when the colours change. */
  async function show(element, make) {
    drawn.set(element, make);
    const plotly = await Report.library("plots");
    if (drawn.get(element) !== make || !element.isConnected) return;
    const { data, layout: given } = make();
    element.setAttribute("role", "figure");
    element.setAttribute("aria-label", [given.title, ...told(data)].filter(Boolean).join("; "));
    await plotly.react(element, data, layout(given), {
      responsive: true, displaylogo: false, displayModeBar: "hover",
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { format: "svg" },
    });
  }

  /* A place for a plot, drawn when it first comes near the screen. */
  function place(make) {
    const element = Dom.make("div", { class: "plot" });
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      show(element, () => element.again());
    }, { rootMargin: "300px" });
    element.again = make;
    element.redraw = () => { if (drawn.has(element)) show(element, () => element.again()); };
    seen.observe(element);
    return element;
  }

  /* Let go of plots whose view is gone: a page may stay open for days. */
  function tidy() {
    for (const element of drawn.keys()) {
      if (element.isConnected) continue;
      drawn.delete(element);
      window.Plotly?.purge(element);
    }
  }

  return { colour, css, dash, place, show, text, tidy, get held() { return drawn.size; } };
})();
