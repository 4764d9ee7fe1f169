/* Everything that may be called from outside the core. This text is also the cffi cdef as it stands, so it holds
 * declarations only: no preprocessor conditionals, no includes, no attributes.
 *
 * Contracts that hold for every function:
 *   - The caller owns every buffer, scratch included. Nothing here allocates, prints, aborts, keeps a pointer
 *     after returning or starts a thread.
 *   - A batch of logs is a byte blob and n+1 offsets: log i is blob[offsets[i] .. offsets[i+1]). Offsets must be
 *     non-negative and must not decrease; bytes between offsets[0] and offsets[n] must be readable. The blob is
 *     never NULL, even where it is empty.
 *   - Work is the slice [first, last) of a batch. Outputs are written at the index of their own row only, so
 *     disjoint slices may run on several threads at once over the same arrays.
 *   - The return value (enum pv_status) says whether the CALLER made a mistake. Bad DATA is never an error: it
 *     is a row whose `fault` is set. After any status but PV_OK the outputs hold nothing of use.
 *   - Input and output must not overlap. No buffer needs alignment beyond that of its type; the blob needs none.
 */

enum pv_status {
  PV_OK = 0,
  PV_BAD_ARGUMENT = 1, /* slice outside the batch, offsets that decrease, a bank or variant that does not exist */
  PV_NO_ROOM = 2,      /* an output or the scratch is too small */
};

/* Why a log cannot be judged. pv_fault_code() gives the public name. */
enum pv_fault {
  PV_FAULT_NONE = 0,
  PV_FAULT_NOT_A_LOG = 1,
  PV_FAULT_TRUNCATED = 2,
  PV_FAULT_HEADER = 3,
  PV_FAULT_ALGORITHMS = 4,
  PV_FAULT_DIGESTS = 5,
  PV_FAULT_EVENT_SIZE = 6,
  PV_FAULT_PCR_INDEX = 7,
  PV_FAULT_TRAILING = 8,
  PV_FAULT_TOO_LARGE = 9,
};

/* Things worth telling about a log that could be read; a bit mask in pv_log.notes. */
enum pv_note {
  PV_NOTE_PADDING = 1,             /* 0x00 or 0xFF bytes after the last event */
  PV_NOTE_UNKNOWN_ALGORITHM = 2,   /* the header lists a bank whose hash is not known here; it is skipped */
  PV_NOTE_DUPLICATE_HEADER = 4,    /* a second Spec ID event; the first one counts */
  PV_NOTE_NO_ACTION_DIGEST = 8,    /* an EV_NO_ACTION event with a digest that is not zero */
  PV_NOTE_START_DUPLICATE = 16,    /* more than one StartupLocality, or more than one H-CRTM event */
  PV_NOTE_START_LATE = 32,         /* StartupLocality or H-CRTM after PCR 0 was first extended */
  PV_NOTE_START_PCR = 64,          /* StartupLocality or H-CRTM in another PCR than 0 */
  PV_NOTE_START_VALUE = 128,       /* StartupLocality of another size than 17 or another value than 0, 3, 4 */
  PV_NOTE_START_CONTRADICTION = 256, /* locality 4 without an H-CRTM event, or 0 or 3 with one */
  PV_NOTE_MISSING_DIGEST = 512,    /* an extended event lacks a digest for a listed bank: see pv_log.incomplete */
};

/* The banks, in the order of their bits and columns everywhere: sha1 sha256 sha384 sha512 sm3_256. */
#define PV_BANKS 5
#define PV_PCRS 24
/* SPEC 2.3: limits to enforce before anything is allocated. */
#define PV_MAX_LOG_SIZE 67108864
#define PV_MAX_EVENTS 200000
/* The largest event data that peers accept (1 MiB). A size that does not fit AND is larger than this is a lie
 * (PV_FAULT_EVENT_SIZE); one that merely does not fit is a log that was cut (PV_FAULT_TRUNCATED). */
#define PV_PLAUSIBLE_EVENT_SIZE 1048576
/* pv_event.digest_at of a bank for which the event has no digest. */
#define PV_NO_DIGEST 0xFFFFFFFF
#define PV_FORMAT_TCG1 1
#define PV_FORMAT_TCG2 2

/* One row a log. */
typedef struct {
  uint32_t fault;       /* enum pv_fault */
  uint32_t format;      /* PV_FORMAT_*; 0 where the log is not one */
  uint64_t fault_at;    /* offset in the log of the field that cannot be right, or of the entry that was cut */
  uint64_t first_event; /* index of its first event in the caller's event array; 0 from pv_replay, which has none */
  uint32_t n_events;    /* whole events read; those before the fault where there is one */
  uint32_t banks;       /* banks the header lists, a bit each; none where the header has the fault */
  uint32_t incomplete;  /* banks for which an extended event lacks the digest: their replay proves nothing */
  uint32_t touched;     /* PCRs extended at least once, a bit each */
  uint32_t notes;       /* enum pv_note bits */
  uint32_t locality;    /* the last byte of PCR 0 at start: 0, 3 or 4 */
  uint64_t padding;     /* bytes of padding after the last event */
} pv_log;

/* One row an event. Offsets are from the start of its log. */
typedef struct {
  uint32_t pcr;
  uint32_t type;
  uint32_t at;           /* where the entry begins */
  uint32_t data_at;
  uint32_t data_size;
  uint32_t digest_at[5]; /* by bank; PV_NO_DIGEST where it has none */
} pv_event;

/* What a call did on each variant of a bank's hash: lane steps in all, and those of them that had work. A step is one
 * digest of a chain or one block of a message. Calls add to it; the caller sets it to zeros before. */
#define PV_MAX_VARIANTS 8
typedef struct {
  uint64_t steps[8];
  uint64_t filled[8];
} pv_usage;

/* The dotted public name of a fault ("log.truncated"), or NULL for none and for numbers that are no fault. */
const char *pv_fault_code(uint32_t fault);

/* Bytes of a digest of this bank; 0 for numbers that are no bank. */
uint32_t pv_digest_size(uint32_t bank);

/* How many variants the hash of this bank has on this machine, and the name of the i-th, slowest first
 * ("portable", ...). NULL where there is no such variant. */
uint32_t pv_variants(uint32_t bank);
const char *pv_variant_name(uint32_t bank, uint32_t i);

/* Capacity, in events, that is enough for pv_scan over this slice whatever the logs hold. */
uint64_t pv_scan_capacity(const int64_t *offsets, uint64_t first, uint64_t last);

/* Reads the logs of a slice into rows and event columns.
 *   logs      one row a log of the batch; rows [first, last) are written
 *   events    capacity rows; the events of the slice are written one after the other from index 0, and
 *             logs[i].first_event says where those of log i begin
 *   n_events  receives the number written */
int pv_scan(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, pv_log *logs,
            pv_event *events, uint64_t capacity, uint64_t *n_events);

/* Scratch, in bytes, that pv_replay needs for this slice. */
uint64_t pv_replay_scratch(const int64_t *offsets, uint64_t first, uint64_t last);

/* Scans and replays a slice, tile by tile so that the work stays in cache: one row a log and, for each bank
 * asked for (a bit each in `banks`), 24 PCR values of pv_digest_size bytes a log. Output pointers of other banks
 * may be NULL. In a bank that a log does not list, and in a log with a fault, that row is all zero bytes: `logs`
 * says so, and the caller must look. In an incomplete bank it is what the digests that are there give.
 *   variants  for each of the PV_BANKS banks an index for pv_variant_name, or -1 (see pv_extend)
 *   key       as in pv_extend; equal logs of the slice are read and replayed once too
 *   scratch   at least pv_replay_scratch bytes, aligned to 64 */
int pv_replay(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint32_t banks,
              const int32_t *variants, uint64_t key, pv_log *logs, uint8_t *sha1, uint8_t *sha256, uint8_t *sha384,
              uint8_t *sha512, uint8_t *sm3_256, uint8_t *scratch, uint64_t scratch_size);

/* Extends chains: values[c] := H(values[c] || d) for each digest d of chain c, in order. Digests lie one after
 * the other; chain c is digests [chain_at[c], chain_at[c+1]). `values` holds the start values and receives the
 * results, pv_digest_size(bank) bytes each. A variant of -1 uses the kernel that is best for what is left to do, at
 * any moment; any other forces that one. `usage` may be NULL.
 *   key       equal chains with equal start values are extended once, found by a hash under this key: a number that
 *             nobody outside can guess, or 0 to do each chain on its own */
int pv_extend(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *digests, const uint64_t *chain_at,
              uint64_t first, uint64_t last, uint8_t *values, pv_usage *usage);

/* Hashes the messages of a slice of a batch: digests[i] := H(message i), pv_digest_size(bank) bytes each; equal
 * messages once (key as in pv_extend). */
int pv_hash(uint32_t bank, int32_t variant, uint64_t key, const uint8_t *blob, const int64_t *offsets,
            uint64_t first, uint64_t last, uint8_t *digests, pv_usage *usage);

/* Finds equal items of a batch: same_as[i] is the number of an equal item at or before i, mostly the first one. Items
 * that lie far apart (4,096 and more) are not compared, nor are any where a sample hardly repeats.
 *   key       as in pv_extend */
int pv_group(const uint8_t *blob, const int64_t *offsets, uint64_t first, uint64_t last, uint64_t key,
             uint64_t *same_as);

/* Compares PCR rows of one bank with sets of allowed values.
 *   values     24 values of digest_size bytes a row
 *   reference  a row: which reference it is held against; rows with a number >= n_references get every PCR
 *              of the mask reported
 *   set_at     24 * n_references + 1 numbers: the set of (reference r, PCR p) is
 *              members[set_at[24r+p] .. set_at[24r+p+1]); an empty set allows nothing
 *   members    indices into `allowed`, each < n_allowed (larger ones match nothing)
 *   mask       PCRs to compare, a bit each
 *   differs    a row: bits of the PCRs whose value is in no allowed set */
int pv_compare(const uint8_t *values, uint32_t digest_size, const uint32_t *reference, uint64_t first,
               uint64_t last, const uint64_t *set_at, uint64_t n_references, const uint32_t *members,
               uint64_t n_members, const uint8_t *allowed, uint64_t n_allowed, uint32_t mask, uint32_t *differs);
