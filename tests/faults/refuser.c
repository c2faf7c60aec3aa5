/* A disk that refuses while a test says so: loaded into a process with LD_PRELOAD, for tests on Linux.
 *
 * $REFUSE_CONTROL names a file of 16 bytes that both map: how many more bytes may be written below $REFUSE_ROOT, and the
 * errno of what goes beyond (8 bytes each, this machine's order). An errno of 0 refuses nothing. A write that begins within
 * the room is cut short where it ends, as by a disk that is filling up. With EROFS nothing is opened for writing either.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILES_MAX 4096
#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define MODE(flags) mode_t mode = 0; if ((flags) & O_CREAT) { va_list args; va_start(args, flags); mode = va_arg(args, mode_t); va_end(args); }

static char watched[FILES_MAX];
static volatile int64_t *control;
static const char *root;

static void begin(void) {
    REAL(open);
    const char *path = getenv("REFUSE_CONTROL");
    if (control || !path) return;
    root = getenv("REFUSE_ROOT");
    int fd = real(path, O_RDWR | O_CLOEXEC);
    void *memory = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) abort();
    close(fd);
    control = memory;
}

/* How many of so many bytes may be written; -1 with errno set when none. */
static ssize_t room(int fd, size_t size) {
    if (fd < 0 || fd >= FILES_MAX || !watched[fd] || !control[1]) return (ssize_t)size;
    if (control[0] <= 0) {
        errno = (int)control[1];
        return -1;
    }
    if ((int64_t)size > control[0]) size = (size_t)control[0];
    control[0] -= (int64_t)size;
    return (ssize_t)size;
}

static int refused(const char *path, int flags) {
    begin();
    if (!control || control[1] != EROFS || strncmp(path, root, strlen(root))) return 0;
    return (flags & O_ACCMODE) != O_RDONLY;
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < FILES_MAX) watched[fd] = control && !strncmp(path, root, strlen(root));
    return fd;
}

#define OPEN(name, call) \
    if (refused(path, flags)) { errno = EROFS; return -1; } \
    return opened(call, path);

int open(const char *path, int flags, ...) { REAL(open); MODE(flags) OPEN(open, real(path, flags, mode)) }
int open64(const char *path, int flags, ...) { REAL(open64); MODE(flags) OPEN(open64, real(path, flags, mode)) }

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < FILES_MAX) watched[fd] = 0;
    return real(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    ssize_t most = room(fd, size);
    return most < 0 ? -1 : real(fd, data, (size_t)most);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    ssize_t most = room(fd, size);
    return most < 0 ? -1 : real(fd, data, (size_t)most, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

#define SYNC(name) int name(int fd) { REAL(name); return room(fd, 1) < 0 ? -1 : real(fd); }
SYNC(fsync)
SYNC(fdatasync)
