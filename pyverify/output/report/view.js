// What is looked at: the filters, and which rows pass them, in which order.
const NONE = { verdict: -1, text: "", causes: null, code: -1, stage: -1, cohort: -1, change: "" };
const state = { all: false, sort: "worst", down: false, ...NONE };
const view = { scope: new Int32Array(0), rows: new Int32Array(0) };
const listeners = [];

/* Changes the state; the scope of a change is what has to be drawn again. */
function set(changes) {
  const scope = "all" in changes && changes.all !== state.all;
  Object.assign(state, changes);
  apply();
  for (const listener of listeners) listener(scope);
}

const toggle = (key, value, none = NONE[key]) => set({ [key]: state[key] === value ? none : value });

const verdictOf = (row) =>
  !state.all && D.gone.size && D.gone.has(D.rows.machine[row]) ? GONE : D.verdictOf[profileOf(row)];

function apply() {
  view.scope = state.all ? Int32Array.from(D.current) : D.newest;
  const passes = profilePasses(), words = state.text.toLowerCase().split(/\s+/).filter(Boolean).map(hits);
  const { machine, boot, profile, detail } = D.rows, kept = [];
  for (const row of view.scope) {
    if (!passes[profile[row]] || (state.verdict >= 0 && verdictOf(row) !== state.verdict)) continue;
    if (state.change && !changePasses(machine[row])) continue;
    if (words.every((hit) => hit.machines[machine[row]] || hit.boots[boot[row]] || hit.profiles[profile[row]] ||
        (detail[row] >= 0 && D.details[detail[row]].some((id) => id >= 0 && hit.hexes[id])))) kept.push(row);
  }
  view.rows = sorted(kept);
}

const changePasses = (machine) =>
  state.change === "earlier" ? D.earlier.has(machine) : state.change === "any" ? D.change[machine] !== "" : D.change[machine] === state.change;

function profilePasses() {
  const P = D.profiles, lists = new Uint8Array(D.lists.more.length).fill(1);
  if (state.causes || state.code >= 0) {
    const causes = state.causes && new Set(state.causes.members);
    for (let list = 0; list < lists.length; list++) {
      const items = findingsOf(list);
      lists[list] = (!causes || items.some((i) => causes.has(D.findings.cause[i]))) &&
        (state.code < 0 || items.some((i) => D.findings.code[i] === state.code));
    }
  }
  return P.findings.map((list, p) => lists[list] && (state.cohort < 0 || P.cohort[p] === state.cohort) &&
    (state.stage < 0 || (D.red[p] >= 0 && D.stages[D.stage_lists[P.stages[p]][D.red[p]]][0] === state.stage)));
}

/* Where a word stands: looked for once in each different text. */
function hits(word) {
  const among = (texts) => Uint8Array.from(texts, (text) => text.toLowerCase().includes(word));
  const codes = among(D.codes.map((code) => code.name)), hints = among(D.hints), hexes = among(D.hex), names = among(D.names);
  const F = D.findings, hit = (pool, i) => i >= 0 && pool[i];
  const findings = F.code.map((code, i) => codes[code] || hints[F.hint[i]] || hit(hexes, F.expected[i]) || hit(hexes, F.actual[i]));
  const lists = D.lists.more.map((_, list) => {
    for (let i = D.lists.start[list]; i < D.lists.start[list + 1]; i++) if (findings[D.lists.items[i]]) return true;
    return false;
  });
  const P = D.profiles;
  const profiles = P.findings.map((list, p) => lists[list] || hit(names, P.cohort[p]) || hit(names, P.attested[p]) || hit(names, P.key[p]));
  return { machines: among(D.machines), boots: among(D.boots), profiles, hexes };
}

const SORTS = {
  worst: (row) => verdictOf(row) * 16 + (D.red[profileOf(row)] & 15),
  machine: () => 0,
  time: (row) => D.rows.time[row] ?? -1,
  verdict: (row) => verdictOf(row),
  stages: (row) => D.red[profileOf(row)] & 15,
  attested: (row) => ATTESTED.indexOf(name(D.profiles.attested[profileOf(row)])),
  key: (row) => KEYS.indexOf(name(D.profiles.key[profileOf(row)])),
  cohort: (row) => D.profiles.cohort[profileOf(row)],
};

const ROWS = 2 ** 21, KEYS_OF_SORT = 2 ** 32; // together what a number holds exactly

/* Rows by a key; equal ones stay in the order of machine and time. A key and a place are one number: that sorts fastest. */
function sorted(rows) {
  const key = SORTS[state.sort];
  const packed = Float64Array.from(rows, (row, i) => Math.min(Math.max(key(row) + 1, 0), KEYS_OF_SORT - 1) * ROWS + i).sort();
  const order = Int32Array.from(packed, (both) => rows[both % ROWS]);
  return state.down ? order.reverse() : order;
}
