/* Preloaded into a process, it makes the process's own calls to the system fail, or kills it in the middle of one; writes
 * down what reaches the disk; exchanges a file just before it is opened; and sets the clock. Linux. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NONE, KILL_BEFORE, KILL_HALF, KILL_AFTER, NO_SPACE, IO_ERROR };

static char folder[4096];  /* only calls on files below it count */
static long calls, at = -1;
static int mode, lasting, record = -1, busy;
static char swap_from[4096], swap_to[4096];
static long swap_at = -1, opens;
static long long clock_s;

static int below(const char *path) {
    char whole[8192], here[4096];
    if (!*folder || !path) return 0;
    if (*path != '/' && getcwd(here, sizeof here)) {
        snprintf(whole, sizeof whole, "%s/%s", here, path);
        path = whole;
    }
    return !strncmp(path, folder, strlen(folder));
}

static const char *name_of(int fd) {
    static char path[4096];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    return path;
}

static void die(void) { kill(getpid(), SIGKILL); pause(); }

/* What is to happen to this call: 0 nothing, -1 it fails with errno set, or KILL_HALF or KILL_AFTER. */
static int strikes(int counts) {
    if (!counts || busy || at < 0) return 0;
    long number = ++calls;
    if (number != at && !(lasting && number > at)) return 0;
    if (mode == KILL_BEFORE) die();
    if (mode == NO_SPACE || mode == IO_ERROR) {
        errno = mode == NO_SPACE ? ENOSPC : EIO;
        return -1;
    }
    return mode;
}

static ssize_t (*raw_write)(int, const void *, size_t);

/* One step on the record: operation, path, offset or length, bytes. */
static void note(char op, const char *path, long long where, const void *bytes, size_t size) {
    if (record < 0 || busy || (op != 'A' && !below(path))) return;
    busy = 1;
    if (!raw_write) raw_write = dlsym(RTLD_NEXT, "write");
    unsigned length = strlen(path);
    unsigned long long n = bytes ? size : 0;
    char head[21];
    head[0] = op;
    memcpy(head + 1, &length, 4);
    memcpy(head + 5, &where, 8);
    memcpy(head + 13, &n, 8);
    if (raw_write(record, head, 21) < 0 || raw_write(record, path, length) < 0 || (n && raw_write(record, bytes, n) < 0))
        abort();
    busy = 0;
}

void fault_arm(const char *where, long number, int what, int last) {
    snprintf(folder, sizeof folder, "%s", where);
    calls = 0, at = number, mode = what, lasting = last;
}
void fault_off(void) { at = swap_at = -1; }
long fault_calls(void) { return calls; }
void fault_record(const char *where, int fd) {
    snprintf(folder, sizeof folder, "%s", where);
    record = fd;
}
void fault_acknowledge(long number) { note('A', "", number, NULL, 0); }
void fault_swap(const char *where, long number, const char *from, const char *to) {
    snprintf(folder, sizeof folder, "%s", where);
    snprintf(swap_from, sizeof swap_from, "%s", from);
    snprintf(swap_to, sizeof swap_to, "%s", to);
    swap_at = number, opens = 0;
}
long fault_opens(void) { return opens; }
void fault_clock(long long seconds) { clock_s = seconds; }

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

/* A call that moves bytes; a half is what a kill leaves of it. */
#define WRITES(name, extra, given, place) \
    ssize_t name(int fd, const void *bytes, size_t size extra) { \
        REAL(ssize_t, name, int, const void *, size_t extra); \
        if (at < 0 && record < 0) return real(fd, bytes, size given); \
        int what = strikes(below(name_of(fd))); \
        if (what < 0) return -1; \
        if (what == KILL_HALF) { real(fd, bytes, size / 2 given); die(); } \
        ssize_t done = real(fd, bytes, size given); \
        if (done > 0) note('W', name_of(fd), place, bytes, done); \
        if (what == KILL_AFTER) die(); \
        return done; \
    }
#define AND ,
WRITES(write, , , lseek(fd, 0, SEEK_CUR) - done) /* after it: a file that only grows is written at its end */
WRITES(pwrite, AND off_t offset, AND offset, offset)
WRITES(pwrite64, AND off64_t offset, AND offset, offset)

#define READS(name, extra, given) \
    ssize_t name(int fd, void *bytes, size_t size extra) { \
        REAL(ssize_t, name, int, void *, size_t extra); \
        if (at < 0 || mode != IO_ERROR) return real(fd, bytes, size given); \
        return strikes(below(name_of(fd))) < 0 ? -1 : real(fd, bytes, size given); \
    }
READS(read, , )
READS(pread, AND off_t offset, AND offset)
READS(pread64, AND off64_t offset, AND offset)

#define SENDS(name, type) \
    ssize_t name(int to, int from, type *offset, size_t size) { \
        REAL(ssize_t, name, int, int, type *, size_t); \
        int what = strikes(at >= 0 && below(name_of(to))); \
        if (what < 0) return -1; \
        if (record >= 0 && below(name_of(to))) { errno = ENOSYS; return -1; } /* it is copied by write, then */ \
        ssize_t done = real(to, from, offset, what == KILL_HALF ? size / 2 : size); \
        if (what) die(); \
        return done; \
    }
SENDS(sendfile, off_t)
SENDS(sendfile64, off64_t)

#define TRUNCATES(name, type) \
    int name(int fd, type length) { \
        REAL(int, name, int, type); \
        int what = strikes(at >= 0 && below(name_of(fd))); \
        if (what < 0) return -1; \
        int done = real(fd, length); \
        if (record >= 0 && !done) note('T', name_of(fd), length, NULL, 0); \
        if (what) die(); \
        return done; \
    }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

#define SYNCS(name) \
    int name(int fd) { \
        REAL(int, name, int); \
        int what = strikes(at >= 0 && below(name_of(fd))); \
        if (what < 0) return -1; \
        int done = real(fd); \
        if (record >= 0 && !done) note('S', name_of(fd), 0, NULL, 0); \
        if (what) die(); \
        return done; \
    }
SYNCS(fsync)
SYNCS(fdatasync)

#define NAMES(name, parameters, arguments, path, op, bytes, size) \
    int name parameters { \
        static int (*real) parameters; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        int what = strikes(at >= 0 && below(path)); \
        if (what < 0) return -1; \
        int done = real arguments; \
        if (record >= 0 && !done) note(op, path, 0, bytes, size); \
        if (what) die(); \
        return done; \
    }
NAMES(rename, (const char *from, const char *to), (from, to), from, 'R', to, strlen(to))
NAMES(unlink, (const char *path), (path), path, 'U', NULL, 0)
NAMES(mkdir, (const char *path, mode_t how), (path, how), path, 'D', NULL, 0)
NAMES(rmdir, (const char *path), (path), path, 'X', NULL, 0)

int unlinkat(int directory, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    char whole[8192];
    if (*path == '/' || directory == AT_FDCWD) snprintf(whole, sizeof whole, "%s", path);
    else snprintf(whole, sizeof whole, "%s/%s", name_of(directory), path);
    int what = strikes(at >= 0 && below(whole));
    if (what < 0) return -1;
    int done = real(directory, path, flags);
    if (record >= 0 && !done) note(flags & AT_REMOVEDIR ? 'X' : 'U', whole, 0, NULL, 0);
    if (what) die();
    return done;
}

#define OPENS(name, first, path_first) \
    int name(first const char *path, int flags, ...) { \
        static int (*real)(first const char *, int, ...); \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        va_list list; \
        va_start(list, flags); \
        mode_t how = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
        va_end(list); \
        int counts = !busy && (at >= 0 || swap_at >= 0 || record >= 0) && below(path); \
        if (counts && swap_at >= 0 && ++opens == swap_at) rename(swap_from, swap_to); \
        int makes = flags & O_CREAT && access(path, F_OK); /* opening what is there takes no room */ \
        int writes = mode == NO_SPACE ? makes : flags & (O_CREAT | O_WRONLY | O_RDWR); \
        int what = strikes(counts && (writes || mode == IO_ERROR)); \
        if (what < 0) return -1; \
        int made = record >= 0 && (flags & O_CREAT) && access(path, F_OK); \
        int cut = record >= 0 && (flags & O_TRUNC) && !access(path, F_OK); \
        int fd = real(path_first path, flags, how); \
        if (made && fd >= 0) note('C', path, 0, NULL, 0); \
        if (cut && fd >= 0) note('T', path, 0, NULL, 0); \
        if (what) die(); \
        return fd; \
    }
OPENS(open, , )
OPENS(open64, , )
OPENS(openat, int directory AND, directory AND)
OPENS(openat64, int directory AND, directory AND)

int clock_gettime(clockid_t which, struct timespec *now) {
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int done = real(which, now);
    if (!done && which == CLOCK_REALTIME) now->tv_sec += clock_s;
    return done;
}

/* A process that cannot call these functions is told by its environment: "FOLDER:FILE" records into the file. */
__attribute__((constructor)) static void from_environment(void) {
    const char *told = getenv("FAULT_RECORD"), *file = told ? strrchr(told, ':') : NULL;
    if (!file) return;
    static int (*real)(const char *, int, ...);
    if (!real) real = dlsym(RTLD_NEXT, "open");
    snprintf(folder, sizeof folder, "%.*s", (int)(file - told), told);
    record = real(file + 1, O_WRONLY | O_CREAT | O_APPEND, 0600);
}
