// The table: only rows in sight are elements, so that a hundred thousand machines scroll like ten.
const MOST_PIXELS = 8e6; // browsers lay out no more than some 17 million
const PRINTED = 1000;
const table = { current: 0, height: 0, first: -1, drawn: null };

function columns() {
  const cohorts = !$("s-cohorts").hidden;
  return [
    ["machine", "Machine", (row) => D.machines[D.rows.machine[row]]],
    ["time", "Boot", (row) => [D.boots[D.rows.boot[row]], " ", el("small", {}, D.rows.time[row] === null ? "" : time(D.rows.time[row]))]],
    ["verdict", "Verdict", (row) => verdictMark(verdictOf(row))],
    ["stages", "Stages", lamps],
    ["attested", "Attested", (row) => name(D.profiles.attested[profileOf(row)])],
    ["key", "Key", (row) => name(D.profiles.key[profileOf(row)])],
    ...(cohorts ? [["cohort", "Cohort", (row) => name(D.profiles.cohort[profileOf(row)], "")]] : []),
    ["why", "Why", why],
  ];
}

function why(row) {
  if (verdictOf(row) === GONE) return el("small", {}, `was ${VERDICTS[D.verdictOf[profileOf(row)]]} in ${D.files[D.rows.file[row]].name}`);
  const items = findingsOf(listOf(row)).filter((i) => D.weight[i] < INFO || (D.weight[i] === INFO && verdictOf(row) !== TRUSTED));
  if (!items.length) return "";
  const f = finding(items[0]), more = items.length - 1 + D.lists.more[listOf(row)];
  return el("span", { title: `${f.code}: ${f.hint}` }, f.hint, more ? el("small", {}, ` +${number(more)}`) : "");
}

function drawHeads() {
  $("grid").classList.toggle("with-cohorts", !$("s-cohorts").hidden);
  fill($("heads"), columns().map(([key, label]) => {
    const sorts = key in SORTS, by = state.sort === key;
    const cell = el("div", { class: `c-${key}`, role: "columnheader", "aria-sort": by ? (state.down ? "descending" : "ascending") : sorts ? "none" : null });
    cell.append(sorts ? el("button", { type: "button", onclick: () => sortBy(key) }, label, el("i", { "aria-hidden": "true" }, by ? (state.down ? " ↓" : " ↑") : "")) : label);
    return cell;
  }));
}

/* Up, down, and then back to the worst first. */
function sortBy(key) {
  const again = state.sort === key;
  set({ sort: again && state.down ? "worst" : key, down: again && !state.down });
}

function drawTable() {
  table.current = 0;
  table.first = -1;
  $("scroll").scrollTop = 0;
  $("grid").setAttribute("aria-rowcount", view.rows.length + 1);
  $("grid").setAttribute("aria-colcount", columns().length);
  $("count").textContent = `${number(view.rows.length)} of ${unit(view.scope.length)}`;
  measure();
}

function measure() {
  table.height = parseFloat(getComputedStyle($("grid")).getPropertyValue("--row"));
  const whole = view.rows.length * table.height, room = Math.max(240, Math.min(0.78 * innerHeight, 900));
  $("scroll").style.height = `${Math.max(table.height, Math.min(whole, room))}px`;
  $("spacer").style.height = `${Math.min(whole, MOST_PIXELS)}px`;
  table.first = -1;
  drawRows();
}

/* How far down the whole table, were it laid out, the scroll position is; and the way back. */
function scrolled(top) {
  const box = $("scroll"), whole = view.rows.length * table.height, shown = $("spacer").offsetHeight;
  const scale = shown > box.clientHeight ? (whole - box.clientHeight) / (shown - box.clientHeight) : 1;
  return top === undefined ? box.scrollTop * scale : top / scale;
}

function drawRows() {
  const box = $("scroll"), offset = scrolled(), first = Math.max(0, Math.floor(offset / table.height) - 4);
  $("rows").style.transform = `translateY(${box.scrollTop - (offset - first * table.height)}px)`;
  if (first === table.first) return;
  table.first = first;
  const last = Math.min(view.rows.length, first + Math.ceil(box.clientHeight / table.height) + 9), cells = columns(), made = [];
  for (let i = first; i < last; i++) made.push(tableRow(i, cells));
  fill($("rows"), made.length ? made : el("p", { class: "empty" }, "No machine passes these filters."));
  $("grid").setAttribute("aria-activedescendant", `r${table.current}`);
}

function tableRow(i, cells) {
  const row = view.rows[i];
  return el("div", { class: `row ${VERDICTS[verdictOf(row)]}${i === table.current ? " current" : ""}`, id: `r${i}`, role: "row", "aria-rowindex": i + 2,
    "aria-selected": String(i === table.current), onclick: () => (moveTo(i), openPanel(row)) },
  cells.map(([key, , show]) => el("div", { class: `c-${key}`, role: "gridcell" }, show(row))));
}

function moveTo(i) {
  if (!view.rows.length) return;
  table.current = Math.max(0, Math.min(view.rows.length - 1, i));
  const box = $("scroll"), top = table.current * table.height, offset = scrolled();
  if (top < offset) box.scrollTop = scrolled(top);
  else if (top + table.height > offset + box.clientHeight) box.scrollTop = Math.ceil(scrolled(top + table.height - box.clientHeight));
  table.first = -1;
  drawRows();
}

function tableKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button")) return;
  const page = Math.max(1, Math.floor($("scroll").clientHeight / table.height) - 1);
  const steps = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key in steps) moveTo(table.current + steps[event.key]);
  else if (event.key === "Enter" || event.key === " ") view.rows.length && openPanel(view.rows[table.current]);
  else return;
  event.preventDefault();
}

/* Paper does not scroll: the worst rows are laid out in full. */
function drawForPrint() {
  const cells = columns();
  $("rows").style.transform = "";
  fill($("rows"), Array.from(view.rows.slice(0, PRINTED), (_, i) => tableRow(i, cells)),
    view.rows.length > PRINTED ? el("p", { class: "empty" }, `The first ${number(PRINTED)} of ${number(view.rows.length)}.`) : null);
}
