/* How much each past item added to the weighted logits of an item: steps 25 to 27. It acts through the attention (exact
 * unless a unit of the head switches), on itself through the repeat term, and on the items of its transition list. */
#include "internal.h"

#pragma STDC FP_CONTRACT OFF
#if !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

static size_t wide(size_t width) { return (width + LANES - 1) / LANES * LANES; }

static void zero(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = 0.0f;
}

/* Step 25: the derivative of the weighted task vector by the pooled values, in factors: linear[dim][heads * dim]
 * directly, active[dim][head] by the hidden units, of which those that are 0 now move nothing. */
static void derive(const edgerec_engine *e, edgerec_workspace *own, const float *weights) {
    size_t pooled = e->mix_back.stride, head = e->last_back.stride;
    zero(own->linear, e->dim * pooled);
    zero(own->active, e->dim * head);
    e->kernels->matmul(e->mix_back.w, e->tasks, e->dim * pooled, weights, 0, 1, own->linear, 0);
    e->kernels->matmul(e->last_back.w, e->tasks, e->dim * head, weights, 0, 1, own->active, 0);
    for (size_t j = 0; j < e->dim; j++)
        for (size_t o = 0; o < e->head; o++)
            if (!(own->units[o] > 0.0f)) own->active[j * head + o] = 0.0f;
}

/* Step 26: moved[items][heads * dim], of at most BATCH items. */
static void move(const edgerec_engine *e, edgerec_workspace *own, const int64_t *item, size_t items) {
    size_t pooled = e->mix_back.stride, head = e->last_back.stride;
    zero(own->moved, items * pooled);
    zero(own->unit, items * head);
    for (size_t i = 0; i < items; i++) er_item(e, item[i], own->rows + i * e->dim_padded);
    e->kernels->matmul(own->linear, e->dim, pooled, own->rows, e->dim_padded, items, own->moved, pooled);
    e->kernels->matmul(own->active, e->dim, head, own->rows, e->dim_padded, items, own->unit, head);
    e->kernels->matmul(e->head_pooled_back.w, e->head, pooled, own->unit, head, items, own->moved, pooled);
}

/* The weighted sum over the tasks of what event l adds: at itself, or `first` = tasks along its transitions. */
static float weighted(const edgerec_engine *e, const edgerec_workspace *own, const float *weights, size_t l,
                      size_t first) {
    const float *added = own->added + l * e->repeat.out.stride + first;
    float sum = 0.0f;
    for (size_t t = 0; t < e->tasks; t++) sum = sum + weights[t] * added[t];
    return sum;
}

/* Step 27 for one item, whose additions hang in the list of its block: `reason` has what came through the attention,
 * and gets the rest. The transitions of one event follow each other. */
static void add_own(const edgerec_engine *e, const edgerec_workspace *own, const float *weights, int64_t item,
                    float *reason) {
    float strength = 0.0f;
    size_t event = 0;
    for (int32_t at = own->first[item / BLOCK]; at >= 0; at = own->addition[at].next) {
        const er_addition *a = own->addition + at;
        if (a->place != item % BLOCK) continue;
        if (a->repeats) reason[a->event] = reason[a->event] + weighted(e, own, weights, a->event, 0);
        if (a->repeats) continue;
        if (a->event != event && strength != 0.0f)
            reason[event] = reason[event] + strength * weighted(e, own, weights, event, e->tasks);
        strength = (a->event == event ? strength : 0.0f) + a->weight;
        event = a->event;
    }
    if (strength != 0.0f) reason[event] = reason[event] + strength * weighted(e, own, weights, event, e->tasks);
}

void er_reasons(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r, const int64_t *item,
                size_t items, float *reason) {
    size_t n = r->events, lp = wide(n), pooled = e->mix_back.stride;
    if (!n) return;
    derive(e, own, r->weights);
    for (size_t i = 0; i < e->dim; i++) {
        float *row = own->vectors_by_dim + i * lp;
        for (size_t l = 0; l < n; l++) row[l] = own->vectors[l * e->dim_padded + i];
        zero(row + n, lp - n);
    }
    for (size_t from = 0; from < items; from += BATCH) {
        size_t count = items - from < BATCH ? items - from : BATCH;
        float *out = reason + from * n;
        move(e, own, item + from, count);
        zero(out, count * n);
        for (size_t h = 0; h < e->heads; h++) {
            zero(own->reason, count * lp);
            e->kernels->matmul(own->vectors_by_dim, e->dim, lp, own->moved + h * e->dim, pooled, count, own->reason, lp);
            for (size_t i = 0; i < count; i++)
                e->kernels->weigh(out + i * n, own->attention + h * lp, own->reason + i * lp, n);
        }
        for (size_t i = 0; i < count; i++) add_own(e, own, r->weights, item[from + i], out + i * n);
    }
}
