/* edgerec: recommends from the student.bin of a bundle. Freestanding C99: no libc, no allocation, no global state.
 *
 *     size_t need;
 *     edgerec_engine *engine;
 *     int code = edgerec_measure(bytes, size, &need);
 *     if (!code) code = edgerec_open(bytes, size, arena, need, &engine);     // arena: need bytes
 *     size_t per_thread = edgerec_workspace_bytes(engine, 256);
 *     edgerec_workspace *own;
 *     if (!code) code = edgerec_workspace_open(engine, 256, memory, per_thread, &own);
 *     if (!code) code = edgerec_recommend(engine, own, &request, 10, items, utilities, NULL, NULL);
 *     if (code) puts(edgerec_message(code));
 *
 * `bytes` must stay as they are while the engine is used: the item table is read where it lies. A mapped file that
 * another process may cut off has to be copied first, since reading behind its end kills the process.
 * An engine may be used by several threads at once, a workspace by one at a time.
 * Indices are int64_t, as in the bundle's ONNX graphs; numbers are IEEE 754 binary32. */
#ifndef EDGEREC_H
#define EDGEREC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define EDGEREC_API __declspec(dllexport)
#elif defined(__GNUC__)
#define EDGEREC_API __attribute__((visibility("default")))
#else
#define EDGEREC_API
#endif

#define EDGEREC_ALIGNMENT 64 /* of the file's bytes, of the arena and of a workspace */

enum {
    EDGEREC_OK = 0,
    EDGEREC_NOT_A_STUDENT, /* the bytes are no student.bin */
    EDGEREC_VERSION,       /* a student.bin of another format version */
    EDGEREC_DAMAGED,       /* a width, section or number of the file is out of bounds */
    EDGEREC_ALIGN,         /* an address is no multiple of EDGEREC_ALIGNMENT */
    EDGEREC_MEMORY,        /* the arena or workspace is too small */
    EDGEREC_ARITHMETIC,    /* this build or processor does not compute as the format says */
    EDGEREC_REQUEST,       /* an index of the request is out of range, or a number is not finite or negative */
    EDGEREC_UNRELATED,     /* the student has no related task */
    EDGEREC_KERNEL         /* this processor has no such kernel */
};

typedef struct edgerec_engine edgerec_engine;
typedef struct edgerec_workspace edgerec_workspace;

/* Widths of a student, for callers that fill arrays. */
typedef struct {
    int64_t items;
    int32_t dim, tasks, categorical, numeric, kinds;
    int32_t related; /* 1 if edgerec_similar works */
} edgerec_shape;

/* What a request brings; the arrays are only read. `exclude` may hold an item twice. */
typedef struct {
    const int64_t *history, *history_kind;                        /* distinct past items, oldest first */
    const float *history_count, *history_age_h, *history_interval_h;
    size_t events;                                                /* of the five arrays above */
    const int64_t *categorical;                                   /* shape.categorical */
    const float *numeric;                                         /* shape.numeric */
    const float *weights;                                         /* shape.tasks: utility = sum of weight x probability */
    const int64_t *exclude;
    size_t excluded;
} edgerec_request;

/* Bytes of the arena that `edgerec_open` needs for this file. */
EDGEREC_API int edgerec_measure(const void *bytes, size_t size, size_t *arena);

/* Check every number of the file that could lead out of bounds, choose the fastest kernel that gives the known
 * answers, and put the engine into the arena. */
EDGEREC_API int edgerec_open(const void *bytes, size_t size, void *arena, size_t arena_bytes, edgerec_engine **engine);

EDGEREC_API void edgerec_describe(const edgerec_engine *engine, edgerec_shape *shape);

/* Bytes of a workspace for requests of at most so many events; 0 if there can be no such workspace. */
EDGEREC_API size_t edgerec_workspace_bytes(const edgerec_engine *engine, size_t most_events);
EDGEREC_API int edgerec_workspace_open(const edgerec_engine *engine, size_t most_events, void *memory, size_t bytes,
                                       edgerec_workspace **workspace);

/* The k items of highest utility, best first; of equal ones the lower index comes first. An excluded item has utility
 * -infinity and comes after all others. 1 <= k <= items.
 * item, utility: k. probability: k x tasks, or NULL. reason: k x events, how much each past item added, or NULL. */
EDGEREC_API int edgerec_recommend(const edgerec_engine *engine, edgerec_workspace *own, const edgerec_request *request,
                                  size_t k, int64_t *item, float *utility, float *probability, float *reason);

/* The same for given candidates, in their order; those of the catalogue's order are fastest. `exclude` is not read. */
EDGEREC_API int edgerec_score(const edgerec_engine *engine, edgerec_workspace *own, const edgerec_request *request,
                              const int64_t *candidate, size_t candidates, float *utility, float *probability,
                              float *reason);

/* The k items that most likely share a session with another one, and how likely. */
EDGEREC_API int edgerec_similar(const edgerec_engine *engine, edgerec_workspace *own, int64_t item,
                                const int64_t *exclude, size_t excluded, size_t k, int64_t *related, float *score);

/* Rows of the item table: count x dim. */
EDGEREC_API int edgerec_vectors(const edgerec_engine *engine, const int64_t *item, size_t count, float *vector);

/* One line for a code. */
EDGEREC_API const char *edgerec_message(int code);

/* The kernel in use, such as "avx2"; and another one of this processor, for tests: all give the same bits. */
EDGEREC_API const char *edgerec_kernel(const edgerec_engine *engine);
EDGEREC_API int edgerec_use_kernel(edgerec_engine *engine, const char *name);

#ifdef __cplusplus
}
#endif
#endif
