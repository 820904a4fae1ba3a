/* The request tower: from the past items and the context to a vector for each task, and to what past items add by
 * themselves. Steps 1 to 12. */
#include "internal.h"

#pragma STDC FP_CONTRACT OFF
#if !defined(__clang__)
#pragma GCC optimize("fp-contract=off")
#endif

static size_t up(size_t width) { return (width + LANES - 1) / LANES * LANES; }

static void fill(float *out, size_t count, float value) {
    for (size_t i = 0; i < count; i++) out[i] = value;
}

static void copy(float *out, const float *from, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = from[i];
}

static void relu(float *x, size_t count) {
    for (size_t i = 0; i < count; i++) x[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

/* One vector through a matrix: y += W x. */
static void times(const edgerec_engine *e, er_matrix m, const float *x, float *y) {
    e->kernels->matmul(m.w, m.inputs, m.stride, x, 0, 1, y, 0);
}

/* Add a row of a table. */
void er_row(const er_rows *table, size_t row, float *out) {
    size_t n = table->columns;
    if (table->floats)
        for (size_t i = 0; i < n; i++) out[i] = out[i] + table->floats[row * n + i];
    else
        for (size_t i = 0; i < n; i++) out[i] = out[i] + (float)table->codes[row * n + i] * table->scales[row];
}

/* Step 1: the vector of an item, dim floats. */
void er_item(const edgerec_engine *e, int64_t item, float *out) {
    size_t i = (size_t)item;
    const int8_t *code = e->table + (i / 16 * e->groups * 16 + i % 16) * GROUP;
    float scale = e->scales[i];
    for (size_t c = 0; c < e->dim; c += GROUP, code += 16 * GROUP)
        for (size_t j = 0; j < GROUP && c + j < e->dim; j++) out[c + j] = (float)code[j] * scale;
}

/* The item that follows another one, and with what weight. The index is checked here, where it is used; one that is out
 * of range counts as the item itself with weight 0, like a place that no item takes. */
int64_t er_transition(const edgerec_engine *e, int64_t item, size_t place, float *weight) {
    size_t at = (size_t)item * e->transitions + place;
    int64_t next = e->transition16 ? (int64_t)e->transition16[at] : (int64_t)e->transition32[at];
    *weight = (float)e->transition_codes[at] * e->transition_scales[item];
    if (next < e->items) return next;
    *weight = 0.0f;
    return item;
}

static int in_range(float x, float least) { return x >= least && x <= 1e9f; } /* NaN is not */

int er_check_request(const edgerec_engine *e, const edgerec_workspace *own, const edgerec_request *r) {
    if (own->checked != e || r->events > own->most_events) return EDGEREC_MEMORY;
    for (size_t l = 0; l < r->events; l++) {
        if (r->history[l] < 0 || r->history[l] >= e->items) return EDGEREC_REQUEST;
        if (r->history_kind[l] < 0 || r->history_kind[l] >= (int64_t)e->kinds) return EDGEREC_REQUEST;
        if (!in_range(r->history_count[l], 1.0f) || !in_range(r->history_age_h[l], 0.0f) ||
            !in_range(r->history_interval_h[l], 0.0f))
            return EDGEREC_REQUEST;
    }
    for (size_t c = 0; c < e->columns; c++) {
        int64_t size = (int64_t)e->category_first[c + 1] - (int64_t)e->category_first[c];
        if (r->categorical[c] < 0 || r->categorical[c] >= size) return EDGEREC_REQUEST;
    }
    for (size_t i = 0; i < e->numbers; i++)
        if (!in_range(r->numeric[i], -1e9f)) return EDGEREC_REQUEST;
    for (size_t t = 0; t < e->tasks; t++)
        if (!in_range(r->weights[t], -1e9f)) return EDGEREC_REQUEST;
    for (size_t i = 0; i < r->excluded; i++)
        if (r->exclude[i] < 0 || r->exclude[i] >= e->items) return EDGEREC_REQUEST;
    return EDGEREC_OK;
}

/* Steps 1 to 3: vectors, the order of events, and numbers of each past item. */
static void read_history(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r) {
    size_t n = r->events;
    fill(own->vectors, n * e->dim_padded, 0.0f);
    for (size_t l = 0; l < n; l++) {
        float *x = own->numbers + l * 8;
        er_item(e, r->history[l], own->vectors + l * e->dim_padded);
        uint32_t later = 0;
        for (size_t m = 0; e->transitions && m < n; m++) later += r->history_age_h[m] < r->history_age_h[l];
        own->later[l] = later;
        x[0] = r->history_count[l];
        x[1] = 1.0f + r->history_age_h[l];
        x[2] = 1.0f + r->history_age_h[l] / 24.0f;
        x[3] = 1.0f + r->history_interval_h[l] / 24.0f;
        x[4] = x[5] = x[7] = 1.0f;
        x[6] = 1.0f + (float)later;
    }
    e->kernels->logs(own->numbers, n * 8);
    for (size_t l = 0; l < n; l++) {
        float *x = own->numbers + l * 8, repeated = r->history_count[l] > 1.0f ? 1.0f : 0.0f;
        x[4] = (x[2] - x[3]) * repeated;
        x[5] = repeated;
        x[1] = x[1] * 0.2f;
        x[2] = x[2] * 0.4f;
        x[3] = x[3] * 0.4f;
        x[6] = x[6] * 0.5f;
    }
}

/* Steps 4 and 5. */
static void read_context(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r) {
    copy(own->inner, e->inner_bias, up(e->inner));
    for (size_t c = 0; c < e->columns; c++)
        er_row(&e->category, e->category_first[c] + (size_t)r->categorical[c], own->inner);
    times(e, e->inner_numbers, r->numeric, own->inner);
    relu(own->inner, up(e->inner));
    copy(own->context, e->context_bias, up(e->context));
    times(e, e->context_inner, own->inner, own->context);
    relu(own->context, up(e->context));
}

/* Step 6 and what follows from it: out[l] = bias + Wo ReLU(...), `out` with the stride of layer->out. */
static void read_events(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r,
                        const er_events *layer, float *out) {
    size_t n = r->events, width = up(layer->width);
    copy(own->base, layer->bias, width);
    times(e, layer->context, own->context, own->base);
    for (size_t l = 0; l < n; l++) {
        int same = l && r->history_kind[l] == r->history_kind[l - 1];
        copy(own->hidden + l * width, same ? own->hidden + (l - 1) * width : own->base, width);
        if (!same) er_row(&layer->kind, (size_t)r->history_kind[l], own->hidden + l * width);
        copy(out + l * layer->out.stride, layer->out_bias, layer->out.stride);
    }
    e->kernels->matmul(layer->item.w, e->dim, width, own->vectors, e->dim_padded, n, own->hidden, width);
    e->kernels->matmul(layer->numbers.w, e->features, width, own->numbers, 8, n, own->hidden, width);
    relu(own->hidden, n * width);
    e->kernels->matmul(layer->out.w, layer->width, layer->out.stride, own->hidden, width, n, out, layer->out.stride);
}

/* Step 7, into attention[heads][L padded]. */
static void attend(const edgerec_engine *e, edgerec_workspace *own, size_t n) {
    size_t lp = up(n), stride = up(e->heads);
    e->kernels->attend(own->attention_by_event, n, stride, e->nothing);
    for (size_t h = 0; h < e->heads; h++)
        for (size_t l = 0; l < lp; l++) own->attention[h * lp + l] = l < n ? own->attention_by_event[l * stride + h] : 0.0f;
}

/* Steps 8 to 10. */
static void read_user(const edgerec_engine *e, edgerec_workspace *own, size_t n) {
    size_t dp = e->dim_padded, lp = up(n);
    fill(own->pooled, e->heads * dp, 0.0f);
    e->kernels->matmul(own->vectors, n, dp, own->attention, lp, e->heads, own->pooled, dp);
    copy(own->units, e->head_bias, up(e->head));
    times(e, e->head_context, own->context, own->units);
    copy(own->user, e->last_bias, e->tasks * dp);
    for (size_t h = 0; h < e->heads; h++) {
        er_matrix part = {e->head_pooled.w + h * e->dim * e->head_pooled.stride, e->dim, e->head_pooled.stride};
        er_matrix mix = {e->mix.w + h * e->dim * e->mix.stride, e->dim, e->mix.stride};
        times(e, part, own->pooled + h * dp, own->units);
        times(e, mix, own->pooled + h * dp, own->user);
    }
    relu(own->units, up(e->head));
    times(e, e->last, own->units, own->user);
}

void er_tower(const edgerec_engine *e, edgerec_workspace *own, const edgerec_request *r) {
    read_history(e, own, r);
    read_context(e, own, r);
    read_events(e, own, r, &e->pooling, own->attention_by_event);
    attend(e, own, r->events);
    read_user(e, own, r->events);
    read_events(e, own, r, &e->repeat, own->added);
    /* Step 12: only the latest events have transitions. */
    for (size_t l = 0; e->transitions && l < r->events; l++)
        for (size_t t = 0; own->later[l] >= FOLLOWED && t < e->tasks; t++)
            own->added[l * e->repeat.out.stride + e->tasks + t] = 0.0f;
}
