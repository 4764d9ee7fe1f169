// One boot in full: every reason, event by event, what it was judged by, and what the machine did before.
const SIGNS = { "baseline.event-added": "+", "baseline.event-removed": "−", "baseline.event-changed": "≠", "baseline.event-moved": "↕" };

function openPanel(row) {
  const onButton = $("panel").contains(document.activeElement) && document.activeElement.closest(".bar-top");
  drawPanel(row);
  if (!$("panel").open) $("panel").showModal();
  $("panel").scrollTop = 0;
  if (!onButton) $("p-title").focus();
}

function drawPanel(row) {
  const findings = findingsOf(listOf(row)).map(finding), bad = findings.filter((f) => f.weight < WARNING), rest = findings.filter((f) => f.weight >= WARNING);
  const more = D.lists.more[listOf(row)], machine = D.rows.machine[row];
  const steps = [...new Set(bad.map((f) => f.next).filter(Boolean))];
  fill($("p-body"),
    el("h2", { id: "p-title", tabindex: "-1" }, D.machines[machine]),
    el("p", { class: "note" }, D.boots[D.rows.boot[row]], D.rows.time[row] === null ? "" : `, collected ${time(D.rows.time[row])} UTC`),
    el("p", { class: "big" }, verdictMark(verdictOf(row)), changeLine(row)),
    el("h3", {}, "Stages"),
    el("ol", { class: "stage-list" }, stagesOf(row).map(stageLine)),
    bad.length ? [el("h3", {}, "Why"), ...byPcr(bad)] : [],
    more ? el("p", { class: "note" }, `${plural(more, "further finding")} in the verdict file.`) : "",
    steps.length ? [el("h3", {}, "What to do"), el("ul", { class: "steps" }, steps.map((words) => el("li", {}, words)))] : [],
    rest.length ? el("details", { open: !bad.length }, el("summary", {}, plural(rest.length, "warning or note", "warnings and notes")), el("ul", { class: "findings" }, rest.map((f) => findingLine(f)))) : "",
    el("h3", {}, "Judged by"), facts(row),
    el("h3", {}, "This machine's boots"), history(machine, row));
}

function changeLine(row) {
  const machine = D.rows.machine[row], change = D.change[machine];
  return row === D.newest[machine] && change ? el("span", { class: "note" }, change.includes(">") ? ` was ${VERDICTS[change[0]]} before` : ` ${changeWords(change)}`) : "";
}

function stageLine(stage) {
  const [mark, words] = LAMPS[stage.state] ?? LAMPS.grey;
  return el("li", {}, el("b", { class: stage.state, "aria-hidden": "true" }, mark), " ", stage.name, " ",
    el("small", {}, `PCR ${ranges(stage.pcrs)}, ${words}`), stage.expected >= 0 || stage.actual >= 0 ? digests(stage) : "");
}

function byPcr(findings) {
  const groups = new Map();
  for (const f of findings) groups.set(f.pcr, [...(groups.get(f.pcr) ?? []), f]);
  return [...groups].map(([pcr, group]) => {
    const title = pcr < 0 ? "The evidence as a whole" : `PCR ${pcr}${pcr in D.pcr_names ? ` (${D.pcr_names[pcr]})` : ""}`;
    return el("section", { class: "pcr" }, el("h4", {}, title), el("ul", { class: "findings" }, group.map((f) => findingLine(f, `${title}: `))));
  });
}

function findingLine(f, said = "") {
  const cluster = clusterOf.get(f.cause), others = cluster ? cluster.count : 0;
  return el("li", {}, el("b", { class: "sign", "aria-hidden": "true" }, SIGNS[f.code] ?? "·"),
    el("div", {}, el("p", { class: "hint" }, said && f.hint.startsWith(said) ? f.hint.slice(said.length) : f.hint),
      el("p", { class: "code", title: f.when }, f.code, f.event >= 0 ? ` · event ${number(f.event)}` : "", f.weight === WARNING ? " · warning" : "",
        others > 1 && f.weight < INFO ? [" · ", el("button", { type: "button", class: "link", onclick: () => ($("panel").close(), set({ ...NONE, causes: cluster }), $("grid").focus()) }, `on ${unit(others)}`)] : ""),
      f.expected >= 0 || f.actual >= 0 ? digests(f) : ""));
}

function digests(of) {
  const bank = of.bank ? ` ${of.bank}` : "";
  return el("dl", { class: "digests" }, el("dt", {}, "expected"), el("dd", {}, hex(of.expected), el("small", {}, of.expected < 0 ? "" : bank)),
    el("dt", {}, "actual"), el("dd", {}, hex(of.actual), el("small", {}, of.actual < 0 ? "" : bank)));
}

function facts(row) {
  const P = D.profiles, p = profileOf(row), detail = D.details[D.rows.detail[row]];
  const baseline = P.baseline[p] < 0 ? null : D.baselines[P.baseline[p]];
  const proof = (list) => D.proofs[list].map(([bank, mask]) => `${bank} ${ranges(bits(mask))}`).join("; ") || "none";
  const place = [["row group", D.rows.row_group[row]], ["row", D.rows.row[row]]].filter(([, n]) => n >= 0).map(([words, n]) => `, ${words} ${number(n)}`).join("");
  const lines = [
    ["attested", name(P.attested[p])], ["key", name(P.key[p])],
    ["PCRs proven", proof(P.proven[p])], ["PCRs unproven", proof(P.unproven[p])],
    ["baseline", !baseline || baseline[2] === null ? "none" : `${baseline[0] === "own" ? "its own" : `${baseline[0]} ${baseline[1]}`}, version ${baseline[2]}`],
    ["cohort", name(P.cohort[p])],
    ["policy", hex(P.policy[p])], ["references", hex(P.references[p])],
    ["evidence", detail ? hex(detail[0]) : "id in the verdict file"], ["AK Name", detail ? hex(detail[1]) : "in the verdict file"],
    ["source", D.rows.source[row] < 0 ? "not recorded" : name(D.rows.source[row]) + place], ["verdict file", D.files[D.rows.file[row]].name],
  ];
  return el("dl", { class: "facts" }, lines.flatMap(([term, words]) => [el("dt", {}, term), el("dd", { class: /^[0-9a-f]{40,}$/.test(words) ? "hex" : "" }, words)]));
}

function history(machine, shown) {
  const rows = [];
  for (let row = D.newest[machine]; row >= 0 && D.rows.machine[row] === machine && rows.length < 200; row--) rows.push(row);
  return el("ol", { class: "history" }, rows.map((row) => el("li", { "aria-current": row === shown ? "true" : null },
    el("button", { type: "button", onclick: () => openPanel(row) }, el("span", {}, D.boots[D.rows.boot[row]]), " ",
      el("span", { class: `verdict ${VERDICTS[D.verdictOf[profileOf(row)]]}` }, `${MARKS[D.verdictOf[profileOf(row)]]} ${VERDICTS[D.verdictOf[profileOf(row)]]}`), " ", lamps(row), " ",
      el("small", {}, D.rows.superseded[row] ? `as of ${time(D.files[D.rows.file[row]].as_of)}, judged again since` : time(D.rows.time[row]))))));
}

function step(by) {
  moveTo(table.current + by);
  openPanel(view.rows[table.current]);
}

function panelKey(event) {
  const by = { j: 1, k: -1 }[event.key];
  if (by && !event.ctrlKey && !event.metaKey && !event.altKey && view.rows.length) step(by);
}
