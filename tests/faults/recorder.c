/* What a process asks of the disk, in order: loaded into it with LD_PRELOAD, for tests on Linux.
 *
 * Of files below $RECORD_ROOT it writes one record for each open, write, truncation, synchronization, renaming and
 * removal to $RECORD_LOG: kind (1 byte), length of the name, offset, length of the data (8 bytes each, this machine's
 * order), the name, the data. A record is written after the call has succeeded, in the order of the calls; a lock keeps
 * two threads from mixing theirs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *names[FILES_MAX];
static int log_fd = -1;
static const char *root;

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t raw_write(int fd, const void *data, size_t size) {
    REAL(write);
    return real(fd, data, size);
}

static void begin(void) {
    REAL(open);
    if (log_fd >= 0) return;
    root = getenv("RECORD_ROOT");
    const char *path = getenv("RECORD_LOG");
    if (root && path) log_fd = real(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void record(char kind, const char *name, uint64_t offset, const void *data, uint64_t size) {
    uint64_t head[3] = {strlen(name), offset, size};
    if (log_fd < 0) return;
    if (raw_write(log_fd, &kind, 1) != 1 || raw_write(log_fd, head, sizeof head) != sizeof head
        || raw_write(log_fd, name, head[0]) != (ssize_t)head[0]
        || (size && raw_write(log_fd, data, size) != (ssize_t)size))
        abort();
}

static int opened(int fd, const char *path) {
    char full[4096];
    int before = errno;
    if (fd < 0 || fd >= FILES_MAX) return fd;
    pthread_mutex_lock(&lock);
    begin();
    free(names[fd]);
    names[fd] = NULL;
    if (root && realpath(path, full) && !strncmp(full, root, strlen(root))) {
        names[fd] = strdup(full);
        record('o', full, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = before;
    return fd;
}

static void noted(int fd, char kind, uint64_t offset, const void *data, uint64_t size) {
    int before = errno;
    if (fd < 0 || fd >= FILES_MAX || !names[fd]) return;
    pthread_mutex_lock(&lock);
    if (names[fd]) record(kind, names[fd], offset, data, size);
    pthread_mutex_unlock(&lock);
    errno = before;
}

#define MODE(flags) mode_t mode = 0; if ((flags) & O_CREAT) { va_list args; va_start(args, flags); mode = va_arg(args, mode_t); va_end(args); }

int open(const char *path, int flags, ...) { REAL(open); MODE(flags) return opened(real(path, flags, mode), path); }
int open64(const char *path, int flags, ...) { REAL(open64); MODE(flags) return opened(real(path, flags, mode), path); }

int openat(int at, const char *path, int flags, ...) {
    REAL(openat);
    MODE(flags)
    return opened(real(at, path, flags, mode), path);
}

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < FILES_MAX) {
        pthread_mutex_lock(&lock);
        free(names[fd]);
        names[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t done = raw_write(fd, data, size);
    if (done > 0 && fd >= 0 && fd < FILES_MAX && names[fd])
        noted(fd, 'w', (uint64_t)lseek(fd, 0, SEEK_CUR) - (uint64_t)done, data, (uint64_t)done);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    ssize_t done = real(fd, data, size, offset);
    if (done > 0) noted(fd, 'w', (uint64_t)offset, data, (uint64_t)done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

#define CALL(name, kind, size_of, ...) \
    int done = real(__VA_ARGS__); \
    if (!done) noted(fd, kind, size_of, NULL, 0); \
    return done;

int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); CALL(ftruncate64, 't', (uint64_t)size, fd, size) }
int ftruncate(int fd, off_t size) { REAL(ftruncate); CALL(ftruncate, 't', (uint64_t)size, fd, size) }
int fsync(int fd) { REAL(fsync); CALL(fsync, 's', 0, fd) }
int fdatasync(int fd) { REAL(fdatasync); CALL(fdatasync, 's', 0, fd) }

int rename(const char *from, const char *to) {
    char source[4096], target[4096];
    REAL(rename);
    int known = realpath(from, source) != NULL;
    int done = real(from, to);
    pthread_mutex_lock(&lock);
    begin();
    if (!done && known && root && realpath(to, target) && !strncmp(target, root, strlen(root)))
        record('r', source, 0, target, strlen(target));
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) {
    char full[4096];
    REAL(unlink);
    int known = realpath(path, full) != NULL;
    int done = real(path);
    pthread_mutex_lock(&lock);
    begin();
    if (!done && known && root && !strncmp(full, root, strlen(root))) record('u', full, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}
