// The filters' form, the keyboard, and the start.
function choice(key, label, options, none) {
  const select = el("select", { id: `f-${key}`, onchange: () => set({ [key]: JSON.parse(select.value) }) },
    el("option", { value: JSON.stringify(NONE[key]) }, none), options.map(([value, words]) => el("option", { value: JSON.stringify(value) }, words)));
  return el("label", {}, el("span", {}, label), select);
}

function drawFilters() {
  const find = el("input", { id: "f-text", type: "search", placeholder: "machine, boot, reason, digest", autocomplete: "off", spellcheck: "false" });
  let waiting = 0;
  find.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => set({ text: find.value }), 120);
  });
  const scope = el("select", { id: "f-all", onchange: (event) => set({ all: event.target.value === "all", causes: null }) },
    el("option", { value: "newest" }, "newest only"), el("option", { value: "all" }, "all boots"));
  const codes = D.codes.map((code, i) => [i, code.name]).sort((a, b) => (a[1] < b[1] ? -1 : 1));
  const changes = [...new Set(D.change)].filter(Boolean).map((change) => [change, changeWords(change)]);
  if (D.earlier.size) changes.push(["earlier", changeWords("earlier")]);
  const cohorts = [...new Set(D.profiles.cohort)].filter((i) => i >= 0).map((i) => [i, D.names[i]]).sort((a, b) => (a[1] < b[1] ? -1 : 1));
  fill($("filters"),
    el("label", { class: "find" }, el("span", {}, "Find"), find),
    el("label", {}, el("span", {}, "Boots"), scope),
    choice("verdict", "Verdict", VERDICTS.map((words, v) => [v, words]).filter(([v]) => v !== GONE || D.gone.size), "any"),
    choice("code", "Finding", codes, "any"),
    choice("stage", "First differs in", D.stageNames.map((stage) => [stage, D.names[stage]]), "any stage"),
    changes.length ? choice("change", "Changed", [["any", "changed"], ...changes], "or not") : null,
    cohorts.length ? choice("cohort", "Cohort", cohorts.slice(0, 2000), "any") : null);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
}

function syncFilters() {
  for (const key of ["verdict", "code", "stage", "change", "cohort"]) {
    const select = $(`f-${key}`);
    if (select) select.value = JSON.stringify(state[key]);
  }
  $("f-all").value = state.all ? "all" : "newest";
  if ($("f-text").value !== state.text) $("f-text").value = state.text;
  const told = {
    text: state.text && `“${state.text}”`, verdict: state.verdict >= 0 && VERDICTS[state.verdict], code: state.code >= 0 && D.codes[state.code].name,
    causes: state.causes && `cause: ${finding(state.causes.head.finding).hint.slice(0, 60)}`, stage: state.stage >= 0 && D.names[state.stage],
    change: state.change && changeWords(state.change), cohort: state.cohort >= 0 && D.names[state.cohort],
  };
  const active = Object.entries(told).filter(([, words]) => words);
  fill($("chips"), active.map(([key, words]) => el("button", { type: "button", class: "chip", "aria-label": `Remove filter ${words}`, onclick: () => set({ [key]: NONE[key] }) }, words, el("span", { "aria-hidden": "true" }, " ✕"))),
    active.length > 1 ? el("button", { type: "button", class: "quiet", onclick: () => set(NONE) }, "remove all") : null);
}

/* Draws again, and leaves the focus where it was although its element is a new one. */
function keepingFocus(draw) {
  const focused = document.activeElement, list = focused?.closest("#verdicts, #changes, #stages, #cohorts, #causes, #heads");
  const place = list && [...list.querySelectorAll("button, summary")].indexOf(focused);
  draw();
  if (list && place >= 0 && !focused.isConnected) list.querySelectorAll("button, summary")[place]?.focus();
}

function globalKey(event) {
  const typing = event.target.closest("input, select, textarea");
  if ($("panel").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && typing?.id === "f-text") return void $("grid").focus();
  if (typing) return;
  if (event.key === "/") {
    $("f-text").focus();
    event.preventDefault();
  } else if (event.key === "j" || event.key === "k") {
    if ($("grid").contains(event.target)) return;
    $("grid").focus();
    tableKey(event);
  }
}

async function start() {
  try {
    await load();
  } catch (error) {
    $("headline").textContent = "This page could not be read.";
    $("about").textContent = `It needs a browser of 2023 or later, and all of the file. (${error})`;
    return;
  }
  $("main").hidden = false;
  drawFilters();
  listeners.push((scope) => keepingFocus(() => {
    if (scope) findClusters();
    drawOverview();
    drawCauses();
    drawHeads();
    syncFilters();
    drawTable();
  }));
  apply();
  findClusters();
  drawTime();
  listeners[0](false);
  $("notes").addEventListener("change", drawCauses);
  $("scroll").addEventListener("scroll", drawRows, { passive: true });
  $("grid").addEventListener("keydown", tableKey);
  $("panel").addEventListener("keydown", panelKey);
  $("p-before").addEventListener("click", () => step(-1));
  $("p-next").addEventListener("click", () => step(1));
  $("p-close").addEventListener("click", () => $("panel").close());
  $("panel").addEventListener("close", () => $("grid").focus({ preventScroll: true }));
  $("panel").addEventListener("click", (event) => event.target === $("panel") && $("panel").close());
  document.addEventListener("keydown", globalKey);
  addEventListener("resize", measure);
  addEventListener("beforeprint", drawForPrint);
  addEventListener("afterprint", measure);
  document.documentElement.dataset.ready = "yes";
}

start();
