// What is shown of answers, as elements of the page. Texts of users only ever become text nodes.

const SHOWN_DIGITS = 3;
const LABEL_COLORS = 6;

/** An element with attributes or properties, and children: elements, texts, or lists of them. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat());
  return made;
}

/** Bars for `rows` of {name, score}; `largest` is the score of a full bar. */
export function bars(rows, largest = 1) {
  return element("ol", { className: "bars" }, rows.map(({ name, score, long = false }) => {
    const fill = element("span", { className: "fill" });
    fill.style.setProperty("--part", Math.max(0, Math.min(1, score / largest)) || 0);
    return element("li", { className: long ? "long" : "" }, element("span", { className: "name" }, name),
      element("span", { className: "track", ariaHidden: "true" }, fill), element("span", { className: "score" }, score.toFixed(SHOWN_DIGITS)));
  }));
}

/** Similarities of `names` with each other, a table whose cells are the darker the more alike two are. */
export function heatMap(names, values, what) {
  const numbers = names.map((_, column) => element("th", { scope: "col", title: names[column] }, String(column + 1)));
  const body = names.map((name, row) => element("tr", {},
    element("th", { scope: "row", title: name }, element("span", { className: "number" }, String(row + 1)), " ", name),
    values[row].map((value) => {
      const cell = element("td", { className: value > 0.78 ? "strong" : value > 0.6 ? "middle" : "" }, value.toFixed(2));
      cell.style.setProperty("--part", Math.max(0, Math.min(1, value)));
      return cell;
    })));
  const table = element("table", { className: "heat" }, element("thead", {}, element("tr", {}, element("td"), numbers)),
    element("tbody", {}, body));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: what }, table);
}

/** `text` with `parts` of {start, end, label, score} marked; those count characters as Python does, in code points. */
export function marked(text, parts) {
  const characters = Array.from(text);
  const kinds = [...new Set(parts.map(({ label }) => label))];
  const pieces = [];
  let place = 0;
  for (const { start, end, label, score } of [...parts].sort((a, b) => a.start - b.start)) {
    if (start < place) continue;
    pieces.push(characters.slice(place, start).join(""));
    pieces.push(element("mark", { className: `kind-${kinds.indexOf(label) % LABEL_COLORS}` }, characters.slice(start, end).join(""),
      element("span", { className: "tag" }, ` ${label} ${score.toFixed(2)}`)));
    place = end;
  }
  pieces.push(characters.slice(place).join(""));
  return element("p", { className: "marked" }, pieces);
}

/** Cosines of each of `vectors` with each. */
export function cosines(vectors) {
  const lengths = vectors.map((vector) => Math.hypot(...vector) || 1);
  return vectors.map((a, i) => vectors.map((b, j) => a.reduce((sum, value, at) => sum + value * b[at], 0) / lengths[i] / lengths[j]));
}

/** A sentence for people. */
export function note(text) {
  return element("p", { className: "faint" }, text);
}
