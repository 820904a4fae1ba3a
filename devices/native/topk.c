/* The best k of what is pushed: a heap with the worst on top, in the caller's own arrays. */
#include "internal.h"

/* Whether entry a comes after entry b in the list: its utility is lower or, where they are equal, its index higher. */
static int after(const er_top *top, size_t a, size_t b) {
    if (top->utility[a] != top->utility[b]) return top->utility[a] < top->utility[b];
    return top->item[a] > top->item[b];
}

static void exchange(er_top *top, size_t a, size_t b) {
    int64_t item = top->item[a];
    float utility = top->utility[a];
    top->item[a] = top->item[b], top->item[b] = item;
    top->utility[a] = top->utility[b], top->utility[b] = utility;
    for (size_t t = 0; top->probability && t < top->tasks; t++) {
        float *p = top->probability + a * top->tasks + t, *q = top->probability + b * top->tasks + t, old = *p;
        *p = *q, *q = old;
    }
}

/* Let the entry on top sink to its place among the first `size`. */
static void sink(er_top *top, size_t size) {
    for (size_t at = 0, child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && after(top, child + 1, child)) child++;
        if (!after(top, child, at)) return;
        exchange(top, child, at);
    }
}

static void put(er_top *top, size_t at, int64_t item, float utility, const float *probability) {
    top->item[at] = item;
    top->utility[at] = utility;
    for (size_t t = 0; top->probability && t < top->tasks; t++)
        top->probability[at * top->tasks + t] = probability[t * BLOCK];
}

/* `probability`: one task's follows another's after BLOCK floats. */
void er_push(er_top *top, int64_t item, float utility, const float *probability) {
    if (top->size < top->most) {
        size_t at = top->size++;
        put(top, at, item, utility, probability);
        for (; at && after(top, at, (at - 1) / 2); at = (at - 1) / 2) exchange(top, at, (at - 1) / 2);
    } else if (utility > top->utility[0] || (utility == top->utility[0] && item < top->item[0])) {
        put(top, 0, item, utility, probability);
        sink(top, top->size);
    }
}

/* Take the worst away. */
int64_t er_pop(er_top *top, float *utility) {
    int64_t item = top->item[0];
    *utility = top->utility[0];
    exchange(top, 0, --top->size);
    sink(top, top->size);
    return item;
}

/* Bring the entries into the order of a list, best first. */
void er_sort(er_top *top) {
    for (size_t size = top->size; size > 1;) {
        exchange(top, 0, --size);
        sink(top, size);
    }
}
