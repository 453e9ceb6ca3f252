/* fault - allocator and system calls with a point of failure; see fault.h. The state is global: it
 * is asked for from within malloc. */
#include "fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static _Atomic uint64_t points, fails_at; /* fails_at 0: not armed */
static _Atomic enum fault armed;
static const char *_Atomic struck;
static __thread bool concerned, marking;

const char *
fault_name(enum fault kind)
{
    static const char *const names[FAULT_COUNT] = {
        "memory", "famine", "interrupted", "again", "short", "shortage", "reset", "exhausted"};

    return names[kind];
}

void
fault_marks(bool on)
{
    marking = on;
}

void
fault_concerns_me(bool on)
{
    concerned = on;
}

void
fault_arm(enum fault kind, uint64_t n)
{
    atomic_store(&armed, kind);
    atomic_store(&points, 0);
    atomic_store(&struck, NULL);
    atomic_store(&fails_at, n);
}

const char *
fault_where(void)
{
    const char *where = atomic_load(&struck);

    return where != NULL ? where : "nowhere";
}

uint64_t
fault_disarm(void)
{
    atomic_store(&fails_at, 0);
    return atomic_load(&points);
}

/* A point of this kind: does it fail? Kinds that go on fail from it on. */
static bool
strikes_at(enum fault kind, const char *where)
{
    uint64_t at = atomic_load(&fails_at), point;
    bool goes_on = kind == FAULT_FAMINE || kind == FAULT_SHORTAGE;

    if (!concerned || at == 0 || atomic_load(&armed) != kind)
        return false;
    point = atomic_fetch_add(&points, 1) + 1;
    if (point == at)
        atomic_store(&struck, where);
    return goes_on ? point >= at : point == at;
}

static bool
fails_at_with(enum fault kind, int error, const char *where)
{
    if (!strikes_at(kind, where))
        return false;
    errno = error;
    return true;
}

#define strikes(kind)      strikes_at(kind, __func__)
#define fails(kind, error) fails_at_with(kind, error, __func__)

/* ---- Threads. */

struct start {
    void *(*routine)(void *);
    void *argument;
    bool concerned;
};

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static void *
begin(void *argument)
{
    static _Thread_local struct start start;

    start = *(struct start *)argument;
    free(argument);
    concerned = marking = start.concerned;
    return start.routine(start.argument);
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *),
                      void *argument)
{
    bool was_concerned = concerned;
    struct start *start;
    int error;

    if (fails(FAULT_EXHAUSTED, EAGAIN))
        return EAGAIN;
    concerned = false; /* what follows is ours */
    start = malloc(sizeof(*start));
    must(start != NULL);
    *start = (struct start){routine, argument, marking || was_concerned};
    error = __real_pthread_create(thread, attributes, begin, start);
    concerned = was_concerned;
    if (error != 0)
        free(start);
    return error;
}

/* ---- Memory: of every library in the program. Under ASan what it would have called. */

#ifdef SANITIZED
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

void *REAL(malloc)(size_t);
void *REAL(calloc)(size_t, size_t);
void *REAL(realloc)(void *, size_t);

static bool
no_memory(void)
{
    return fails(FAULT_MEMORY, ENOMEM) || fails(FAULT_FAMINE, ENOMEM);
}

void *
malloc(size_t bytes)
{
    return no_memory() ? NULL : REAL(malloc)(bytes);
}

void *
calloc(size_t count, size_t bytes)
{
    return no_memory() ? NULL : REAL(calloc)(count, bytes);
}

void *
realloc(void *data, size_t bytes)
{
    return no_memory() ? NULL : REAL(realloc)(data, bytes);
}

/* ---- Bytes over sockets. */

/* What the call should do, and with how many bytes; -1: fail with errno. */
static int
strike_bytes(int fd, size_t *bytes, int broken)
{
    if (fails(FAULT_INTERRUPTED, EINTR) || fails(FAULT_AGAIN, EAGAIN) ||
        fails(FAULT_EXHAUSTED, ENOBUFS))
        return -1;
    if (fails(FAULT_RESET, broken)) {
        shutdown(fd, SHUT_RDWR); /* so that the peer sees it, too */
        errno = broken;
        return -1;
    }
    if (*bytes > 1 && (strikes(FAULT_SHORT) || strikes(FAULT_SHORTAGE)))
        *bytes = 1;
    return 0;
}

ssize_t __real_recv(int, void *, size_t, int);
ssize_t __real_send(int, const void *, size_t, int);
ssize_t __real_sendmsg(int, const struct msghdr *, int);
ssize_t __wrap_recv(int, void *, size_t, int);
ssize_t __wrap___recv_chk(int, void *, size_t, size_t, int);
ssize_t __wrap_send(int, const void *, size_t, int);
ssize_t __wrap_sendmsg(int, const struct msghdr *, int);

ssize_t
__wrap_recv(int fd, void *data, size_t bytes, int flags)
{
    return strike_bytes(fd, &bytes, ECONNRESET) != 0 ? -1 : __real_recv(fd, data, bytes, flags);
}

ssize_t
__wrap___recv_chk(int fd, void *data, size_t bytes, size_t room, int flags)
{
    must(bytes <= room);
    return __wrap_recv(fd, data, bytes, flags);
}

ssize_t
__wrap_send(int fd, const void *data, size_t bytes, int flags)
{
    return strike_bytes(fd, &bytes, EPIPE) != 0 ? -1 : __real_send(fd, data, bytes, flags);
}

ssize_t
__wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    size_t bytes = 0;

    for (size_t i = 0; i < message->msg_iovlen; i++)
        bytes += message->msg_iov[i].iov_len;
    if (bytes > 1 && message->msg_controllen == 0) {
        size_t left = bytes;
        if (strike_bytes(fd, &left, EPIPE) != 0)
            return -1;
        if (left == 1) {
            size_t i = 0;
            while (message->msg_iov[i].iov_len == 0)
                i++;
            return __real_send(fd, message->msg_iov[i].iov_base, 1, flags);
        }
    }
    return __real_sendmsg(fd, message, flags);
}

/* ---- Descriptors. */

int __real_accept4(int, struct sockaddr *, socklen_t *, int);
int __real_socket(int, int, int);
int __real_connect(int, const struct sockaddr *, socklen_t);
int __real_setsockopt(int, int, int, const void *, socklen_t);
int __real_getsockname(int, struct sockaddr *, socklen_t *);
int __real_epoll_ctl(int, int, int, struct epoll_event *);
int __real_epoll_wait(int, struct epoll_event *, int, int);
int __real_epoll_pwait2(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);
int __real_shutdown(int, int);
ssize_t __real_read(int, void *, size_t);
ssize_t __real_write(int, const void *, size_t);
int __wrap_accept4(int, struct sockaddr *, socklen_t *, int);
int __wrap_socket(int, int, int);
int __wrap_connect(int, const struct sockaddr *, socklen_t);
int __wrap_setsockopt(int, int, int, const void *, socklen_t);
int __wrap_getsockname(int, struct sockaddr *, socklen_t *);
int __wrap_epoll_ctl(int, int, int, struct epoll_event *);
int __wrap_epoll_wait(int, struct epoll_event *, int, int);
int __wrap_epoll_pwait2(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);
int __wrap_shutdown(int, int);
ssize_t __wrap_read(int, void *, size_t);
ssize_t __wrap___read_chk(int, void *, size_t, size_t);
ssize_t __wrap_write(int, const void *, size_t);

int
__wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes, int flags)
{
    int got;

    if (fails(FAULT_INTERRUPTED, EINTR) || fails(FAULT_AGAIN, EAGAIN) ||
        fails(FAULT_EXHAUSTED, EMFILE))
        return -1;
    got = __real_accept4(fd, address, bytes, flags);
    if (got >= 0 && strikes(FAULT_RESET)) {
        close(got);
        errno = ECONNABORTED;
        return -1;
    }
    return got;
}

int
__wrap_socket(int domain, int type, int protocol)
{
    return fails(FAULT_EXHAUSTED, EMFILE) ? -1 : __real_socket(domain, type, protocol);
}

int
__wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    if (fails(FAULT_EXHAUSTED, EADDRNOTAVAIL) || fails(FAULT_RESET, ECONNREFUSED))
        return -1;
    return __real_connect(fd, address, bytes);
}

int
__wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t bytes)
{
    return fails(FAULT_EXHAUSTED, ENOBUFS) ? -1
                                           : __real_setsockopt(fd, level, option, value, bytes);
}

int
__wrap_getsockname(int fd, struct sockaddr *address, socklen_t *bytes)
{
    return fails(FAULT_EXHAUSTED, ENOBUFS) ? -1 : __real_getsockname(fd, address, bytes);
}

int
__wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    /* Changing and removing what is there takes no memory in any kernel: it cannot fail. */
    if (what == EPOLL_CTL_ADD && fails(FAULT_EXHAUSTED, ENOSPC))
        return -1;
    return __real_epoll_ctl(epoll, what, fd, event);
}

int
__wrap_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
    return fails(FAULT_INTERRUPTED, EINTR) ? -1 : __real_epoll_wait(epoll, events, max, timeout);
}

int
__wrap_epoll_pwait2(int epoll, struct epoll_event *events, int max, const struct timespec *timeout,
                    const sigset_t *mask)
{
    return fails(FAULT_INTERRUPTED, EINTR) ? -1
                                           : __real_epoll_pwait2(epoll, events, max, timeout, mask);
}

int
__wrap_shutdown(int fd, int how)
{
    return fails(FAULT_RESET, ENOTCONN) ? -1 : __real_shutdown(fd, how);
}

ssize_t
__wrap_read(int fd, void *data, size_t bytes)
{
    return fails(FAULT_INTERRUPTED, EINTR) ? -1 : __real_read(fd, data, bytes);
}

ssize_t
__wrap___read_chk(int fd, void *data, size_t bytes, size_t room)
{
    must(bytes <= room);
    return __wrap_read(fd, data, bytes);
}

ssize_t
__wrap_write(int fd, const void *data, size_t bytes)
{
    return fails(FAULT_INTERRUPTED, EINTR) ? -1 : __real_write(fd, data, bytes);
}
