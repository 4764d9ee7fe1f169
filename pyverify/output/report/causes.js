// Findings by cause. Causes that hit exactly the same boots are one entry: a kernel upgrade is twenty findings, and one thing.
const CAUSES = 8, NAMES = 24;
let causesShown = CAUSES, clusters = [], clusterOf = new Map();
const opened = new Set(); // causes whose details are open: drawing again must not close them

function findClusters() {
  const rows = new Int32Array(D.lists.more.length); // boots of the scope by list of findings
  for (const row of view.scope) if (verdictOf(row) !== GONE) rows[listOf(row)]++;
  const salt = D.lists.more.map(() => [Math.random(), Math.random()]);
  const causes = new Map();
  rows.forEach((n, list) => {
    if (!n) return;
    const seen = new Set();
    findingsOf(list).forEach((i, place) => {
      const cause = D.findings.cause[i], weight = D.weight[i];
      const known = causes.get(cause) ?? { cause, finding: i, weight, place, count: 0, lists: 0, a: 0, b: 0 };
      if (weight < known.weight) Object.assign(known, { finding: i, weight });
      if (!seen.has(cause)) {
        known.count += n;
        known.lists++;
        known.a += salt[list][0];
        known.b += salt[list][1];
        seen.add(cause);
      }
      causes.set(cause, known);
    });
  });
  const groups = new Map();
  for (const cause of causes.values()) {
    const key = `${cause.count} ${cause.lists} ${cause.a} ${cause.b}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(cause);
  }
  clusters = [...groups.values()].map((group) => {
    group.sort((a, b) => a.weight - b.weight || a.place - b.place);
    return { head: group[0], group, members: group.map((cause) => cause.cause), count: group[0].count, weight: group[0].weight };
  });
  clusterOf = new Map(clusters.flatMap((cluster) => cluster.members.map((cause) => [cause, cluster])));
  clusters.sort((a, b) => a.weight - b.weight || b.count - a.count);
}

function drawCauses() {
  const shown = clusters.filter((cluster) => $("notes").checked || cluster.weight < INFO);
  fill($("causes"), shown.length ? shown.slice(0, causesShown).map(causeEntry) : el("li", { class: "empty" }, "Nothing speaks against any machine."));
  const button = $("more-causes"), left = shown.length - causesShown;
  button.hidden = left <= 0;
  button.textContent = `${number(Math.min(left, 50))} more of ${plural(shown.length, "cause")}`;
  button.onclick = () => ((causesShown += 50), drawCauses());
}

const WEIGHT_WORDS = ["", "unmeasured", "warning", "note"];

function causeEntry(cluster) {
  const f = finding(cluster.head.finding), pressed = state.causes?.head.cause === cluster.head.cause;
  const bar = el("i", { class: `bar ${["untrusted", "unmeasured", "", ""][cluster.weight]}`, "aria-hidden": "true" });
  bar.style.width = `${Math.max(0.5, (100 * cluster.count) / view.scope.length)}%`;
  const along = cluster.group.length - 1;
  return el("li", {},
    el("button", { type: "button", "aria-pressed": String(pressed), onclick: () => set({ causes: pressed ? null : cluster }) },
      el("span", { class: "n" }, number(cluster.count), el("small", {}, state.all ? " boots" : cluster.count === 1 ? " machine" : " machines")), " ",
      el("span", { class: "what" }, el("span", { class: "hint" }, f.hint), " ",
        el("span", { class: "code" }, f.code, WEIGHT_WORDS[cluster.weight] ? ` · ${WEIGHT_WORDS[cluster.weight]}` : "",
          f.expected >= 0 || f.actual >= 0 ? ` · ${f.bank} ${f.expected < 0 ? "" : short(hex(f.expected))} → ${f.actual < 0 ? "none" : short(hex(f.actual))}` : "")),
      bar),
    lazyDetails(along ? `${plural(along, "more finding")} there, and where` : "where",
      cluster));
}

function lazyDetails(summary, cluster) {
  const details = el("details", {}, el("summary", {}, summary)), cause = cluster.head.cause;
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(...causeDetails(cluster));
    if (details.isConnected) opened[details.open ? "add" : "delete"](cause);
  });
  details.open = opened.has(cause);
  return details;
}

function causeDetails(cluster) {
  const others = cluster.group.slice(1, 100).map((cause) => finding(cause.finding));
  const members = new Set(cluster.members), rows = [];
  for (const row of view.scope) {
    if (rows.length > NAMES) break;
    if (verdictOf(row) !== GONE && findingsOf(listOf(row)).some((i) => members.has(D.findings.cause[i]))) rows.push(row);
  }
  const label = (row) => D.machines[D.rows.machine[row]] + (state.all ? ` ${D.boots[D.rows.boot[row]]}` : "");
  return [
    others.length ? el("ul", { class: "along" }, others.map((f) => el("li", {}, f.hint, " ", el("span", { class: "code" }, f.code)))) : "",
    el("p", { class: "names" }, rows.slice(0, NAMES).map((row) => [el("button", { type: "button", class: "link", onclick: () => openPanel(row) }, label(row)), " "]).flat(),
      cluster.count > NAMES ? el("button", { type: "button", class: "quiet", onclick: () => (set({ causes: cluster }), $("grid").focus()) }, `all ${number(cluster.count)} in the table`) : ""),
  ].filter(Boolean);
}
