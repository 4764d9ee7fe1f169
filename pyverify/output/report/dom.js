// Making elements. Strings become text nodes: nothing here, or anywhere in this page, parses markup.
const $ = (id) => document.getElementById(id);

function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== ""));
  return node;
}

const fill = (node, ...children) => node.replaceChildren(...children.flat().filter((child) => child !== null));

function verdictMark(verdict) {
  return el("span", { class: `verdict ${VERDICTS[verdict]}` }, el("b", { "aria-hidden": "true" }, MARKS[verdict]), ` ${VERDICTS[verdict]}`);
}

function lamps(row) {
  const stages = stagesOf(row);
  const words = stages.map((stage) => `${stage.name}: ${(LAMPS[stage.state] ?? LAMPS.grey)[1]}`).join(", ");
  return el("span", { class: "lamps", role: "img", "aria-label": words, title: words.replaceAll(", ", "\n") },
    stages.map((stage) => el("b", { class: stage.state, "aria-hidden": "true" }, (LAMPS[stage.state] ?? LAMPS.grey)[0])));
}

/* A line with a number and a bar that filters when it is pressed. */
function facet(label, count, share, pressed, act, kind = "") {
  const bar = el("i", { class: `bar ${kind}`, "aria-hidden": "true" });
  bar.style.width = `${Math.max(count ? 0.5 : 0, 100 * share)}%`;
  return el("li", { class: count ? "" : "zero" }, el("button", { type: "button", "aria-pressed": String(pressed), onclick: act },
    el("span", { class: "label" }, label), " ", el("span", { class: "n" }, number(count)), bar));
}
