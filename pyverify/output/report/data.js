// The data of the page, and what follows from it. All text in it is other people's: it goes into text nodes, nowhere else.
let D;

const UNTRUSTED = 0, ERROR = 1, GONE = 2, UNMEASURED = 3, TRUSTED = 4;
const VERDICTS = ["untrusted", "error", "gone", "unmeasured", "trusted"];
const MARKS = ["✖", "!", "–", "○", "✓"];
const LAMPS = { green: ["●", "as the baseline"], red: ["✖", "differs"], grey: ["○", "not judged"] };
const HIGH = 0, ABSENT = 1, WARNING = 2, INFO = 3; // weights of a finding; ABSENT: why a boot is unmeasured
const ATTESTED = ["log", "pcrs", "quote-unfresh", "quote"], KEYS = ["none", "first-use", "enrolled", "activated", "certified"];

async function load() {
  const node = document.getElementById("data"), text = node.textContent;
  node.remove();
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  D = JSON.parse(await new Response(stream).text());
  for (const name of ["machine", "boot", "file", "profile", "source", "row", "row_group", "detail"]) {
    D.rows[name] = Int32Array.from(D.rows[name]);
  }
  D.lists.start = Int32Array.from(D.lists.start);
  D.lists.items = Int32Array.from(D.lists.items);
  D.gone = new Set(D.gone);
  const { verdict, stages } = D.profiles;
  const places = D.verdicts.map((name) => VERDICTS.indexOf(name));
  D.verdictOf = Uint8Array.from(verdict, (v) => places[v]);
  D.red = Int32Array.from(stages, (list) => D.stage_lists[list].findIndex((s) => D.names[D.stages[s][1]] === "red"));
  D.weight = Uint8Array.from(D.findings.severity, (severity, i) =>
    severity === 0 ? HIGH : D.codes[D.findings.code[i]].absent ? ABSENT : severity === 1 ? WARNING : INFO);
  D.newest = Int32Array.from(D.newest);
  D.current = D.rows.superseded.reduce((kept, old, i) => (old || kept.push(i), kept), []);
  D.stageNames = [...new Set(D.stage_lists.flat().map((s) => D.stages[s][0]))];
  D.change = D.machines.map((_, machine) => changeOf(machine));
  D.earlier = earlierBad();
}

/* What became of a machine since it was last looked at: "", "new", "gone", "other", or "FROM>TO" by verdict. */
function changeOf(machine) {
  const now = D.newest[machine], before = D.before[machine];
  if (D.gone.has(machine)) return "gone";
  if (before < 0) return D.files.length > 1 && D.rows.file[now] > 0 ? "new" : "";
  const p = D.rows.profile[now], q = D.rows.profile[before];
  if (D.verdictOf[p] !== D.verdictOf[q]) return `${D.verdictOf[q]}>${D.verdictOf[p]}`;
  return D.reasons[D.profiles.findings[p]] === D.reasons[D.profiles.findings[q]] ? "" : "other";
}

/* Machines that are trusted now while an earlier boot in the same file was not: the newest must not hide it. */
function earlierBad() {
  const found = new Set(), { machine, file, profile } = D.rows;
  for (let row = 0; row < machine.length; row++) {
    const m = machine[row], last = D.newest[m];
    if (file[row] === file[last] && D.verdictOf[profile[row]] < TRUSTED && D.verdictOf[profile[last]] === TRUSTED) found.add(m);
  }
  return found;
}

const profileOf = (row) => D.rows.profile[row];
const listOf = (row) => D.profiles.findings[profileOf(row)];
const name = (i, none = "none") => (i < 0 ? none : D.names[i]);
const hex = (i) => (i < 0 ? "none" : D.hex[i]);
const number = (n) => n.toLocaleString("en");
const plural = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;
const short = (digest) => (digest.length > 16 ? digest.slice(0, 12) + "…" : digest);
const time = (seconds, length = 16) =>
  seconds === null || Math.abs(seconds) > 8.6e12 ? "no time" : new Date(seconds * 1000).toISOString().slice(0, length).replace("T", " ");

function findingsOf(list) {
  return Array.from(D.lists.items.subarray(D.lists.start[list], D.lists.start[list + 1]));
}

function stagesOf(row) {
  return D.stage_lists[D.profiles.stages[profileOf(row)]].map((s) => {
    const [stage, state, pcrs, expected, actual] = D.stages[s];
    return { name: D.names[stage], state: D.names[state], pcrs: bits(pcrs), expected, actual };
  });
}

function bits(mask) {
  return Array.from({ length: 32 }, (_, i) => i).filter((i) => (mask >>> i) & 1);
}

/* PCRs as people write them: 0-4, 7. */
function ranges(pcrs) {
  const parts = [];
  for (let i = 0, j; i < pcrs.length; i = j) {
    for (j = i + 1; j < pcrs.length && pcrs[j] === pcrs[j - 1] + 1; ) j++;
    parts.push(j - i > 2 ? `${pcrs[i]}-${pcrs[j - 1]}` : pcrs.slice(i, j).join(", "));
  }
  return parts.join(", ");
}

function finding(i) {
  const F = D.findings, code = D.codes[F.code[i]];
  return {
    number: i, code: code.name, when: code.when, next: code.next, weight: D.weight[i], pcr: F.pcr[i], event: F.event[i],
    bank: F.bank[i] < 0 ? "" : D.banks[F.bank[i]], expected: F.expected[i], actual: F.actual[i], hint: D.hints[F.hint[i]],
    cause: F.cause[i],
  };
}
