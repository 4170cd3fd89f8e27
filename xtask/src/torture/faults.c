/* Preloaded into a program: its file-system calls fail on purpose, and it tells where it is.
 *
 * Every call that names a path below TORTURE_UNDER, or works on a file opened there, is counted. With TORTURE_FAIL=N the N-th of
 * them fails with errno TORTURE_ERRNO in place of being made; with TORTURE_LASTING=1 so do all that follow it, but for those that
 * need no room where the errno is one of room. A file that fails to be closed is closed all the same, as by the kernel. TORTURE_UNDER=/ means every path but the system's own, and then
 * standard output counts too. TORTURE_LOG names a file that tells the calls: all of them without TORTURE_FAIL, else the first
 * that failed.
 *
 * With TORTURE_WHERE=FILE a thread that receives the signal SIGRTMIN + 7 writes its return addresses, less the address that the
 * program was loaded at, to FILE: a count and so many numbers, each of 8 bytes. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 65536, DEPTH = 256 };

static int ready, everything, lasting;
static long fail_at;
static int fail_with;
static char under[4096];
static size_t under_length;
static atomic_long calls;
static unsigned char open_below[FILES];
static int log_to = -1, where_to = -1;
static unsigned long loaded_at;

static int starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* Whether a path is one of those that count. */
static int below(const char *path) {
    char whole[8192];
    if (!ready || !path || !*path) return 0;
    if (path[0] != '/') {
        if (syscall(SYS_getcwd, whole, sizeof whole / 2) <= 0) return 0;
        size_t n = strlen(whole);
        snprintf(whole + n, sizeof whole - n, "/%s", path);
        path = whole;
    }
    if (everything) {
        static const char *system[] = {"/proc", "/sys", "/dev", "/usr", "/lib", "/etc", "/run", "/bin"};
        for (size_t i = 0; i < sizeof system / sizeof *system; i++)
            if (starts(path, system[i]) && !starts(path, "/dev/shm/")) return 0;
        return !strstr(path, ".so");
    }
    return starts(path, under) && (path[under_length] == 0 || path[under_length] == '/');
}

static int file_below(int fd) { return ready && fd >= 0 && fd < FILES && open_below[fd]; }

/* A name below a folder: of the two, the path where it is absolute. */
static int at_below(int dir, const char *path) {
    if (dir == AT_FDCWD || (path && path[0] == '/')) return below(path);
    return file_below(dir);
}

/* Whether a call takes room on the disk. */
static int takes_room(const char *name) {
    static const char *all[] = {"create", "write", "pwrite", "fsync", "fdatasync", "ftruncate", "fallocate", "mkdir",
                                "rename", "link", "copy_file_range", "sendfile"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (starts(name, all[i])) return 1;
    return 0;
}

/* Counts a call; whether it is to fail, errno then being set. */
static int fails(const char *name, const char *path, int fd) {
    long number = ++calls;
    int of_room = fail_with == ENOSPC || fail_with == EDQUOT;
    int stays = lasting && number > fail_at && (!of_room || takes_room(name));
    int hit = fail_at && (number == fail_at || stays);
    if (log_to >= 0 && (!fail_at || number == fail_at)) {
        char line[8400], link[64], of[4096] = "";
        if (!path && fd >= 0) {
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            long n = syscall(SYS_readlink, link, of, sizeof of - 1);
            of[n > 0 ? n : 0] = 0;
            path = of;
        }
        int n = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path ? path : "");
        if (n > 0) syscall(SYS_write, log_to, line, n);
    }
    if (hit) errno = fail_with;
    return hit;
}

static void note(int fd, int counts) {
    if (fd >= 0 && fd < FILES) open_below[fd] = counts;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define MODE(flags) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        MODE(flags) \
        int counts = below(path); \
        if (counts && fails(flags & O_CREAT ? "create" : "open", path, -1)) return -1; \
        int fd = real(path, flags, mode); \
        note(fd, counts); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        REAL(name); \
        MODE(flags) \
        int counts = at_below(dir, path); \
        if (counts && fails(flags & O_CREAT ? "createat" : "openat", path, dir)) return -1; \
        int fd = real(dir, path, flags, mode); \
        note(fd, counts); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    REAL(close);
    if (!file_below(fd)) return real(fd);
    int hit = fails("close", 0, fd);
    open_below[fd] = 0;
    int done = real(fd);
    if (!hit) return done;
    errno = fail_with;
    return -1;
}

/* Calls on a path, and on an open file. */
#define ON_PATH(result, failed, name, parameters, arguments) \
    result name parameters { \
        REAL(name); \
        if (below(path) && fails(#name, path, -1)) return failed; \
        return real arguments; \
    }
#define ON_FILE(result, name, parameters, arguments) \
    result name parameters { \
        REAL(name); \
        if (file_below(fd) && fails(#name, 0, fd)) return -1; \
        return real arguments; \
    }
#define AT(name, parameters, arguments) \
    int name parameters { \
        REAL(name); \
        if (at_below(dir, path) && fails(#name, path, dir)) return -1; \
        return real arguments; \
    }

ON_FILE(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n))
ON_FILE(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at))
ON_FILE(ssize_t, pread64, (int fd, void *to, size_t n, off64_t at), (fd, to, n, at))
ON_FILE(ssize_t, readv, (int fd, const struct iovec *to, int n), (fd, to, n))
ON_FILE(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n))
ON_FILE(ssize_t, pwrite, (int fd, const void *from, size_t n, off_t at), (fd, from, n, at))
ON_FILE(ssize_t, pwrite64, (int fd, const void *from, size_t n, off64_t at), (fd, from, n, at))
ON_FILE(ssize_t, writev, (int fd, const struct iovec *from, int n), (fd, from, n))
ON_FILE(int, fsync, (int fd), (fd))
ON_FILE(int, fdatasync, (int fd), (fd))
ON_FILE(int, ftruncate, (int fd, off_t n), (fd, n))
ON_FILE(int, ftruncate64, (int fd, off64_t n), (fd, n))
ON_FILE(int, fallocate, (int fd, int how, off_t at, off_t n), (fd, how, at, n))
ON_FILE(int, fallocate64, (int fd, int how, off64_t at, off64_t n), (fd, how, at, n))
ON_FILE(off_t, lseek, (int fd, off_t at, int from), (fd, at, from))
ON_FILE(off64_t, lseek64, (int fd, off64_t at, int from), (fd, at, from))
ON_FILE(int, flock, (int fd, int how), (fd, how))
ON_FILE(int, fstat, (int fd, struct stat *to), (fd, to))
ON_FILE(int, fstat64, (int fd, struct stat64 *to), (fd, to))
ON_FILE(int, fchmod, (int fd, mode_t mode), (fd, mode))
ON_PATH(int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, -1, unlink, (const char *path), (path))
ON_PATH(int, -1, rmdir, (const char *path), (path))
ON_PATH(int, -1, stat, (const char *path, struct stat *to), (path, to))
ON_PATH(int, -1, stat64, (const char *path, struct stat64 *to), (path, to))
ON_PATH(int, -1, lstat, (const char *path, struct stat *to), (path, to))
ON_PATH(int, -1, lstat64, (const char *path, struct stat64 *to), (path, to))
ON_PATH(int, -1, access, (const char *path, int how), (path, how))
ON_PATH(int, -1, chmod, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, -1, truncate, (const char *path, off_t n), (path, n))
ON_PATH(int, -1, truncate64, (const char *path, off64_t n), (path, n))
ON_PATH(ssize_t, -1, readlink, (const char *path, char *to, size_t n), (path, to, n))
ON_PATH(char *, NULL, realpath, (const char *path, char *to), (path, to))
AT(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
AT(unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
AT(fstatat, (int dir, const char *path, struct stat *to, int flags), (dir, path, to, flags))
AT(fstatat64, (int dir, const char *path, struct stat64 *to, int flags), (dir, path, to, flags))

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *to) {
    REAL(statx);
    const char *volatile name = path;
    int of_file = !name || !*path;
    int counts = of_file ? file_below(dir) : at_below(dir, path);
    if (counts && fails(of_file ? "fstatx" : "statx", of_file ? 0 : path, dir)) return -1;
    return real(dir, path, flags, mask, to);
}

int rename(const char *path, const char *to) {
    REAL(rename);
    if ((below(path) || below(to)) && fails("rename", to, -1)) return -1;
    return real(path, to);
}

int renameat(int dir, const char *path, int to_dir, const char *to) {
    REAL(renameat);
    if ((at_below(dir, path) || at_below(to_dir, to)) && fails("renameat", to, -1)) return -1;
    return real(dir, path, to_dir, to);
}

int renameat2(int dir, const char *path, int to_dir, const char *to, unsigned flags) {
    REAL(renameat2);
    if ((at_below(dir, path) || at_below(to_dir, to)) && fails("renameat2", to, -1)) return -1;
    return real(dir, path, to_dir, to, flags);
}

int linkat(int dir, const char *path, int to_dir, const char *to, int flags) {
    REAL(linkat);
    if ((at_below(dir, path) || at_below(to_dir, to)) && fails("linkat", to, -1)) return -1;
    return real(dir, path, to_dir, to, flags);
}

ssize_t copy_file_range(int fd, off64_t *at, int to, off64_t *to_at, size_t n, unsigned flags) {
    REAL(copy_file_range);
    if ((file_below(fd) || file_below(to)) && fails("copy_file_range", 0, to)) return -1;
    return real(fd, at, to, to_at, n, flags);
}

#define SENDFILE(name, offset) \
    ssize_t name(int to, int fd, offset *at, size_t n) { \
        REAL(name); \
        if ((file_below(fd) || file_below(to)) && fails("sendfile", 0, to)) return -1; \
        return real(to, fd, at, n); \
    }
SENDFILE(sendfile64, off64_t)
#undef sendfile
extern ssize_t sendfile(int, int, off_t *, size_t);
SENDFILE(sendfile, off_t)

DIR *opendir(const char *path) {
    REAL(opendir);
    int counts = below(path);
    if (counts && fails("opendir", path, -1)) return NULL;
    DIR *dir = real(path);
    if (dir) note(dirfd(dir), counts);
    return dir;
}

DIR *fdopendir(int fd) {
    REAL(fdopendir);
    if (file_below(fd) && fails("fdopendir", 0, fd)) return NULL;
    return real(fd);
}

struct dirent *readdir(DIR *dir) {
    REAL(readdir);
    if (file_below(dirfd(dir)) && fails("readdir", 0, dirfd(dir))) return NULL;
    return real(dir);
}

struct dirent64 *readdir64(DIR *dir) {
    REAL(readdir64);
    if (file_below(dirfd(dir)) && fails("readdir", 0, dirfd(dir))) return NULL;
    return real(dir);
}

/* It fails of no cause but a folder that is not open, and callers rely on that. */
int closedir(DIR *dir) {
    REAL(closedir);
    note(dirfd(dir), 0);
    return real(dir);
}

static int first_object(struct dl_phdr_info *info, size_t size, void *to) {
    (void)size;
    *(unsigned long *)to = info->dlpi_addr;
    return 1;
}

static void tell_where(int signal) {
    (void)signal;
    int before = errno;
    void *found[DEPTH];
    unsigned long out[DEPTH + 1];
    int n = backtrace(found, DEPTH);
    out[0] = n;
    for (int i = 0; i < n; i++) out[i + 1] = (unsigned long)found[i] - loaded_at;
    syscall(SYS_write, where_to, out, (n + 1) * sizeof *out);
    errno = before;
}

static int writing_to(const char *path) {
    return path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("TORTURE_UNDER"), *at = getenv("TORTURE_FAIL"), *with = getenv("TORTURE_ERRNO");
    const char *where = getenv("TORTURE_WHERE");
    log_to = writing_to(getenv("TORTURE_LOG"));
    if (where) {
        /* The first time it loads what it needs. */
        void *nothing[2];
        backtrace(nothing, 2);
        dl_iterate_phdr(first_object, &loaded_at);
        where_to = writing_to(where);
        struct sigaction action = {.sa_handler = tell_where, .sa_flags = SA_RESTART};
        sigaction(SIGRTMIN + 7, &action, NULL);
    }
    if (!folder || strlen(folder) >= sizeof under) return;
    strcpy(under, folder);
    under_length = strlen(under);
    everything = !strcmp(under, "/");
    fail_at = at ? atol(at) : 0;
    fail_with = with ? atoi(with) : EIO;
    lasting = getenv("TORTURE_LASTING") != NULL;
    if (everything) open_below[1] = 1;
    ready = 1;
}
