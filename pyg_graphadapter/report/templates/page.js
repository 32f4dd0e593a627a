"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const plain = (text) => text.normalize("NFKC").toLowerCase();

/* Tables that sort: numbers by their value, what is missing last. */
function keyOf(row, column, isText) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  if (isText) return text;
  const number = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(number) ? null : number;
}
function sortBy(header) {
  const table = header.closest("table"), isText = header.classList.contains("text");
  const before = header.getAttribute("aria-sort");
  const way = before === "none" ? (isText ? "ascending" : "descending")
    : before === "ascending" ? "descending" : "ascending";
  all("th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
  header.setAttribute("aria-sort", way);
  const sign = way === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, header.cellIndex, isText), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (isText ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
all("th[aria-sort] button").forEach((button) =>
  button.addEventListener("click", () => sortBy(button.closest("th"))));

/* Filters: of the page by method and data set, and of one list or table by any text. */
const byMethod = document.getElementById("by-method"), byTask = document.getElementById("by-task");
function refresh() {
  const method = plain(byMethod?.value ?? ""), task = byTask?.value ?? "";
  const hides = (element) =>
    ("method" in element.dataset && !plain(element.dataset.method).includes(method)) ||
    (task !== "" && "task" in element.dataset && element.dataset.task !== task);
  all("[data-method], [data-task]").forEach((e) => e.toggleAttribute("hidden", hides(e)));
  all("input[data-filters]").forEach((input) => {
    const list = document.getElementById(input.dataset.filters), text = plain(input.value);
    const entries = list.tBodies ? [...list.tBodies[0].rows] : [...list.children];
    entries.forEach((entry) =>
      entry.toggleAttribute("hidden", hides(entry) || !plain(entry.textContent).includes(text)));
    const shown = entries.filter((entry) => !entry.hidden).length;
    input.closest(".tools").querySelector("output").textContent = `${shown} of ${entries.length}`;
  });
}
all("input[data-filters], #by-method").forEach((input) => input.addEventListener("input", refresh));
byTask?.addEventListener("change", refresh);

/* Charts: values where the pointer or the focus is; curves that are hidden or stand out. */
function readAt(figure, index) {
  const strip = all(".strip", figure)[index];
  figure.querySelector(".at").textContent = strip.dataset.text;
  const cursor = figure.querySelector(".cursor");
  ["x1", "x2"].forEach((name) => cursor.setAttribute(name, strip.dataset.x));
  cursor.removeAttribute("hidden");
  all(".legend button", figure).forEach((button) => {
    button.querySelector(".value").textContent = button.dataset.values.split("|")[index] || "-";
  });
}
function standOut(figure, button) {
  const svg = figure.querySelector("svg.chart");
  all(".curve", svg).forEach((curve, i) =>
    curve.classList.toggle("seen", button?.dataset.curve === String(i)));
  svg.classList.toggle("one", Boolean(button));
}
all("figure.with-chart").forEach((figure) => {
  all(".strip", figure).forEach((strip, index) =>
    ["pointerenter", "focus"].forEach((event) =>
      strip.addEventListener(event, () => readAt(figure, index))));
  all(".legend button", figure).forEach((button) => {
    button.addEventListener("click", () => {
      const isShown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", isShown);
      const curve = all("svg.chart .curve", figure)[button.dataset.curve];
      curve.style.display = isShown ? "" : "none";
    });
    ["pointerenter", "focus"].forEach((event) =>
      button.addEventListener(event, () => standOut(figure, button)));
    ["pointerleave", "blur"].forEach((event) =>
      button.addEventListener(event, () => standOut(figure, null)));
  });
});

/* Knowledge graphs: the neighbours of a class. */
function element(name, text, ...children) {
  const created = document.createElement(name);
  if (text) created.textContent = text;
  created.append(...children);
  return created;
}
function neighboursOf(edges, label) {
  return edges.filter((edge) => edge[0] === label || edge[1] === label)
    .map(([a, b, cosine]) => [a === label ? b : a, cosine])
    .sort((first, second) => second[1] - first[1]);
}
function choose(section, data, label) {
  all(".graph", section).forEach((graph) => {
    const svg = graph.querySelector("svg");
    const near = new Set(neighboursOf(data.sides[graph.dataset.side], label).map(([c]) => c));
    const isDrawn = all(`.box[data-label="${label}"]`, graph).length > 0;
    svg.classList.toggle("chosen", label >= 0 && isDrawn);
    all(".box", svg).forEach((box) => {
      const own = Number(box.dataset.label);
      box.classList.toggle("self", own === label);
      box.classList.toggle("near", own === label || near.has(own));
    });
    all("line", svg).forEach((line) => line.classList.toggle("near",
      [line.dataset.source, line.dataset.target].includes(String(label))));
  });
  const lists = label < 0 ? [] : Object.entries(data.sides).map(([side, edges]) => {
    const entries = neighboursOf(edges, label).map(([other, cosine]) =>
      element("li", "", element("bdi", data.names[other]), ` ${cosine.toFixed(2)}`));
    const list = entries.length ? element("ol", "", ...entries) : element("p", "No strong edge.");
    return element("div", "", element("b", data.titles[side]), list);
  });
  section.querySelector(".near-list").replaceChildren(...lists);
}
all(".graphs").forEach((section) => {
  const data = JSON.parse(section.querySelector("script").textContent);
  const select = section.querySelector("select");
  data.names.forEach((name, label) => select.add(new Option(name, label)));
  select.addEventListener("change", () => choose(section, data, Number(select.value)));
  all(".box", section).forEach((box) => box.addEventListener("click", () => {
    select.value = select.value === box.dataset.label ? "-1" : box.dataset.label;
    choose(section, data, Number(select.value));
  }));
});

/* Confusions: the pictures of a cell; arrow keys move between the cells. */
const confusions = document.getElementById("confusion-data");
if (confusions) {
  const data = JSON.parse(confusions.textContent);
  const panel = document.getElementById("confusion-pictures");
  const buttons = all(".matrix td button, .pairs td button");
  const pictureOf = ({ id, thumbnail }) => {
    const source = document.querySelector(`#picture-${id} img`)?.src ?? thumbnail;
    if (!source) {
      const none = element("span", "no picture kept");
      none.className = "none";
      return none;
    }
    const image = element("img");
    image.src = source;
    image.alt = "";
    return image;
  };
  const entry = (picture) => {
    const file = element("p", "", element("bdi", picture.file));
    file.className = "file";
    const words = element("div", "", element("p", picture.text), file);
    words.className = "words";
    return element("li", "", pictureOf(picture), words);
  };
  const show = (button) => {
    buttons.forEach((other) => other.setAttribute("aria-pressed", other.dataset.cell === button.dataset.cell));
    const cell = data[button.dataset.cell];
    const list = element("ul", "", ...cell.pictures.map(entry));
    list.className = "pictures";
    const more = cell.images - cell.pictures.length;
    panel.replaceChildren(element("p", cell.text), list,
      ...(more > 0 ? [element("p", `${more} more are not shown.`)] : []));
  };
  buttons.forEach((button) => button.addEventListener("click", () => {
    show(button);
    panel.scrollIntoView({ block: "nearest" });
  }));
  const matrix = document.querySelector(".matrix");
  const cells = all("td button", matrix);
  cells.forEach((button, i) => { button.tabIndex = i ? -1 : 0; });
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  matrix.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.target.tagName !== "BUTTON") return;
    event.preventDefault();
    const rows = [...matrix.tBodies[0].rows], cell = event.target.closest("td");
    let row = rows.indexOf(cell.parentElement), column = cell.cellIndex, next = null;
    while (!next) {
      row += move[0];
      column += move[1];
      const at = rows[row]?.cells[column];
      if (!at || at.tagName !== "TD") return;
      next = at.querySelector("button");
    }
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

/* On paper, all is unfolded. */
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = all("details:not([open])");
  folded.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));
refresh();
