// The upper part: what came of the fleet, what changed, where boots stop, cohorts, time.
const isBad = (verdict) => verdict < TRUSTED;

function drawOverview() {
  const counts = new Array(VERDICTS.length).fill(0);
  for (const row of view.scope) counts[verdictOf(row)]++;
  drawHeadline(counts);
  drawVerdicts(counts);
  drawChanges();
  drawStages();
  drawCohorts();
}

function unit(n) {
  return state.all ? plural(n, "boot") : plural(n, "machine");
}

function drawHeadline(counts) {
  const total = view.scope.length, bad = total - counts[TRUSTED];
  const told = [
    [counts[UNTRUSTED], counts[UNTRUSTED] === 1 ? "is untrusted" : "are untrusted"],
    [counts[ERROR] + counts[UNMEASURED], "could not be judged"],
    [counts[GONE], counts[GONE] === 1 ? "is gone" : "are gone"],
  ].filter(([n]) => n).map(([n, words], i) => `${number(n)} ${i ? "" : `of ${unit(total)} `}${words}`);
  $("headline").textContent = !total ? "No machine was judged."
    : bad ? `${told.join(", ")}.`
    : total === 1 ? `The only ${state.all ? "boot" : "machine"} is trusted.` : `All ${unit(total)} are trusted.`;
  const last = D.files.at(-1);
  const ids = (key) => [...new Set(D.files.flatMap((file) => file[key]))].map((i) => short(D.hex[i]));
  fill($("about"), ...[
    `${plural(D.machines.length, "machine")}, ${plural(D.current.length, "boot")}, ${plural(D.files.length, "file")}`,
    last && last.as_of !== null ? `as of ${time(last.as_of)} UTC` : null,
    ids("policies").length ? `policy ${ids("policies").slice(0, 3).join(", ")}` : null,
    ids("references").length ? `references ${ids("references").slice(-1)}` : null,
  ].filter(Boolean).map((words) => el("span", {}, words)));
}

function drawVerdicts(counts) {
  const total = view.scope.length || 1;
  const shown = VERDICTS.map((_, v) => v).filter((v) => v !== GONE || counts[v]);
  fill($("verdicts"), shown.map((v) => {
    const share = (100 * counts[v]) / total, words = counts[v] && share < 0.01 ? "<0.01 %" : `${share.toFixed(share < 10 ? 2 : 1)} %`;
    return el("button", { type: "button", class: `tile ${VERDICTS[v]}`, "aria-pressed": String(state.verdict === v), onclick: () => toggle("verdict", v) },
      el("span", { class: "figure" }, number(counts[v])), " ",
      verdictMark(v), " ", el("span", { class: "share" }, v === GONE ? "not in the newest file" : words));
  }));
  fill($("shares"), shown.map((v) => {
    const part = el("i", { class: VERDICTS[v] });
    part.style.flexGrow = counts[v];
    part.hidden = !counts[v];
    return part;
  }));
}

const CHANGE_WORDS = { gone: "not in the newest file", new: "new", other: "for other reasons than before", earlier: "trusted now, but an earlier boot was not" };

function changeWords(change) {
  if (change in CHANGE_WORDS) return CHANGE_WORDS[change];
  if (change === "any") return "changed";
  const [from, to] = change.split(">");
  return `${VERDICTS[from]} → ${VERDICTS[to]}`;
}

function drawChanges() {
  const counts = new Map();
  D.change.forEach((change) => change && counts.set(change, (counts.get(change) ?? 0) + 1));
  if (D.earlier.size) counts.set("earlier", D.earlier.size);
  const rank = (change) => (change.includes(">") ? Number(change.split(">")[1]) : { gone: 2.1, other: 0.5, earlier: 3.5, new: 5 }[change]);
  const several = D.files.length > 1;
  $("compared").textContent = several ? "Each machine against the file before." : "Each machine against its boot before.";
  const order = [...counts.keys()].sort((a, b) => rank(a) - rank(b) || counts.get(b) - counts.get(a));
  const most = Math.max(1, ...counts.values());
  const kind = (change) => (change.includes(">") ? VERDICTS[change.split(">")[1]] : change === "gone" ? "gone" : "");
  fill($("changes"), order.length
    ? order.map((change) => facet(changeWords(change), counts.get(change), counts.get(change) / most, state.change === change, () => toggle("change", change), kind(change)))
    : el("li", { class: "empty" }, "Nothing: every machine has the verdict it had."));
}

function drawStages() {
  const counts = new Map(D.stageNames.map((stage) => [stage, 0]));
  let total = 0;
  for (const row of view.scope) {
    const p = profileOf(row), red = D.red[p];
    if (red < 0 || verdictOf(row) === GONE) continue;
    const stage = D.stages[D.stage_lists[D.profiles.stages[p]][red]][0];
    counts.set(stage, counts.get(stage) + 1);
    total++;
  }
  fill($("stages"), [...counts].map(([stage, n]) =>
    facet(D.names[stage], n, n / (total || 1), state.stage === stage, () => toggle("stage", stage), "untrusted")));
}

const COHORTS = 8;
let allCohorts = false;

function drawCohorts() {
  const totals = new Map(), bad = new Map();
  for (const row of view.scope) {
    const cohort = D.profiles.cohort[profileOf(row)];
    if (cohort < 0) continue;
    totals.set(cohort, (totals.get(cohort) ?? 0) + 1);
    if (isBad(verdictOf(row))) bad.set(cohort, (bad.get(cohort) ?? 0) + 1);
  }
  $("s-cohorts").hidden = !totals.size;
  const share = (cohort) => (bad.get(cohort) ?? 0) / totals.get(cohort);
  const order = [...totals.keys()].sort((a, b) => share(b) - share(a) || totals.get(b) - totals.get(a));
  const shown = allCohorts ? order.slice(0, 500) : order.slice(0, COHORTS);
  fill($("cohorts"), shown.map((cohort) => facet([`${D.names[cohort]} `, el("small", {}, `of ${number(totals.get(cohort))}`)], bad.get(cohort) ?? 0,
    share(cohort), state.cohort === cohort, () => toggle("cohort", cohort), "untrusted")));
  const button = $("more-cohorts");
  button.hidden = order.length <= COHORTS;
  button.textContent = allCohorts ? "the worst only" : `all ${number(order.length)} cohorts`;
  button.onclick = () => ((allCohorts = !allCohorts), drawCohorts());
}

const BINS = 40;

/* Bars of what was not trusted; the rest would hide it. */
function drawTime() {
  const parts = [];
  if (D.files.length > 1) parts.push(el("h3", {}, "Runs"), bars(runBins()));
  const bins = bootBins();
  if (bins.length) parts.push(el("h3", {}, "Boots, by the time they were collected"), bars(bins));
  fill($("time"), parts.length ? parts : el("p", { class: "empty" }, "The evidence has no times."));
}

/* What each file says of its machines last: rows are in the order of machine, file, time. */
function runBins() {
  const bins = D.files.map((file) => ({
    label: file.as_of === null ? file.name : time(file.as_of), title: file.name, counts: new Array(VERDICTS.length).fill(0),
  }));
  const { machine, file } = D.rows;
  for (let row = 0; row < machine.length; row++) {
    if (machine[row] !== machine[row + 1] || file[row] !== file[row + 1]) bins[file[row]].counts[D.verdictOf[profileOf(row)]]++;
  }
  return bins;
}

function bootBins() {
  const rows = D.current.filter((row) => D.rows.time[row] !== null);
  if (!rows.length) return [];
  const times = Float64Array.from(rows, (row) => D.rows.time[row]).sort();
  const at = (part) => times[Math.floor(part * (times.length - 1))];
  const margin = times.length > 200 ? 0.005 : 0; // one wrong clock must not squeeze the others
  const from = at(margin), to = at(1 - margin);
  const width = [3600, 21600, 86400, 604800, 2592000].find((w) => Math.floor(to / w) - Math.floor(from / w) < BINS) ?? (to - from) / (BINS - 1);
  const first = Math.floor(from / width), last = Math.floor(to / width);
  const bins = Array.from({ length: last - first + 1 }, (_, i) => ({
    label: time((first + i) * width, width < 86400 ? 16 : 10), title: "", counts: new Array(VERDICTS.length).fill(0),
  }));
  for (const row of rows) {
    const bin = Math.min(Math.max(Math.floor(D.rows.time[row] / width) - first, 0), bins.length - 1);
    bins[bin].counts[D.verdictOf[profileOf(row)]]++;
  }
  return bins;
}

function bars(bins) {
  const bad = (bin) => bin.counts.slice(0, TRUSTED).reduce((a, b) => a + b, 0);
  const most = Math.max(1, ...bins.map(bad));
  const list = el("ol", { class: "bars" }, bins.map((bin) => {
    const told = bin.counts.map((n, v) => (n ? `${number(n)} ${VERDICTS[v]}` : "")).filter(Boolean).join(", ") || "none";
    const words = `${bin.label}: ${told}${bin.title ? ` (${bin.title})` : ""}`;
    return el("li", { title: words }, el("span", { class: "hidden" }, words), [UNMEASURED, ERROR, UNTRUSTED].map((v) => {
      const part = el("i", { class: VERDICTS[v], "aria-hidden": "true" });
      part.style.height = `${(100 * bin.counts[v]) / most}%`;
      return part;
    }));
  }));
  const chart = el("div", { class: "chart" }, el("p", { class: "scale", "aria-hidden": "true" }, `${number(most)} not trusted`), list,
    el("p", { class: "axis", "aria-hidden": "true" }, el("span", {}, bins[0].label), bins.length > 1 ? el("span", {}, bins.at(-1).label) : ""));
  chart.style.maxWidth = `${Math.max(18, 3 * bins.length)}rem`;
  return chart;
}
