/* Cuts the power under a process: an LD_PRELOAD library that forgets what was not synced.
 *
 * It watches every change of files below one directory. A change is durable once its file was synced (fsync, fdatasync);
 * a new, renamed or removed name is durable once its directory was synced. At the N-th watched call the power goes: all
 * that is not durable is undone, some of it is left in place at random (a disk may have written it already), and the
 * process kills itself with SIGKILL.
 *
 * Environment:
 *   POWER_LOSS_DIR          the directory (absolute, without symbolic links); without it the library does nothing
 *   POWER_LOSS_AFTER        the number N of the watched call at which the power goes; 0 or absent: never
 *   POWER_LOSS_SEED         chooses what is left in place: nothing, everything, or each change by its own coin
 *   POWER_LOSS_IGNORE_SYNC  when set, syncing is switched off: the calls succeed and make nothing durable
 *
 * Left out: files ending in "-shm" (shared memory of SQLite, made anew after a crash), writes through mmap (there are
 * none besides), torn sectors. Raw system calls go unseen, so the code under test has to sync through libc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS = 65536 };

enum kind { WRITE, RESIZE, CREATE, RENAME, UNLINK };

/* One change that is not durable yet. */
struct change {
    enum kind kind;
    dev_t dev;
    ino_t ino;            /* the file; for names: of the directory */
    char *path, *to;      /* where it is; RENAME: from and to */
    char *backup;         /* a second name of what a RENAME or UNLINK took away */
    off_t offset, size_before, size_after;
    char *before, *after; /* WRITE and RESIZE: bytes at the offset */
    size_t before_len, after_len;
    struct change *next, *previous;
};

static char root[PATH_MAX];
static size_t root_len;
static long calls_left;
static uint64_t seed;
static int ignores_sync, is_active;
static struct change *first, *last;
static unsigned char watched[FDS]; /* 0 unknown, 1 watched, 2 not */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static unsigned backups;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void) {
    const char *dir = getenv("POWER_LOSS_DIR"), *after = getenv("POWER_LOSS_AFTER"), *s = getenv("POWER_LOSS_SEED");
    if (!dir || !*dir) return;
    snprintf(root, sizeof root, "%s", dir);
    root_len = strlen(root);
    calls_left = after ? atol(after) : 0;
    seed = s ? strtoull(s, NULL, 10) : 1;
    ignores_sync = getenv("POWER_LOSS_IGNORE_SYNC") != NULL;
    is_active = 1;
}

static uint64_t next_random(void) {
    seed += 0x9e3779b97f4a7c15ULL;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static int is_below_root(const char *path) {
    size_t len = strlen(path);
    if (len >= 4 && !strcmp(path + len - 4, "-shm")) return 0;
    return !strncmp(path, root, root_len) && (path[root_len] == '/' || path[root_len] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, PATH_MAX - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return 1;
}

static int is_watched(int fd) {
    if (!is_active || fd < 0 || fd >= FDS) return 0;
    if (!watched[fd]) {
        char path[PATH_MAX];
        watched[fd] = path_of(fd, path) && is_below_root(path) ? 1 : 2;
    }
    return watched[fd] == 1;
}

/* The directory that a name is in, by inode: names become durable with it. */
static void parent_of(const char *path, struct change *change) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash) *slash = 0;
    struct stat st;
    if (!stat(parent, &st)) change->dev = st.st_dev, change->ino = st.st_ino;
}

static struct change *add(enum kind kind) {
    struct change *change = calloc(1, sizeof *change);
    change->kind = kind;
    change->previous = last;
    if (last) last->next = change; else first = change;
    last = change;
    return change;
}

static void drop(struct change *change) {
    if (change->previous) change->previous->next = change->next; else first = change->next;
    if (change->next) change->next->previous = change->previous; else last = change->previous;
    if (change->backup) { REAL(unlink)(change->backup); free(change->backup); }
    free(change->path); free(change->to); free(change->before); free(change->after);
    free(change);
}

static void write_all(int fd, const char *bytes, size_t len, off_t offset) {
    while (len > 0) {
        ssize_t done = REAL(pwrite)(fd, bytes, len, offset);
        if (done <= 0) return;
        bytes += done; len -= done; offset += done;
    }
}

static void undo(struct change *c) {
    switch (c->kind) {
    case WRITE: case RESIZE: {
        int fd = REAL(open)(c->path, O_RDWR);
        if (fd < 0) return;
        if (c->before_len) write_all(fd, c->before, c->before_len, c->offset);
        if (REAL(ftruncate)(fd, c->size_before)) { /* nothing to be done about it */ }
        REAL(close)(fd);
        return;
    }
    case CREATE: REAL(unlink)(c->path); return;
    case RENAME:
        REAL(rename)(c->to, c->path);
        if (c->backup) REAL(rename)(c->backup, c->to);
        return;
    case UNLINK: if (c->backup) REAL(rename)(c->backup, c->path); return;
    }
}

static void redo(struct change *c) {
    if (c->kind != WRITE && c->kind != RESIZE) return;
    int fd = REAL(open)(c->path, O_RDWR);
    if (fd < 0) return;
    if (c->kind == WRITE) write_all(fd, c->after, c->after_len, c->offset);
    else if (REAL(ftruncate)(fd, c->size_after)) { /* as above */ }
    REAL(close)(fd);
}

/* Names first appear, then are filled: undone from the newest to the oldest, redone the other way round. */
static void cut_power(void) {
    uint64_t mode = next_random() % 3; /* 0: nothing is left in place, 1: everything, 2: each by its coin */
    if (mode != 1)
        for (struct change *c = last; c; c = c->previous) undo(c);
    if (mode == 2)
        for (struct change *c = first; c; c = c->next)
            if (next_random() & 1) redo(c);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a watched call, with the turn taken; the power may go before it happens. */
static void count(void) {
    if (calls_left > 0 && --calls_left == 0) cut_power();
}

static void note_range(int fd, enum kind kind, off_t offset, size_t len, const char *after, off_t size_after) {
    struct stat st;
    char path[PATH_MAX];
    if (fstat(fd, &st) || !path_of(fd, path)) return;
    struct change *c = add(kind);
    c->dev = st.st_dev; c->ino = st.st_ino;
    c->path = strdup(path);
    c->offset = offset; c->size_before = st.st_size; c->size_after = size_after;
    if (offset < st.st_size) {
        size_t kept = (size_t)(st.st_size - offset) < len ? (size_t)(st.st_size - offset) : len;
        c->before = malloc(kept ? kept : 1);
        int own = REAL(open)(path, O_RDONLY); /* the caller's may be write-only */
        ssize_t got = own < 0 ? -1 : pread(own, c->before, kept, offset);
        if (own >= 0) REAL(close)(own);
        c->before_len = got > 0 ? (size_t)got : 0;
    }
    if (after) { c->after = malloc(len ? len : 1); memcpy(c->after, after, len); c->after_len = len; }
}

static void note_write(int fd, const void *bytes, size_t len, off_t offset) {
    count();
    note_range(fd, WRITE, offset, len, bytes, 0);
}

static off_t write_offset(int fd) {
    if (fcntl(fd, F_GETFL) & O_APPEND) {
        struct stat st;
        return fstat(fd, &st) ? 0 : st.st_size;
    }
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t len) {
    if (!is_watched(fd)) return REAL(write)(fd, bytes, len);
    pthread_mutex_lock(&turn);
    note_write(fd, bytes, len, write_offset(fd));
    ssize_t done = REAL(write)(fd, bytes, len);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) {
    if (!is_watched(fd)) return REAL(pwrite)(fd, bytes, len, offset);
    pthread_mutex_lock(&turn);
    note_write(fd, bytes, len, offset);
    ssize_t done = REAL(pwrite)(fd, bytes, len, offset);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset) { return pwrite(fd, bytes, len, offset); }

/* As single writes: callers have to take short writes anyway. */
ssize_t writev(int fd, const struct iovec *parts, int count_of_parts) {
    if (!is_watched(fd)) return REAL(writev)(fd, parts, count_of_parts);
    for (int i = 0; i < count_of_parts; i++)
        if (parts[i].iov_len) return write(fd, parts[i].iov_base, parts[i].iov_len);
    return 0;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count_of_parts, off_t offset) {
    if (!is_watched(fd)) return REAL(pwritev)(fd, parts, count_of_parts, offset);
    for (int i = 0; i < count_of_parts; i++)
        if (parts[i].iov_len) return pwrite(fd, parts[i].iov_base, parts[i].iov_len, offset);
    return 0;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, off_t offset) { return pwritev(fd, parts, n, offset); }

int ftruncate(int fd, off_t size) {
    if (!is_watched(fd)) return REAL(ftruncate)(fd, size);
    pthread_mutex_lock(&turn);
    count();
    struct stat st;
    if (!fstat(fd, &st)) note_range(fd, RESIZE, size, st.st_size > size ? (size_t)(st.st_size - size) : 0, NULL, size);
    int done = REAL(ftruncate)(fd, size);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

/* Once a new name is durable, what was written under the old one is found under it. */
static void settle_name(struct change *renamed) {
    for (struct change *c = first; c && c != renamed; c = c->next)
        if (c->kind <= RESIZE && !strcmp(c->path, renamed->path)) {
            free(c->path);
            c->path = strdup(renamed->to);
        }
}

static int sync_fd(int fd, int (*sync)(int)) {
    if (!is_watched(fd)) return sync(fd);
    pthread_mutex_lock(&turn);
    count();
    struct stat st;
    if (!ignores_sync && !fstat(fd, &st)) {
        for (struct change *c = first, *next; c; c = next) {
            next = c->next;
            if (c->dev != st.st_dev || c->ino != st.st_ino) continue;
            if (c->kind == RENAME) settle_name(c);
            drop(c);
        }
    }
    pthread_mutex_unlock(&turn);
    return 0; /* the real disk is never asked: what it has seen does not matter here */
}

int fsync(int fd) { return sync_fd(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_fd(fd, REAL(fdatasync)); }

static char *absolute(int dirfd, const char *path) {
    char base[PATH_MAX], full[PATH_MAX * 2];
    if (path[0] == '/') snprintf(full, sizeof full, "%s", path);
    else {
        if (dirfd == AT_FDCWD ? !getcwd(base, sizeof base) : !path_of(dirfd, base)) return NULL;
        snprintf(full, sizeof full, "%s/%s", base, path);
    }
    return strdup(full);
}

static int open_watched(int dirfd, const char *path, int flags, mode_t mode) {
    char *full = is_active ? absolute(dirfd, path) : NULL;
    if (!full || !is_below_root(full)) {
        free(full);
        int fd = REAL(openat)(dirfd, path, flags, mode);
        if (fd >= 0 && fd < FDS) watched[fd] = 0;
        return fd;
    }
    pthread_mutex_lock(&turn);
    int is_new = (flags & O_CREAT) && access(full, F_OK) != 0;
    if (!is_new && (flags & O_TRUNC)) {
        int old = REAL(open)(full, O_RDWR);
        struct stat st;
        if (old >= 0 && !fstat(old, &st) && st.st_size > 0) { count(); note_range(old, RESIZE, 0, st.st_size, NULL, 0); }
        if (old >= 0) REAL(close)(old);
    }
    if (is_new) count();
    int fd = REAL(openat)(dirfd, path, flags, mode);
    if (fd >= 0 && is_new) {
        struct change *c = add(CREATE);
        c->path = strdup(full);
        parent_of(full, c);
    }
    if (fd >= 0 && fd < FDS) watched[fd] = 0;
    pthread_mutex_unlock(&turn);
    free(full);
    return fd;
}

static mode_t mode_of(int flags, va_list list) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; }

#define OPEN_LIKE(name)                                        \
    int name(const char *path, int flags, ...) {               \
        va_list list;                                          \
        va_start(list, flags);                                 \
        mode_t mode = mode_of(flags, list);                    \
        va_end(list);                                          \
        return open_watched(AT_FDCWD, path, flags, mode);      \
    }
OPEN_LIKE(open)
OPEN_LIKE(open64)

#define OPENAT_LIKE(name)                                      \
    int name(int dirfd, const char *path, int flags, ...) {    \
        va_list list;                                          \
        va_start(list, flags);                                 \
        mode_t mode = mode_of(flags, list);                    \
        va_end(list);                                          \
        return open_watched(dirfd, path, flags, mode);         \
    }
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

int close(int fd) {
    if (fd >= 0 && fd < FDS) watched[fd] = 0;
    return REAL(close)(fd);
}

/* Keeps what a name stood for under a second name beside the root. */
static char *back_up(const char *path) {
    char backup[PATH_MAX + 64];
    snprintf(backup, sizeof backup, "%s.lost-%d-%u", root, getpid(), backups++);
    return link(path, backup) ? NULL : strdup(backup);
}

int rename(const char *from, const char *to) {
    char *full_from = is_active ? absolute(AT_FDCWD, from) : NULL, *full_to = is_active ? absolute(AT_FDCWD, to) : NULL;
    if (!full_from || !full_to || !is_below_root(full_to)) { free(full_from); free(full_to); return REAL(rename)(from, to); }
    pthread_mutex_lock(&turn);
    count();
    struct change *c = add(RENAME);
    c->backup = back_up(full_to);
    c->path = full_from; c->to = full_to;
    parent_of(full_to, c);
    int done = REAL(rename)(from, to);
    if (done) drop(c);
    pthread_mutex_unlock(&turn);
    return done;
}

int unlink(const char *path) {
    char *full = is_active ? absolute(AT_FDCWD, path) : NULL;
    if (!full || !is_below_root(full)) { free(full); return REAL(unlink)(path); }
    pthread_mutex_lock(&turn);
    count();
    struct change *c = add(UNLINK);
    c->backup = back_up(full);
    c->path = full;
    parent_of(full, c);
    int done = REAL(unlink)(path);
    if (done) drop(c);
    pthread_mutex_unlock(&turn);
    return done;
}
