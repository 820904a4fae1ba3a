/* The scan of the catalogue: steps 13 to 24, block by block and without a table of all logits. A first pass finds the
 * range of every task's logits in each block, and the sums of the softmax. From the ranges follows what utility a block
 * can have at most; a second pass looks again only at the blocks that can hold one of the best. Logits of a small
 * catalogue are kept from the first to the second pass, those of a large one are computed again. */
#include "internal.h"

#pragma STDC FP_CONTRACT OFF
#if !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

#define NOTHING_BELOW (-__builtin_inff())

static float magnitude(float x) { return x < 0.0f ? -x : x; }

/* Step 13. What is no number has code 0, so that no float is converted that an int cannot hold. */
void er_quantize_user(const edgerec_engine *e, edgerec_workspace *own, const float *user, size_t tasks) {
    size_t width = e->groups * GROUP;
    for (size_t t = 0; t < tasks; t++) {
        const float *u = user + t * e->dim_padded;
        int16_t *code = own->user_codes.code + t * width;
        int8_t *high = own->user_codes.digit + 2 * t * width, *low = high + width;
        int32_t sum = 0;
        float most = 1e-12f;
        for (size_t i = 0; i < e->dim; i++) most = magnitude(u[i]) > most ? magnitude(u[i]) : most;
        float scale = most / (float)CODES;
        own->task_scale[t] = scale;
        for (size_t i = 0; i < width; i++) {
            float x = i < e->dim ? u[i] / scale : 0.0f;
            x = x == x ? x : 0.0f;
            x = x > -(float)CODES ? x : -(float)CODES; /* the largest entry's quotient may be rounded up */
            x = x < (float)CODES ? x : (float)CODES;
            x = (x + 12582912.0f) - 12582912.0f;
            code[i] = (int16_t)x;
            low[i] = (int8_t)(((code[i] + 64) & 127) - 64);
            high[i] = (int8_t)((code[i] - low[i]) / 128);
            sum = sum + code[i];
        }
        own->user_codes.sum[t] = sum;
    }
}

/* Hang what the history adds to logits into lists, one for each block. Read from the front, a list has the repeats in
 * the order of the history, then the transitions in that order and in that of their places. */
static void hang(edgerec_workspace *own, int64_t item, er_addition addition) {
    int32_t *first = own->first + item / BLOCK, at = own->additions++;
    addition.place = (uint8_t)(item % BLOCK);
    addition.next = *first;
    own->addition[at] = addition;
    *first = at;
}

void er_hang_additions(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r) {
    for (size_t l = r->events; e->transitions && l-- > 0;)
        for (size_t k = e->transitions; own->later[l] < FOLLOWED && k-- > 0;) {
            er_addition addition = {0, (uint32_t)l, 0.0f, 0, 0};
            int64_t next = er_transition(e, r->history[l], k, &addition.weight);
            hang(own, next, addition);
        }
    for (size_t l = r->events; l-- > 0;) hang(own, r->history[l], (er_addition){0, (uint32_t)l, 0.0f, 0, 1});
}

/* Empty the lists again, without a look at all blocks. */
void er_unhang_additions(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r) {
    float weight;
    for (size_t l = 0; l < r->events; l++) {
        own->first[r->history[l] / BLOCK] = -1;
        for (size_t k = 0; k < e->transitions; k++) own->first[er_transition(e, r->history[l], k, &weight) / BLOCK] = -1;
    }
    own->additions = 0;
}

/* Steps 14 to 18: the logits of a block, z[tasks][BLOCK]. */
static void logits_of_block(const edgerec_engine *e, edgerec_workspace *own, const er_head *head, size_t block,
                            float *z) {
    const er_kernels *k = e->kernels;
    k->dots(e->table + block * BLOCK * e->groups * GROUP, e->groups, &own->user_codes, head->tasks, own->dot);
    k->logits(own->dot, own->task_scale, head, e->scales + block * BLOCK, head->prior + block * BLOCK, e->padded, z);
    for (int32_t at = own->first[block]; at >= 0; at = own->addition[at].next) {
        const er_addition *a = own->addition + at;
        const float *added = own->added + a->event * e->repeat.out.stride;
        for (size_t t = 0; t < head->tasks; t++) {
            float *to = z + t * BLOCK + a->place;
            *to = *to + (a->repeats ? added[t] + head->task[t].never : added[head->tasks + t] * a->weight);
        }
    }
}

static size_t items_of(const edgerec_engine *e, size_t block) {
    size_t left = (size_t)e->items - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

/* One block's part of a softmax: the sum of exp(z - largest so far), which a larger one scales down. */
static void add_to_softmax(const edgerec_engine *e, edgerec_workspace *own, size_t t, const float *z, float most) {
    if (most == NOTHING_BELOW) return;
    if (most > own->total_max[t]) {
        float shrink = own->total_max[t];
        e->kernels->exps(&shrink, 1, most);
        own->total[t] = own->total[t] * (double)shrink;
        own->total_max[t] = most;
    }
    own->total[t] = own->total[t] + (double)e->kernels->sum(z, own->total_max[t]);
}

/* The range of those of a block's items that are not excluded; low > high if there are none. */
static void range_of_allowed(const float *z, size_t items, uint64_t excluded, float *low, float *high) {
    *low = -NOTHING_BELOW, *high = NOTHING_BELOW;
    for (size_t i = 0; i < items; i++) {
        if (excluded >> i & 1) continue;
        *low = z[i] < *low ? z[i] : *low;
        *high = z[i] > *high ? z[i] : *high;
    }
}

/* The first pass. `masked`: an excluded item has logit -infinity, as in step 28; else only its utility is removed. */
static void survey(const edgerec_engine *e, edgerec_workspace *own, const er_head *head, int masked) {
    for (size_t t = 0; t < head->tasks; t++) own->total[t] = 0.0, own->total_max[t] = NOTHING_BELOW;
    for (size_t b = 0; b < e->blocks; b++) {
        uint64_t excluded = own->excluded[b];
        size_t items = items_of(e, b);
        float *z = own->kept ? own->kept + b * head->tasks * BLOCK : own->z;
        logits_of_block(e, own, head, b, z);
        for (size_t t = 0; t < head->tasks; t++, z += BLOCK) {
            float *low = own->low + t * e->ranged + b, *high = own->high + t * e->ranged + b;
            for (size_t i = items; i < BLOCK; i++) z[i] = NOTHING_BELOW;
            for (size_t i = 0; masked && excluded && i < BLOCK; i++)
                if (excluded >> i & 1) z[i] = NOTHING_BELOW;
            e->kernels->range(z, low, high);
            if (head->task[t].kind == RETRIEVAL) add_to_softmax(e, own, t, z, *high);
            if (excluded || items < BLOCK) range_of_allowed(z, items, excluded, low, high);
        }
    }
    for (size_t t = 0; t < head->tasks; t++) own->inverse[t] = own->total[t] > 0.0 ? (float)(1.0 / own->total[t]) : 0.0f;
}

/* Steps 19 to 21 for `count` logits of one task, in place. `before`: probabilities of the task it comes after. */
static void probabilities(const edgerec_engine *e, const edgerec_workspace *own, const er_task *task, size_t t, float *z,
                          size_t count, const float *before) {
    if (task->kind == RETRIEVAL) {
        e->kernels->exps(z, count, own->total_max[t]);
        for (size_t i = 0; i < count; i++) z[i] = z[i] * own->inverse[t];
    } else if (task->kind == BINARY) {
        for (size_t i = 0; i < count; i++) z[i] = -z[i];
        e->kernels->exps(z, count, 0.0f);
        for (size_t i = 0; i < count; i++) z[i] = 1.0f / (1.0f + z[i]);
        for (size_t i = 0; before && i < count; i++) z[i] = z[i] * before[i];
    } else {
        for (size_t i = 0; i < count; i++) z[i] = z[i] * task->slope + task->offset;
        e->kernels->exps(z, count, 0.0f);
        for (size_t i = 0; i < count; i++) z[i] = z[i] < task->cap ? z[i] : task->cap;
    }
}

/* Steps 14 to 22 for one block: probabilities in z[tasks][BLOCK], utilities in p. */
static void rate_block(const edgerec_engine *e, edgerec_workspace *own, const er_head *head, const float *weights,
                       size_t block) {
    if (!own->kept) logits_of_block(e, own, head, block, own->z);
    for (size_t i = 0; own->kept && i < head->tasks * BLOCK; i++) own->z[i] = own->kept[block * head->tasks * BLOCK + i];
    for (size_t i = 0; i < BLOCK; i++) own->p[i] = 0.0f;
    for (size_t t = 0; t < head->tasks; t++) {
        const er_task *task = head->task + t;
        float *z = own->z + t * BLOCK;
        probabilities(e, own, task, t, z, BLOCK, task->after < 0 ? NULL : own->z + task->after * BLOCK);
        for (size_t i = 0; i < BLOCK; i++) own->p[i] = own->p[i] + weights[t] * z[i];
    }
    for (size_t i = 0; i < BLOCK; i++) own->p[i] = own->p[i] == own->p[i] ? own->p[i] : NOTHING_BELOW;
}

/* No item of a block has a higher utility than its bound. Every probability lies between those of the block's lowest and
 * highest logit; the margin is far more than rounding can move a probability. Of a task that comes after another one
 * both are binary, so that the lowest belongs to the lowest. */
static void bound_blocks(const edgerec_engine *e, edgerec_workspace *own, const er_head *head, const float *weights) {
    /* Where all items of a block are excluded, low > high before the logits become probabilities. */
    for (size_t b = 0; b < e->ranged; b++) own->bound[b] = own->low[b] > own->high[b] ? NOTHING_BELOW : 1e-30f;
    for (size_t t = 0; t < head->tasks; t++) {
        const er_task *task = head->task + t;
        float *ends[2] = {own->low, own->high};
        for (size_t i = 0; i < 2; i++)
            probabilities(e, own, task, t, ends[i] + t * e->ranged, e->ranged,
                          task->after < 0 ? NULL : ends[i] + task->after * e->ranged);
        const float *low = own->low + t * e->ranged, *high = own->high + t * e->ranged;
        for (size_t b = 0; b < e->ranged; b++) {
            float x = weights[t] * low[b], y = weights[t] * high[b];
            float most = x > y ? x : y, size = magnitude(x) > magnitude(y) ? magnitude(x) : magnitude(y);
            own->bound[b] = own->bound[b] + (most + size * 1e-4f);
        }
    }
    for (size_t b = 0; b < e->ranged; b++) own->bound[b] = own->bound[b] == own->bound[b] ? own->bound[b] : -NOTHING_BELOW;
}

/* Put what is among the best of a block into the list. A block that was looked at has no bound any more. */
static void look(const edgerec_engine *e, edgerec_workspace *own, const er_head *head, const float *weights, size_t b,
                 er_top *best) {
    if (best->size == best->most && own->bound[b] < best->utility[0]) return;
    rate_block(e, own, head, weights, b);
    own->bound[b] = __builtin_nanf("");
    uint64_t excluded = own->excluded[b];
    for (size_t i = 0; i < items_of(e, b); i++) {
        float utility = excluded >> i & 1 ? NOTHING_BELOW : own->p[i];
        if (best->size < best->most || utility >= best->utility[0])
            er_push(best, (int64_t)(b * BLOCK + i), utility, own->z + i);
    }
}

/* The second pass: the blocks with the highest bounds, then those of the others that can still hold one of the best. */
static void search(const edgerec_engine *e, edgerec_workspace *own, const er_head *head, const float *weights,
                   er_top *best) {
    int64_t block[FOREMOST];
    float bound[FOREMOST];
    er_top foremost = {block, bound, NULL, 0, 0, FOREMOST};
    bound_blocks(e, own, head, weights);
    for (size_t b = 0; b < e->blocks; b++)
        if (foremost.size < FOREMOST || own->bound[b] > bound[0]) er_push(&foremost, (int64_t)b, own->bound[b], NULL);
    er_sort(&foremost);
    for (size_t i = 0; i < foremost.size; i++) look(e, own, head, weights, (size_t)block[i], best);
    for (size_t b = 0; b < e->blocks; b++)
        if (own->bound[b] == own->bound[b]) look(e, own, head, weights, b, best);
    er_sort(best);
}

static void exclude(edgerec_workspace *own, const int64_t *item, size_t count) {
    for (size_t i = 0; i < count; i++) own->excluded[item[i] / BLOCK] |= (uint64_t)1 << item[i] % BLOCK;
}

static void include(edgerec_workspace *own, const int64_t *item, size_t count) {
    for (size_t i = 0; i < count; i++) own->excluded[item[i] / BLOCK] = 0;
}

static APART void recommend(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r, er_top *best,
                            float *reason) {
    er_tower(e, own, r);
    er_quantize_user(e, own, own->user, e->tasks);
    er_hang_additions(e, own, r);
    exclude(own, r->exclude, r->excluded);
    survey(e, own, &e->scored, 0);
    search(e, own, &e->scored, r->weights, best);
    include(own, r->exclude, r->excluded);
    if (reason) er_reasons(e, own, r, best->item, best->size, reason);
    er_unhang_additions(e, own, r);
}

int edgerec_recommend(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r, size_t k,
                      int64_t *item, float *utility, float *probability, float *reason) {
    int code = er_check_request(e, own, r);
    if (code) return code;
    if (k < 1 || k > (size_t)e->items) return EDGEREC_REQUEST;
    er_control control = er_enter();
    er_top best = {item, utility, probability, e->tasks, 0, k};
    recommend(e, own, r, &best, reason);
    er_leave(control);
    return EDGEREC_OK;
}

static APART void score(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r,
                        const int64_t *candidate, size_t count, float *utility, float *probability, float *reason) {
    er_tower(e, own, r);
    er_quantize_user(e, own, own->user, e->tasks);
    er_hang_additions(e, own, r);
    int over_catalogue = own->kept != NULL; /* only a softmax needs the other items, and what is kept */
    for (size_t t = 0; t < e->tasks; t++) over_catalogue |= e->scored.task[t].kind == RETRIEVAL;
    if (over_catalogue) survey(e, own, &e->scored, 0);
    size_t rated = e->blocks;
    for (size_t c = 0; c < count; c++) {
        size_t block = (size_t)candidate[c] / BLOCK, i = (size_t)candidate[c] % BLOCK;
        if (block != rated) rate_block(e, own, &e->scored, r->weights, rated = block);
        utility[c] = own->p[i];
        for (size_t t = 0; probability && t < e->tasks; t++) probability[c * e->tasks + t] = own->z[t * BLOCK + i];
    }
    if (reason) er_reasons(e, own, r, candidate, count, reason);
    er_unhang_additions(e, own, r);
}

int edgerec_score(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r, const int64_t *candidate,
                  size_t candidates, float *utility, float *probability, float *reason) {
    int code = er_check_request(e, own, r);
    if (code) return code;
    for (size_t c = 0; c < candidates; c++)
        if (candidate[c] < 0 || candidate[c] >= e->items) return EDGEREC_REQUEST;
    er_control control = er_enter();
    score(e, own, r, candidate, candidates, utility, probability, reason);
    er_leave(control);
    return EDGEREC_OK;
}

static APART void similar(const edgerec_engine *e, edgerec_workspace *own, int64_t item, const int64_t *excluded,
                          size_t count, er_top *best) {
    const float one = 1.0f;
    float *vector = own->pooled;
    er_item(e, item, vector);
    for (size_t i = 0; i < e->dim_padded; i++) own->user[i] = 0.0f;
    e->kernels->matmul(e->relation.w, e->dim, e->relation.stride, vector, 0, 1, own->user, 0);
    er_quantize_user(e, own, own->user, 1);
    exclude(own, excluded, count);
    exclude(own, &item, 1);
    survey(e, own, &e->related, 1);
    search(e, own, &e->related, &one, best);
    include(own, excluded, count);
    include(own, &item, 1);
}

int edgerec_similar(const edgerec_engine *e, edgerec_workspace *own, int64_t item, const int64_t *excluded,
                    size_t count, size_t k, int64_t *related, float *score) {
    if (!e->has_related) return EDGEREC_UNRELATED;
    if (own->checked != e) return EDGEREC_MEMORY;
    if (item < 0 || item >= e->items || k < 1 || k > (size_t)e->items) return EDGEREC_REQUEST;
    for (size_t i = 0; i < count; i++)
        if (excluded[i] < 0 || excluded[i] >= e->items) return EDGEREC_REQUEST;
    er_control control = er_enter();
    er_top best = {related, score, NULL, 0, 0, k};
    similar(e, own, item, excluded, count, &best);
    er_leave(control);
    return EDGEREC_OK;
}

static APART void vectors(const edgerec_engine *e, const int64_t *item, size_t count, float *vector) {
    for (size_t i = 0; i < count; i++) er_item(e, item[i], vector + i * e->dim);
}

int edgerec_vectors(const edgerec_engine *e, const int64_t *item, size_t count, float *vector) {
    for (size_t i = 0; i < count; i++)
        if (item[i] < 0 || item[i] >= e->items) return EDGEREC_REQUEST;
    er_control control = er_enter();
    vectors(e, item, count, vector);
    er_leave(control);
    return EDGEREC_OK;
}
