/* What the files of the engine share. The format and every step are specified in the documentation's page on
 * student.bin; comments here name its steps. */
#ifndef EDGEREC_INTERNAL_H
#define EDGEREC_INTERNAL_H

#include "edgerec.h"

#include <float.h>

#if !defined(__GNUC__)
#error "edgerec is compiled by gcc or clang, of which zig cc is one"
#endif
#if FLT_EVAL_METHOD != 0
#error "edgerec needs binary32 arithmetic: compile for SSE2 or later"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "student.bin is little-endian and is read where it lies"
#endif
#if defined(__FAST_MATH__)
#error "edgerec rounds as the format says: compile without -ffast-math"
#endif

#define BLOCK 64   /* items of a block, the unit of the scan */
#define LANES 16   /* floats of a padded width, and lanes of a sum */
#define GROUP 4    /* dimensions of an item that lie together */
#define FOLLOWED 32 /* events of the history whose transitions count, see step 12 */
#define KEPT 131072 /* bytes of logits that a workspace keeps at most, so that small catalogues are scanned once */
#define FOREMOST 16 /* blocks that are looked at first */
#define BATCH 16   /* items whose reasons are computed together */
#define CODES 8127 /* largest code of a user vector: 63 * 128 + 63, two signed digits of base 128 */
#define ALWAYS static inline __attribute__((always_inline))
#define APART __attribute__((noinline))

/* Largest widths. With them no product of widths below leaves int64, and no dot product leaves int32:
 * MOST_DIM * CODES * 127 < 2^31. */
enum {
    MOST_DIM = 1024,
    MOST_TASKS = 256,
    MOST_HEADS = 64,
    MOST_WIDTH = 4096,
    MOST_COLUMNS = 4096,
    MOST_KINDS = 1 << 20,
    MOST_ROWS = 1 << 24,
    MOST_TRANSITIONS = 256,
    MOST_EVENTS = 1 << 16
};
#define MOST_ITEMS ((int64_t)1 << 31)

enum { RETRIEVAL, BINARY, REGRESSION };

typedef struct {
    int32_t kind, after; /* after: an earlier binary task, or -1 */
    float never;         /* what is added to the logit of an item of the history: 0 or -1e4 */
    float slope, offset, cap;
} er_task;

/* A matrix in the arena, by inputs: `w[j * stride + o]` is the weight of input j for output o, stride a multiple of
 * LANES with zeros behind the outputs. */
typedef struct {
    const float *w;
    size_t inputs, stride;
} er_matrix;

/* A table of which single rows are read, where it lies: float32, or INT8 with a scale for each row. */
typedef struct {
    const float *floats;
    const int8_t *codes;
    const float *scales;
    size_t rows, columns;
} er_rows;

/* Hidden units of each past event, see step 6. */
typedef struct {
    size_t width;
    er_matrix item, numbers, context, out;
    const float *bias, *out_bias;
    er_rows kind;
} er_events;

/* What a scan of the catalogue multiplies, besides the table: the scored tasks, or the related task. */
typedef struct {
    size_t tasks;
    const er_task *task;
    const int8_t *prior; /* tasks x padded items */
    const float *prior_scale, *prior_middle;
} er_head;

/* The user vectors of all tasks in integers: codes, their two digits of base 128, and the sum of each task's codes. */
typedef struct {
    int16_t *code;
    int8_t *digit;
    int32_t *sum;
} er_codes;

/* The inner loops, one set for each kind of processor; see kernels.inc and dots.inc. */
typedef struct {
    const char *name;
    void (*dots)(const int8_t *block, size_t groups, const er_codes *user, size_t tasks, int32_t *dot);
    void (*logits)(const int32_t *dot, const float *task_scale, const er_head *head, const float *scale,
                   const int8_t *prior, size_t prior_stride, float *z);
    void (*exps)(float *x, size_t count, float shift);
    void (*logs)(float *x, size_t count);
    float (*sum)(const float *z, float shift);
    void (*range)(const float *z, float *low, float *high);
    void (*attend)(float *x, size_t rows, size_t stride, const float *nothing);
    void (*weigh)(float *out, const float *a, const float *x, size_t count);
    void (*matmul)(const float *w, size_t inputs, size_t stride, const float *x, size_t x_stride, size_t rows, float *y,
                   size_t y_stride);
} er_kernels;

struct edgerec_engine {
    const void *checked; /* this address, once everything is checked */
    int64_t items;
    size_t blocks, padded; /* padded = BLOCK * blocks */
    size_t ranged;         /* blocks, padded to LANES */
    size_t dim, dim_padded, groups, tasks, heads, transitions, columns, numbers, kinds, inner, context, head, features;
    const er_kernels *kernels;
    const int8_t *table; /* [blocks][4][groups][16][GROUP] */
    const float *scales; /* padded */
    er_head scored, related;
    int has_related;
    er_matrix relation;
    const uint16_t *transition16; /* items x transitions, one of the two */
    const uint32_t *transition32;
    const int8_t *transition_codes;
    const float *transition_scales;
    er_rows category;
    const uint32_t *category_first; /* columns + 1 */
    er_matrix inner_numbers, context_inner;
    const float *inner_bias, *context_bias;
    er_events pooling, repeat;
    const float *nothing;
    /* Both orders of the matrices that reasons multiply from the other side. */
    er_matrix mix, mix_back, head_context, head_pooled, head_pooled_back, last, last_back;
    const float *head_bias, *last_bias;
};

/* What one past item adds to the logits of one item of a block: its repeat term, or along a transition. */
typedef struct {
    int32_t next; /* of the same block, or -1 */
    uint32_t event;
    float weight; /* of the transition; a repeat has none */
    uint8_t place, repeats;
} er_addition;

struct edgerec_workspace {
    const void *checked; /* the engine it was made for */
    size_t most_events;
    /* tower; L is padded to LANES where events are the last dimension */
    float *vectors, *vectors_by_dim, *numbers, *hidden, *attention, *attention_by_event, *added, *context, *inner,
        *pooled, *units, *user, *base;
    uint32_t *later;
    size_t events;
    /* scan */
    float *task_scale, *z, *p, *kept, *low, *high, *total_max, *inverse;
    double *total;
    er_codes user_codes;
    int32_t *dot, *first;
    er_addition *addition;
    int32_t additions;
    uint64_t *excluded;
    float *bound;
    /* reasons */
    float *linear, *active, *rows, *moved, *unit, *reason;
};

/* kernels.c */
const er_kernels *er_best_kernels(void);
const er_kernels *er_named_kernels(const char *name);

/* tower.c */
void er_row(const er_rows *table, size_t row, float *out);
void er_item(const edgerec_engine *e, int64_t item, float *out);
int er_check_request(const edgerec_engine *e, const edgerec_workspace *own, const edgerec_request *r);
void er_tower(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r);
int64_t er_transition(const edgerec_engine *e, int64_t item, size_t place, float *weight);

/* topk.c: the best k of what is pushed, each with `tasks` probabilities. */
typedef struct {
    int64_t *item;
    float *utility, *probability;
    size_t tasks, size, most;
} er_top;
void er_push(er_top *top, int64_t item, float utility, const float *probability);
int64_t er_pop(er_top *top, float *utility);
void er_sort(er_top *top);

/* scan.c */
void er_quantize_user(const edgerec_engine *e, edgerec_workspace *own, const float *user, size_t tasks);
void er_hang_additions(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r);
void er_unhang_additions(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r);

/* reasons.c */
void er_reasons(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r, const int64_t *item,
                size_t items, float *reason);

/* control.c: the processor's rounding and denormals, which the host may have set. */
typedef uint64_t er_control;
er_control er_enter(void);
void er_leave(er_control control);

#endif
