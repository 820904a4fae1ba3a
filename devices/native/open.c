/* Opens a student.bin: every width, offset and size is checked here once, with arithmetic that cannot overflow, and
 * matrices are brought into the order of the kernels. The item table, priors, transitions and looked-up rows stay where
 * they lie. */
#include "internal.h"

enum { F32 = 1, F16, I8, I32, U16, I4, U8 };

/* Sections of the file; see the table in the documentation. */
enum {
    TABLE = 1, BOOKS, SCALES,
    TASK_KINDS, EXPECTATIONS, PRIOR, PRIOR_SCALE, PRIOR_MIDDLE,
    RELATION, RELATION_PRIOR, RELATION_SCALE, RELATION_MIDDLE,
    TRANSITIONS, TRANSITION_CODES, TRANSITION_SCALES,
    CATEGORY_FIRST, CATEGORY, CATEGORY_SCALES, INNER_NUMBERS, INNER_BIAS, CONTEXT, CONTEXT_BIAS,
    POOLING, /* and the seven of EVENT_* behind it */
    NOTHING = POOLING + 8,
    REPEAT,
    MIX = REPEAT + 8, HEAD, HEAD_BIAS, LAST, LAST_BIAS,
    SECTIONS
};
enum { EVENT_ITEM, EVENT_NUMBERS, EVENT_CONTEXT, EVENT_BIAS, EVENT_KIND, EVENT_KIND_SCALES, EVENT_OUT, EVENT_OUT_BIAS };

enum { HEADER_BYTES = 128, WORDS = 20, FORMAT = 1 };
static const char magic[8] = {'e', 'd', 'g', 'e', 'r', 'e', 'c', '\n'};

typedef struct {
    uint32_t id, type, rows, columns;
    uint64_t offset, bytes;
} er_section;

/* A file that is read, and the arena that is filled: without memory only its size is counted. */
typedef struct {
    const uint8_t *bytes;
    size_t size;
    const er_section *section[SECTIONS]; /* by id */
    uint8_t *arena;
    uint64_t used;
    int damaged;
} er_reader;

static const char *const messages[] = {
    "done",
    "these bytes are no student.bin",
    "this student.bin has another format version; update edgerec or build the bundle again",
    "this student.bin is damaged; copy the bundle again or build it again",
    "an address is no multiple of EDGEREC_ALIGNMENT",
    "the arena or the workspace is too small, or the workspace is of another engine",
    "this build or processor does not compute as the format says; compile without -ffast-math and without contraction",
    "an index of the request is out of range, or a number is not finite or negative",
    "this student has no related task",
    "this processor has no such kernel",
};

const char *edgerec_message(int code) {
    int known = code >= 0 && code < (int)(sizeof messages / sizeof *messages);
    return known ? messages[code] : "no code of edgerec";
}

static size_t padded(size_t width) { return (width + LANES - 1) / LANES * LANES; }

static uint64_t size_of(uint32_t type, uint64_t count) {
    switch (type) {
    case F32:
    case I32: return 4 * count;
    case F16:
    case U16: return 2 * count;
    case I4: return count / 2;
    default: return count;
    }
}

/* Read the section table: ids ascend, and sections lie behind each other, aligned and inside the file. Rows and columns
 * are below 2^32 each; a product that leaves 63 bits is refused before it is used. */
static int read_sections(er_reader *f) {
    const uint32_t *word = (const uint32_t *)(const void *)f->bytes;
    if (f->size < HEADER_BYTES) return EDGEREC_NOT_A_STUDENT;
    for (size_t i = 0; i < sizeof magic; i++)
        if (f->bytes[i] != (uint8_t)magic[i]) return EDGEREC_NOT_A_STUDENT;
    if (word[2] != FORMAT) return EDGEREC_VERSION;
    uint32_t count = word[3];
    const uint64_t *whole = (const uint64_t *)(const void *)(f->bytes + 16);
    if (*whole != f->size || count >= SECTIONS || f->size < HEADER_BYTES + count * sizeof(er_section))
        return EDGEREC_DAMAGED;
    for (size_t i = 4 * WORDS + 16; i < HEADER_BYTES; i++)
        if (f->bytes[i]) return EDGEREC_DAMAGED;
    for (size_t i = 0; i < SECTIONS; i++) f->section[i] = NULL;
    uint64_t end = HEADER_BYTES + count * sizeof(er_section);
    const er_section *section = (const er_section *)(const void *)(f->bytes + HEADER_BYTES);
    for (uint32_t i = 0, last = 0; i < count; last = section[i].id, i++) {
        const er_section *s = section + i;
        if (s->id <= last || s->id >= SECTIONS || s->type < F32 || s->type > U8) return EDGEREC_DAMAGED;
        if (s->offset % EDGEREC_ALIGNMENT || s->offset < end || s->offset > f->size) return EDGEREC_DAMAGED;
        uint64_t entries = (uint64_t)s->rows * s->columns; /* < 2^64 */
        if (entries > f->size * 2 || s->bytes != size_of(s->type, entries) || s->bytes > f->size - s->offset)
            return EDGEREC_DAMAGED;
        end = s->offset + s->bytes;
        f->section[s->id] = s;
    }
    return end == f->size ? EDGEREC_OK : EDGEREC_DAMAGED;
}

/* The content of a section of exactly this shape and type; NULL and `damaged` if the file has another one. */
static APART const void *content(er_reader *f, uint32_t id, uint32_t type, uint64_t rows, uint64_t columns) {
    const er_section *s = f->section[id];
    if (!s || s->type != type || s->rows != rows || s->columns != columns) {
        f->damaged = 1;
        return NULL;
    }
    return f->bytes + s->offset;
}

static uint32_t type_of(const er_reader *f, uint32_t id) { return f->section[id] ? f->section[id]->type : 0; }

/* The address sanitizer knows where the arena ends, but not where its parts do: a gap behind each is forbidden to it. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
void __asan_poison_memory_region(const volatile void *from, size_t bytes);
#define GAP 64
#define FORBID(from, bytes) __asan_poison_memory_region(from, (size_t)(bytes))
#else
#define GAP 0
#define FORBID(from, bytes)
#endif

/* `bytes` of the arena, aligned; NULL while only the size is counted. */
static APART void *take(er_reader *f, uint64_t bytes) {
    uint64_t at = f->used;
    f->used += (bytes + EDGEREC_ALIGNMENT - 1) / EDGEREC_ALIGNMENT * EDGEREC_ALIGNMENT + GAP;
    if (!f->arena) return NULL;
    FORBID(f->arena + at + bytes, f->used - at - bytes);
    return f->arena + at;
}

static int finite(float x) { return x - x == 0.0f; }

/* Finite float32 that stay where they lie. */
static APART const float *floats(er_reader *f, uint32_t id, uint64_t count) {
    const float *values = content(f, id, F32, 1, count);
    for (uint64_t i = 0; values && i < count; i++)
        if (!finite(values[i])) f->damaged = 1;
    return values;
}

static float half(uint16_t bits) {
    int32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    union {
        int32_t bits;
        float value;
    } u;
    if (exponent == 0) u.value = (float)fraction * 0x1p-24f;
    else u.bits = (exponent == 31 ? 0x7f800000 : (exponent + 112) << 23) | fraction << 13;
    return bits >> 15 ? -u.value : u.value;
}

/* Entry `i` of a matrix section, float32 or float16. */
static APART float entry(er_reader *f, const void *values, uint32_t type, uint64_t i) {
    float x = type == F16 ? half(((const uint16_t *)values)[i]) : ((const float *)values)[i];
    if (!finite(x)) f->damaged = 1;
    return x;
}

/* A float vector of one section, padded with zeros, in groups that are padded each. */
static const float *vector(er_reader *f, uint32_t id, size_t groups, size_t each) {
    uint32_t type = type_of(f, id) == F16 ? F16 : F32;
    const void *values = content(f, id, type, 1, (uint64_t)groups * each);
    float *out = take(f, groups * padded(each) * sizeof(float));
    for (size_t g = 0; out && values && g < groups; g++)
        for (size_t i = 0; i < padded(each); i++)
            out[g * padded(each) + i] = i < each ? entry(f, values, type, g * each + i) : 0.0f;
    return out;
}

/* Where a matrix lies in its section [groups * each outputs][all inputs]: the inputs `first` ... `first + count`. */
typedef struct {
    uint32_t id;
    size_t groups, each, all, first, count;
} er_part;

/* By inputs, [count][groups][padded each]. */
static er_matrix forward(er_reader *f, er_part p) {
    uint32_t type = type_of(f, p.id) == F16 ? F16 : F32;
    const void *values = content(f, p.id, type, (uint64_t)p.groups * p.each, p.all);
    size_t width = padded(p.each), stride = p.groups * width;
    float *w = take(f, (uint64_t)p.count * stride * sizeof(float));
    for (size_t j = 0; w && values && j < p.count; j++)
        for (size_t g = 0; g < p.groups; g++)
            for (size_t i = 0; i < width; i++)
                w[j * stride + g * width + i] =
                    i < p.each ? entry(f, values, type, (g * p.each + i) * p.all + p.first + j) : 0.0f;
    return (er_matrix){w, p.count, stride};
}

/* By outputs, [groups * each][padded count]: multiplies from the other side. */
static er_matrix backward(er_reader *f, er_part p) {
    uint32_t type = type_of(f, p.id) == F16 ? F16 : F32;
    const void *values = content(f, p.id, type, (uint64_t)p.groups * p.each, p.all);
    size_t outputs = p.groups * p.each, stride = padded(p.count);
    float *w = take(f, (uint64_t)outputs * stride * sizeof(float));
    for (size_t o = 0; w && values && o < outputs; o++)
        for (size_t j = 0; j < stride; j++)
            w[o * stride + j] = j < p.count ? entry(f, values, type, o * p.all + p.first + j) : 0.0f;
    return (er_matrix){w, outputs, stride};
}

static er_matrix whole(er_reader *f, uint32_t id, size_t outputs, size_t inputs) {
    return forward(f, (er_part){id, 1, outputs, inputs, 0, inputs});
}

/* A table of which rows are looked up: float32, or INT8 with the scales in section `scales`. */
static APART er_rows rows(er_reader *f, uint32_t id, uint32_t scales, size_t count, size_t columns) {
    er_rows table = {NULL, NULL, NULL, count, columns};
    if (type_of(f, id) == I8) {
        table.codes = content(f, id, I8, count, columns);
        table.scales = floats(f, scales, count);
    } else {
        table.floats = content(f, id, F32, count, columns);
        for (size_t i = 0; table.floats && i < count * columns; i++)
            if (!finite(table.floats[i])) f->damaged = 1;
        if (f->section[scales]) f->damaged = 1;
    }
    return table;
}

static er_events events(er_reader *f, const edgerec_engine *e, uint32_t id, size_t width, size_t outputs) {
    er_events layer;
    layer.width = width;
    layer.item = whole(f, id + EVENT_ITEM, width, e->dim);
    layer.numbers = whole(f, id + EVENT_NUMBERS, width, e->features);
    layer.context = whole(f, id + EVENT_CONTEXT, width, e->context);
    layer.bias = vector(f, id + EVENT_BIAS, 1, width);
    layer.kind = rows(f, id + EVENT_KIND, id + EVENT_KIND_SCALES, e->kinds, width);
    layer.out = whole(f, id + EVENT_OUT, outputs, width);
    layer.out_bias = vector(f, id + EVENT_OUT_BIAS, 1, outputs);
    return layer;
}

/* Code `c` of item `i` in the order of the kernels. */
static size_t place(const edgerec_engine *e, size_t i, size_t c) {
    return ((i / 16 * e->groups + c / GROUP) * 16 + i % 16) * GROUP + c % GROUP;
}

/* The item table: INT8 as it lies; 4 bits and codebooks are unpacked into the arena. */
static const int8_t *table(er_reader *f, const edgerec_engine *e) {
    size_t width = GROUP * e->groups;
    if (type_of(f, TABLE) == I8 || !f->section[TABLE]) return content(f, TABLE, I8, e->padded, width);
    int8_t *out = take(f, (uint64_t)e->padded * width);
    if (type_of(f, TABLE) == I4) {
        const uint8_t *packed = content(f, TABLE, I4, e->padded, width);
        for (size_t i = 0; out && packed && i < e->padded * width / 2; i++) {
            out[2 * i] = (int8_t)((packed[i] & 15) - 8);
            out[2 * i + 1] = (int8_t)((packed[i] >> 4) - 8);
        }
        return out;
    }
    size_t parts = (e->dim + 1) / 2;
    const uint8_t *index = content(f, TABLE, U8, parts, e->padded);
    const int8_t *books = content(f, BOOKS, I8, 2 * parts, 256);
    for (size_t i = 0; out && index && books && i < e->padded; i++)
        for (size_t c = 0; c < width; c++)
            out[place(e, i, c)] = c < e->dim ? books[c * 256 + index[c / 2 * e->padded + i]] : 0;
    return out;
}

static const float *item_scales(er_reader *f, const edgerec_engine *e) {
    if (!f->section[SCALES] || f->section[SCALES]->columns != 1) return floats(f, SCALES, e->padded);
    const float *one = floats(f, SCALES, 1);
    float *all = take(f, e->padded * sizeof(float));
    for (size_t i = 0; all && one && i < e->padded; i++) all[i] = *one;
    return all;
}

static const er_task *tasks(er_reader *f, const edgerec_engine *e) {
    const int32_t *kinds = content(f, TASK_KINDS, I32, e->tasks, 3);
    const float *expected = floats(f, EXPECTATIONS, 3 * e->tasks);
    er_task *task = take(f, e->tasks * sizeof *task);
    for (size_t t = 0; kinds && expected && t < e->tasks; t++, kinds += 3, expected += 3) {
        int32_t kind = kinds[0], after = kinds[1], excludes = kinds[2];
        if (kind < RETRIEVAL || kind > REGRESSION || after < -1 || after >= (int32_t)t || excludes < 0 || excludes > 1 ||
            (after >= 0 && (kind != BINARY || kinds[3 * (after - (int32_t)t)] != BINARY)))
            f->damaged = 1;
        if (task) task[t] = (er_task){kind, after, excludes ? -1e4f : 0.0f, expected[0], expected[1], expected[2]};
    }
    return task;
}

static APART er_head head(er_reader *f, const edgerec_engine *e, uint32_t prior, size_t count) {
    er_head h = {count, NULL, content(f, prior, I8, count, e->padded), NULL, NULL};
    h.prior_scale = floats(f, prior + 1, count);
    h.prior_middle = floats(f, prior + 2, count);
    return h;
}

static void categories(er_reader *f, edgerec_engine *e, size_t count) {
    const int32_t *first = content(f, CATEGORY_FIRST, I32, 1, e->columns + 1);
    if (!first) return;
    for (size_t c = 0; c <= e->columns; c++)
        if (c ? first[c] <= first[c - 1] : first[c] != 0) f->damaged = 1;
    if (first[e->columns] != (int32_t)count) f->damaged = 1;
    e->category_first = (const uint32_t *)first;
    if (e->columns) e->category = rows(f, CATEGORY, CATEGORY_SCALES, count, e->inner);
}

static void transitions(er_reader *f, edgerec_engine *e) {
    size_t n = (size_t)e->items, k = e->transitions;
    if (!k) return;
    if (type_of(f, TRANSITIONS) == U16) e->transition16 = content(f, TRANSITIONS, U16, n, k);
    else e->transition32 = content(f, TRANSITIONS, I32, n, k);
    e->transition_codes = content(f, TRANSITION_CODES, I8, n, k);
    e->transition_scales = floats(f, TRANSITION_SCALES, n);
}

/* Sections that only some students have. */
static int has_surplus(const er_reader *f, const edgerec_engine *e) {
    const uint32_t optional[][3] = {{RELATION, RELATION_MIDDLE, (uint32_t)e->has_related},
                                    {TRANSITIONS, TRANSITION_SCALES, e->transitions > 0},
                                    {CATEGORY, CATEGORY_SCALES, e->columns > 0},
                                    {BOOKS, BOOKS, type_of(f, TABLE) == U8}};
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        for (uint32_t id = optional[i][0]; id <= optional[i][1]; id++)
            if (f->section[id] && !optional[i][2]) return 1;
    return 0;
}

/* Fill the engine, or with no arena count what it takes. */
static int build(er_reader *f, edgerec_engine *e) {
    static const er_task related = {RETRIEVAL, -1, 0.0f, 0.0f, 0.0f, 0.0f};
    const uint32_t *word = (const uint32_t *)(const void *)f->bytes + 6;
    static const uint32_t most[WORDS - 6] = {0, MOST_DIM, MOST_TASKS, MOST_HEADS, MOST_TRANSITIONS, MOST_COLUMNS,
                                             MOST_COLUMNS, MOST_KINDS, MOST_WIDTH, MOST_WIDTH, MOST_WIDTH, MOST_WIDTH,
                                             MOST_WIDTH, 1};
    /* Transitions, categorical columns and the related task may be missing. */
    static const uint8_t least[WORDS - 6] = {1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0};
    for (size_t i = 0; i < WORDS - 6; i++)
        if (word[i] < least[i] || (i ? word[i] > most[i] : word[i] >= MOST_ITEMS)) return EDGEREC_DAMAGED;
    uint32_t category_rows = word[WORDS - 6];
    if (category_rows > MOST_ROWS) return EDGEREC_DAMAGED;
    e->items = word[0];
    e->blocks = ((size_t)word[0] + BLOCK - 1) / BLOCK;
    e->padded = e->blocks * BLOCK;
    e->ranged = padded(e->blocks);
    e->dim = word[1], e->tasks = word[2], e->heads = word[3], e->transitions = word[4], e->columns = word[5];
    e->numbers = word[6], e->kinds = word[7], e->inner = word[8], e->context = word[9], e->head = word[12];
    e->has_related = (int)word[13];
    e->dim_padded = padded(e->dim);
    e->groups = (e->dim + GROUP - 1) / GROUP;
    e->features = e->transitions ? 7 : 6;
    if (has_surplus(f, e)) return EDGEREC_DAMAGED;
    size_t pooled = e->heads * e->dim, all = e->context + pooled, outputs = e->transitions ? 2 : 1;

    e->table = table(f, e);
    e->scales = item_scales(f, e);
    e->scored = head(f, e, PRIOR, e->tasks);
    e->scored.task = tasks(f, e);
    if (e->has_related) {
        e->relation = whole(f, RELATION, e->dim, e->dim);
        e->related = head(f, e, RELATION_PRIOR, 1);
        e->related.task = &related;
    }
    transitions(f, e);
    categories(f, e, category_rows);
    e->inner_numbers = whole(f, INNER_NUMBERS, e->inner, e->numbers);
    e->inner_bias = vector(f, INNER_BIAS, 1, e->inner);
    e->context_inner = whole(f, CONTEXT, e->context, e->inner);
    e->context_bias = vector(f, CONTEXT_BIAS, 1, e->context);
    e->pooling = events(f, e, POOLING, word[10], e->heads);
    e->nothing = vector(f, NOTHING, 1, e->heads);
    e->repeat = events(f, e, REPEAT, word[11], outputs * e->tasks);
    e->mix = forward(f, (er_part){MIX, e->tasks, e->dim, pooled, 0, pooled});
    e->mix_back = backward(f, (er_part){MIX, e->tasks, e->dim, pooled, 0, pooled});
    e->head_context = forward(f, (er_part){HEAD, 1, e->head, all, 0, e->context});
    e->head_pooled = forward(f, (er_part){HEAD, 1, e->head, all, e->context, pooled});
    e->head_pooled_back = backward(f, (er_part){HEAD, 1, e->head, all, e->context, pooled});
    e->head_bias = vector(f, HEAD_BIAS, 1, e->head);
    e->last = forward(f, (er_part){LAST, e->tasks, e->dim, e->head, 0, e->head});
    e->last_back = backward(f, (er_part){LAST, e->tasks, e->dim, e->head, 0, e->head});
    e->last_bias = vector(f, LAST_BIAS, e->tasks, e->dim);
    return f->damaged ? EDGEREC_DAMAGED : EDGEREC_OK;
}

static APART int read_file(const void *bytes, size_t size, er_reader *f, edgerec_engine *e) {
    if ((uintptr_t)bytes % EDGEREC_ALIGNMENT) return EDGEREC_ALIGN;
    f->bytes = bytes;
    f->size = size;
    f->damaged = 0;
    f->used = (sizeof(edgerec_engine) + EDGEREC_ALIGNMENT - 1) / EDGEREC_ALIGNMENT * EDGEREC_ALIGNMENT;
    int code = read_sections(f);
    return code ? code : build(f, e);
}

static const edgerec_engine empty;

int edgerec_measure(const void *bytes, size_t size, size_t *arena) {
    er_reader f = {.arena = NULL};
    edgerec_engine e = empty;
    int code = read_file(bytes, size, &f, &e);
    if (code) return code;
    if (f.used > SIZE_MAX) return EDGEREC_MEMORY;
    *arena = (size_t)f.used;
    return EDGEREC_OK;
}

int edgerec_open(const void *bytes, size_t size, void *arena, size_t arena_bytes, edgerec_engine **engine) {
    size_t need;
    int code = edgerec_measure(bytes, size, &need);
    if (code) return code;
    if ((uintptr_t)arena % EDGEREC_ALIGNMENT) return EDGEREC_ALIGN;
    if (arena_bytes < need) return EDGEREC_MEMORY;
    er_reader f = {.arena = arena};
    edgerec_engine *e = arena;
    *e = empty;
    er_control control = er_enter();
    code = read_file(bytes, size, &f, e);
    if (!code && !(e->kernels = er_best_kernels())) code = EDGEREC_ARITHMETIC;
    er_leave(control);
    if (code) return code;
    e->checked = e;
    *engine = e;
    return EDGEREC_OK;
}

void edgerec_describe(const edgerec_engine *e, edgerec_shape *shape) {
    *shape = (edgerec_shape){e->items,           (int32_t)e->dim,   (int32_t)e->tasks, (int32_t)e->columns,
                             (int32_t)e->numbers, (int32_t)e->kinds, e->has_related};
}

const char *edgerec_kernel(const edgerec_engine *e) { return e->kernels->name; }

int edgerec_use_kernel(edgerec_engine *e, const char *name) {
    er_control control = er_enter();
    const er_kernels *kernels = er_named_kernels(name);
    er_leave(control);
    if (!kernels) return EDGEREC_KERNEL;
    e->kernels = kernels;
    return EDGEREC_OK;
}

/* The parts of a workspace, or with no memory their size. */
static uint64_t lay_out(const edgerec_engine *e, size_t most, edgerec_workspace *w, uint8_t *memory) {
    er_reader f = {.arena = memory};
    size_t l = most ? most : 1, lp = padded(l), tasks = e->tasks, dp = e->dim_padded, pooled = padded(e->heads * e->dim);
    size_t width = padded(e->pooling.width > e->repeat.width ? e->pooling.width : e->repeat.width);
    size_t additions = l * (1 + e->transitions);
    take(&f, sizeof *w);
    w->most_events = most;
#define PART(name, count) w->name = take(&f, (uint64_t)(count) * sizeof *w->name)
    PART(vectors, l * dp);
    PART(vectors_by_dim, e->dim * lp);
    PART(numbers, l * 8);
    PART(hidden, l * width);
    PART(attention, e->heads * lp);
    PART(attention_by_event, l * padded(e->heads));
    PART(added, l * padded((e->transitions ? 2 : 1) * tasks));
    PART(context, padded(e->context));
    PART(inner, padded(e->inner));
    PART(pooled, e->heads * dp);
    PART(units, padded(e->head));
    PART(user, tasks * dp);
    PART(base, width);
    PART(later, l);
    PART(task_scale, tasks);
    PART(z, tasks * BLOCK);
    PART(p, BLOCK);
    w->kept = NULL;
    if (tasks * e->padded * sizeof(float) <= KEPT) PART(kept, tasks * e->padded);
    PART(low, tasks * e->ranged);
    PART(high, tasks * e->ranged);
    PART(total_max, tasks);
    PART(inverse, tasks);
    PART(total, tasks);
    PART(user_codes.code, tasks * e->groups * GROUP);
    PART(user_codes.digit, tasks * 2 * e->groups * GROUP);
    PART(user_codes.sum, tasks);
    PART(dot, tasks * BLOCK);
    PART(first, e->blocks);
    PART(addition, additions);
    PART(excluded, e->blocks);
    PART(bound, e->ranged);
    PART(linear, e->dim * pooled);
    PART(active, e->dim * padded(e->head));
    PART(rows, BATCH * dp);
    PART(moved, BATCH * pooled);
    PART(unit, BATCH * padded(e->head));
    PART(reason, BATCH * lp);
#undef PART
    return f.used;
}

size_t edgerec_workspace_bytes(const edgerec_engine *e, size_t most_events) {
    edgerec_workspace unused;
    if (most_events > MOST_EVENTS) return 0;
    uint64_t need = lay_out(e, most_events, &unused, NULL);
    return need > SIZE_MAX ? 0 : (size_t)need;
}

int edgerec_workspace_open(const edgerec_engine *e, size_t most_events, void *memory, size_t bytes,
                           edgerec_workspace **workspace) {
    size_t need = edgerec_workspace_bytes(e, most_events);
    if ((uintptr_t)memory % EDGEREC_ALIGNMENT) return EDGEREC_ALIGN;
    if (!need || bytes < need) return EDGEREC_MEMORY;
    edgerec_workspace *w = memory;
    lay_out(e, most_events, w, memory);
    /* These two are empty between requests: each request takes back what it wrote. */
    for (size_t b = 0; b < e->blocks; b++) w->first[b] = -1, w->excluded[b] = 0;
    for (size_t b = 0; b < e->tasks * e->ranged; b++) w->low[b] = w->high[b] = 0.0f;
    w->additions = 0;
    w->checked = e;
    *workspace = w;
    return EDGEREC_OK;
}
