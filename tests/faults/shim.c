/* Fails or ends a program at a chosen call of the system, preloaded into it (LD_PRELOAD).
 *
 * KPIPE_FAULT=<call>:<nth>:<what>:<path>  at the nth <call> (from 1) on a file whose path holds <path>,
 *   <what> is KILL or an error number; all later calls of that kind fail alike, but for KILL.
 * KPIPE_FAULT_COUNT=<file>  writes how many of each call there were, at the end.
 * Calls: read, write, rename, sync, link, open, and thread, which has no path. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum call { READ, WRITE, RENAME, SYNC, LINK, OPEN, THREAD, CALLS };
static const char *NAMES[CALLS] = {"read", "write", "rename", "sync", "link", "open", "thread"};
static atomic_long counts[CALLS];
static int chosen = -1, what;
static long nth;
static char path_part[512] = "";

__attribute__((constructor)) static void begin(void) {
    const char *fault = getenv("KPIPE_FAULT");
    char name[16], kind[16];
    if (!fault || sscanf(fault, "%15[^:]:%ld:%15[^:]:%511[^\n]", name, &nth, kind, path_part) < 3) return;
    for (int call = 0; call < CALLS; call++)
        if (!strcmp(name, NAMES[call])) chosen = call;
    what = strcmp(kind, "KILL") ? atoi(kind) : -1;
}

__attribute__((destructor)) static void end(void) {
    const char *place = getenv("KPIPE_FAULT_COUNT");
    FILE *file = place ? fopen(place, "w") : NULL;
    if (!file) return;
    for (int call = 0; call < CALLS; call++) fprintf(file, "%s %ld\n", NAMES[call], counts[call]);
    fclose(file);
}

/* Whether the call fails; errno says how. */
static int fails(enum call call, const char *path) {
    if (call != THREAD && path_part[0] && !(path && strstr(path, path_part))) return 0;
    long n = ++counts[call];
    if ((int)call != chosen || n < nth) return 0;
    if (what < 0) kill(getpid(), SIGKILL);
    errno = what;
    return 1;
}

/* The path behind a descriptor; only files count. */
static int fails_fd(enum call call, int fd) {
    char link[64], path[1024];
    struct stat facts;
    int kept = errno;
    if (fd <= 2 || fstat(fd, &facts) || !S_ISREG(facts.st_mode)) { errno = kept; return 0; }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t read(int fd, void *to, size_t n) { REAL(read); return fails_fd(READ, fd) ? -1 : real(fd, to, n); }
ssize_t write(int fd, const void *from, size_t n) { REAL(write); return fails_fd(WRITE, fd) ? -1 : real(fd, from, n); }
int rename(const char *a, const char *b) { REAL(rename); return fails(RENAME, b) ? -1 : real(a, b); }
int fsync(int fd) { REAL(fsync); return fails_fd(SYNC, fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails_fd(SYNC, fd) ? -1 : real(fd); }
int linkat(int a, const char *b, int c, const char *d, int e) { REAL(linkat); return fails(LINK, d) ? -1 : real(a, b, c, d, e); }
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *with) {
    REAL(pthread_create);
    return fails(THREAD, NULL) ? EAGAIN : real(thread, how, run, with);
}
int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    REAL(open64);
    return fails(OPEN, path) ? -1 : real(path, flags, mode);
}
