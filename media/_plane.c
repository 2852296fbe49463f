/* The data plane in C: what media/plane.py's PythonPlane does, with a thread, epoll, recvmmsg and sendmmsg in the place of asyncio. Linux.
 *
 * STUN goes up to Python over a unix socket; all else is matched against the table of verified sources and forwarded, or counted and dropped.
 * No datagram is interpreted beyond its first twelve bytes, and nothing is allocated for one. The rules are those of plane.py, in the same
 * order and with the same arithmetic: tests/fuzz/test_relay_planes.py feeds both the same and compares.
 *
 * Python calls in from its own thread; `lock` guards everything but the sockets. The thread holds it once for each batch, never while it
 * waits for or sends anything. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define VERSION 1          /* of the functions below; media/native.py refuses another */
#define MAX_SOCKETS 64
#define BATCH 64           /* datagrams a system call */
#define MAX_DATAGRAM 1500  /* bytes, as in plane.py */
#define CLOCK 48000.0      /* RTP ticks a second of Opus, as in rtp.py */
#define MAX_DROPOUT 3000   /* packets, as in quality.py */
#define MAX_MISORDER 100
#define HANDSHAKE 22       /* DTLS content type */

enum kind { EMPTY, STUN, DTLS, RTP, RTCP, MALFORMED, UNKNOWN };
enum verdict { DROP, FORWARD, UP, EARLY };

/* Counters by their place in media/native.py's list. */
enum counter { FORWARDED, STUN_UP, EMPTY_ONES, MALFORMED_ONES, UNKNOWN_ONES, OVERSIZE, UNVERIFIED, UNDELIVERABLE, CAPPED, UNSENT, FLOODED,
               COUNTERS };

struct source { /* where a datagram comes from: to which of our sockets, and the address (IPv4 as ::ffff:a.b.c.d) and port, all in network order */
    uint8_t ip[16];
    uint16_t port;
    uint16_t socket;
    int32_t slot; /* -1: this place of the table is empty */
};

struct slot {
    int32_t peer;   /* -1: none */
    int32_t socket; /* its client is reached from here; -1: nowhere */
    socklen_t to_length;
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } to;
    double tokens, refilled, last_heard, jitter;
    uint64_t packets, bytes, capped, received, expected;
    int64_t ssrc;
    uint32_t transit;
    uint16_t highest;
};

struct up { /* what goes before a datagram that goes up; media/native.py reads it */
    uint8_t early; /* 0: STUN, 1: a DTLS handshake that came early */
    uint8_t socket;
    uint16_t port;
    int32_t slot;
    uint8_t ip[16];
};

struct traffic { /* media/native.py has the same */
    uint64_t packets, bytes, capped, received, expected;
    double last_heard, jitter;
};

struct plane {
    pthread_mutex_t lock;
    pthread_t thread;
    bool running;
    int sockets, up, epoll, stop;
    int fds[MAX_SOCKETS], family[MAX_SOCKETS];
    long pause; /* nanoseconds to let datagrams gather after a batch */
    double bandwidth;
    uint64_t seed;
    int32_t slots;
    struct slot *slot;
    uint32_t mask; /* places of the table, less one */
    uint32_t filled;
    struct source *table;
    uint64_t counts[COUNTERS];
};

/* --- the table of verified sources: open addressing, never more than half full --------------------------------------------------------- */

static uint32_t place(const struct plane *p, const struct source *s) {
    uint64_t a, b;
    memcpy(&a, s->ip, 8);
    memcpy(&b, s->ip + 8, 8);
    uint64_t h = (p->seed ^ a) * 0x9E3779B97F4A7C15u;
    h = (h ^ (h >> 32) ^ b) * 0xC2B2AE3D27D4EB4Fu;
    h = (h ^ (h >> 29) ^ s->port ^ ((uint64_t)s->socket << 16)) * 0x165667B19E3779F9u;
    return (uint32_t)(h >> 32) & p->mask;
}

static bool same(const struct source *a, const struct source *b) {
    return a->port == b->port && a->socket == b->socket && !memcmp(a->ip, b->ip, 16);
}

static struct source *find(struct plane *p, const struct source *wanted) {
    uint32_t i = place(p, wanted);
    while (p->table[i].slot >= 0 && !same(&p->table[i], wanted)) i = (i + 1) & p->mask;
    return &p->table[i];
}

static void take_out(struct plane *p, struct source *found) {
    uint32_t hole = (uint32_t)(found - p->table), i = hole;
    for (;;) { /* move up what would not be found any more */
        p->table[hole].slot = -1;
        uint32_t home;
        do {
            i = (i + 1) & p->mask;
            if (p->table[i].slot < 0) { p->filled--; return; }
            home = place(p, &p->table[i]);
        } while (((i - home) & p->mask) < ((i - hole) & p->mask));
        p->table[hole] = p->table[i];
        hole = i;
    }
}

/* --- one datagram --------------------------------------------------------------------------------------------------------------------- */

static enum kind classify(const uint8_t *d, size_t length) {
    if (!length) return EMPTY;
    if (d[0] >= 128) {
        if (d[0] >= 192 || length < 8) return UNKNOWN;
        if (d[1] >= 192 && d[1] <= 223) return RTCP;
        return length >= 12 ? RTP : UNKNOWN;
    }
    if (d[0] < 4) {
        if (length < 20) return MALFORMED;
        size_t body = (size_t)d[2] << 8 | d[3];
        bool cookie = d[4] == 0x21 && d[5] == 0x12 && d[6] == 0xA4 && d[7] == 0x42;
        return cookie && body == length - 20 && !(body % 4) ? STUN : MALFORMED;
    }
    return d[0] >= 20 && d[0] < 64 && length >= 13 ? DTLS : UNKNOWN;
}

static void measure(struct slot *s, const uint8_t *d, double now) { /* quality.py's StreamQuality.take */
    uint16_t sequence = (uint16_t)(d[2] << 8 | d[3]);
    uint32_t timestamp = (uint32_t)d[4] << 24 | (uint32_t)d[5] << 16 | (uint32_t)d[6] << 8 | d[7];
    int64_t ssrc = (int64_t)((uint32_t)d[8] << 24 | (uint32_t)d[9] << 16 | (uint32_t)d[10] << 8 | d[11]);
    uint32_t transit = (uint32_t)(uint64_t)(now * CLOCK) - timestamp;
    uint16_t ahead = (uint16_t)(sequence - s->highest);
    s->received++;
    if (ssrc != s->ssrc || (ahead >= MAX_DROPOUT && ahead <= 0xFFFF - MAX_MISORDER)) {
        s->ssrc = ssrc;
        s->highest = sequence;
        s->transit = transit;
        s->expected++;
        return;
    }
    if (ahead < MAX_DROPOUT) {
        s->highest = sequence;
        s->expected += ahead;
    }
    uint32_t difference = transit - s->transit;
    if (difference > 0x7FFFFFFF) difference = 0u - difference;
    s->transit = transit;
    if (difference <= CLOCK) s->jitter += ((double)difference - s->jitter) / 16;
}

/* Decide on one datagram; `from->slot` is set to the sender's slot for FORWARD and EARLY. `length` may be more than there is in `d`. */
static enum verdict decide(struct plane *p, struct source *from, const uint8_t *d, size_t length, double now) {
    enum kind kind = classify(d, length);
    if (kind == STUN) {
        if (length > MAX_DATAGRAM) return p->counts[OVERSIZE]++, DROP;
        return p->counts[STUN_UP]++, UP;
    }
    if (kind == EMPTY) return p->counts[EMPTY_ONES]++, DROP;
    if (kind == MALFORMED) return p->counts[MALFORMED_ONES]++, DROP;
    int32_t number = find(p, from)->slot;
    if (number < 0) return p->counts[UNVERIFIED]++, DROP;
    if (kind == UNKNOWN) return p->counts[UNKNOWN_ONES]++, DROP;
    if (length > MAX_DATAGRAM) return p->counts[OVERSIZE]++, DROP;
    struct slot *s = &p->slot[number];
    double size = (double)length, full = s->tokens + (now - s->refilled) * p->bandwidth;
    s->tokens = full < p->bandwidth ? full : p->bandwidth;
    s->refilled = now;
    if (s->tokens < size) return s->capped++, p->counts[CAPPED]++, DROP;
    s->tokens -= size;
    s->last_heard = now;
    if (kind == RTP) measure(s, d, now);
    from->slot = number;
    if (s->peer < 0 || p->slot[s->peer].socket < 0) {
        p->counts[UNDELIVERABLE]++;
        return d[0] == HANDSHAKE ? EARLY : DROP;
    }
    s->packets++;
    s->bytes += length;
    p->counts[FORWARDED]++;
    return FORWARD;
}

/* --- the thread ----------------------------------------------------------------------------------------------------------------------- */

struct batch {
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_part[BATCH], out_part[BATCH];
    struct sockaddr_in6 name[BATCH], to[BATCH];
    uint8_t data[BATCH][MAX_DATAGRAM + 4];
    struct up up[BATCH];
    int up_from[BATCH], ups;
    int out_socket[BATCH], outs;
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void source_of(const struct sockaddr_in6 *name, int socket, struct source *from) {
    from->socket = (uint16_t)socket;
    from->slot = -1;
    if (name->sin6_family == AF_INET6) {
        memcpy(from->ip, &name->sin6_addr, 16);
        from->port = name->sin6_port;
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
        memcpy(from->ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
        memcpy(from->ip + 12, &v4->sin_addr, 4);
        from->port = v4->sin_port;
    }
}

static void sort_out(struct plane *p, struct batch *b, int socket, int got) {
    double now = seconds();
    b->outs = b->ups = 0;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < got; i++) {
        struct source from;
        source_of(&b->name[i], socket, &from);
        size_t length = b->in[i].msg_len;
        switch (decide(p, &from, b->data[i], length, now)) {
        case FORWARD: {
            struct slot *to = &p->slot[p->slot[from.slot].peer];
            int n = b->outs++;
            memcpy(&b->to[n], &to->to, to->to_length);
            b->out_socket[n] = to->socket;
            b->out_part[n] = (struct iovec){b->data[i], length};
            b->out[n].msg_hdr = (struct msghdr){.msg_name = &b->to[n], .msg_namelen = to->to_length, .msg_iov = &b->out_part[n], .msg_iovlen = 1};
            break;
        }
        case UP:
        case EARLY: {
            int n = b->ups++;
            b->up[n] = (struct up){.early = from.slot >= 0, .socket = (uint8_t)socket, .port = from.port, .slot = from.slot};
            memcpy(b->up[n].ip, from.ip, 16);
            b->up_from[n] = i;
            break;
        }
        case DROP: break;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

static void send_out(struct plane *p, struct batch *b) {
    uint64_t unsent = 0, flooded = 0;
    for (int first = 0; first < b->outs;) {
        int last = first + 1;
        while (last < b->outs && b->out_socket[last] == b->out_socket[first]) last++;
        int sent = sendmmsg(p->fds[b->out_socket[first]], b->out + first, (unsigned)(last - first), MSG_DONTWAIT);
        if (sent <= 0) { /* the first of them cannot be sent: a full buffer, no route, or an ICMP error that anyone can forge */
            unsent++;
            sent = 1;
        }
        first += sent;
    }
    for (int i = 0; i < b->ups; i++) {
        int from = b->up_from[i];
        struct iovec parts[2] = {{&b->up[i], sizeof b->up[i]}, {b->data[from], b->in[from].msg_len}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        if (sendmsg(p->up, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) flooded++;
    }
    if (unsent || flooded) {
        pthread_mutex_lock(&p->lock);
        p->counts[UNSENT] += unsent;
        p->counts[FLOODED] += flooded;
        pthread_mutex_unlock(&p->lock);
    }
}

static void *run(void *argument) {
    struct plane *p = argument;
    struct batch *b = calloc(1, sizeof *b);
    if (!b) return NULL;
    for (int i = 0; i < BATCH; i++) {
        b->in_part[i] = (struct iovec){b->data[i], sizeof b->data[i]};
        b->in[i].msg_hdr = (struct msghdr){.msg_iov = &b->in_part[i], .msg_iovlen = 1};
    }
    for (;;) {
        struct epoll_event ready[MAX_SOCKETS + 1];
        int count = epoll_wait(p->epoll, ready, MAX_SOCKETS + 1, -1);
        bool full = false;
        for (int i = 0; i < count; i++) {
            int socket = (int)ready[i].data.u32;
            if (socket == MAX_SOCKETS) { free(b); return NULL; }
            for (int n = 0; n < BATCH; n++) {
                b->in[n].msg_hdr.msg_name = &b->name[n];
                b->in[n].msg_hdr.msg_namelen = sizeof b->name[n];
            }
            int got = recvmmsg(p->fds[socket], b->in, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
            if (got <= 0) continue; /* an ICMP error is taken off the socket by having been returned */
            sort_out(p, b, socket, got);
            send_out(p, b);
            full = full || got == BATCH;
        }
        if (p->pause && !full) nanosleep(&(struct timespec){.tv_nsec = p->pause}, NULL);
    }
}

/* --- what Python calls ------------------------------------------------------------------------------------------------------------------ */

EXPORT int plane_version(void) { return VERSION; }

EXPORT void plane_delete(struct plane *p) {
    if (p->running) {
        uint64_t one = 1;
        if (write(p->stop, &one, sizeof one) == sizeof one) pthread_join(p->thread, NULL);
    }
    if (p->epoll >= 0) close(p->epoll);
    if (p->stop >= 0) close(p->stop);
    pthread_mutex_destroy(&p->lock);
    free(p->slot);
    free(p->table);
    free(p);
}

/* NULL when there is no memory, or too many sockets. The file descriptors stay the caller's. */
EXPORT struct plane *plane_new(const int *fds, int sockets, int up, int32_t slots, double bandwidth, uint64_t seed, int32_t pause_us) {
    if (sockets < 0 || sockets > MAX_SOCKETS || slots < 0 || slots > 1 << 20 || pause_us < 0 || pause_us > 100000) return NULL;
    struct plane *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    pthread_mutex_init(&p->lock, NULL);
    p->sockets = sockets;
    p->up = up;
    p->slots = slots;
    p->bandwidth = bandwidth;
    p->seed = seed;
    p->pause = 1000L * pause_us;
    p->mask = 63;
    while (p->mask < (uint32_t)slots * 32) p->mask = p->mask * 2 + 1; /* half full: sixteen addresses a slot */
    p->slot = calloc((size_t)slots + 1, sizeof *p->slot);
    p->table = calloc((size_t)p->mask + 1, sizeof *p->table);
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool well = p->slot && p->table && p->epoll >= 0 && p->stop >= 0;
    for (int32_t i = 0; well && i < slots; i++) p->slot[i] = (struct slot){.peer = -1, .socket = -1, .ssrc = -1};
    for (uint32_t i = 0; well && i <= p->mask; i++) p->table[i].slot = -1;
    for (int i = 0; well && i <= sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(i < sockets ? i : MAX_SOCKETS)};
        if (i < sockets) {
            struct sockaddr_storage name;
            socklen_t length = sizeof name;
            p->fds[i] = fds[i];
            well = !getsockname(fds[i], (struct sockaddr *)&name, &length);
            p->family[i] = name.ss_family;
        }
        well = well && !epoll_ctl(p->epoll, EPOLL_CTL_ADD, i < sockets ? fds[i] : p->stop, &event);
    }
    if (!well) { plane_delete(p); return NULL; }
    return p;
}

/* 0, or an errno. */
EXPORT int plane_start(struct plane *p) {
    int error = pthread_create(&p->thread, NULL, run, p);
    p->running = !error;
    return error;
}

static bool known(const struct plane *p, int32_t slot) { return slot >= 0 && slot < p->slots; }

EXPORT void plane_join(struct plane *p, int32_t one, int32_t other, double now) {
    if (!known(p, one) || !known(p, other)) return;
    pthread_mutex_lock(&p->lock);
    p->slot[one] = p->slot[other] = (struct slot){.socket = -1, .ssrc = -1, .tokens = p->bandwidth, .refilled = now};
    p->slot[one].peer = other;
    p->slot[other].peer = one;
    pthread_mutex_unlock(&p->lock);
}

EXPORT void plane_free(struct plane *p, int32_t slot) {
    if (!known(p, slot)) return;
    pthread_mutex_lock(&p->lock);
    if (p->slot[slot].peer >= 0) p->slot[p->slot[slot].peer].peer = -1;
    p->slot[slot] = (struct slot){.peer = -1, .socket = -1, .ssrc = -1};
    pthread_mutex_unlock(&p->lock);
}

static struct source wanted(int socket, const uint8_t *ip, uint16_t port, int32_t slot) {
    struct source s = {.port = htons(port), .socket = (uint16_t)socket, .slot = slot};
    memcpy(s.ip, ip, 16);
    return s;
}

EXPORT void plane_admit(struct plane *p, int32_t slot, int socket, const uint8_t *ip, uint16_t port) {
    if (!known(p, slot)) return;
    struct source s = wanted(socket, ip, port, slot);
    pthread_mutex_lock(&p->lock);
    struct source *there = find(p, &s);
    if (there->slot >= 0) there->slot = slot;
    else if (p->filled < p->mask / 2) {
        *there = s;
        p->filled++;
    }
    pthread_mutex_unlock(&p->lock);
}

EXPORT void plane_dismiss(struct plane *p, int socket, const uint8_t *ip, uint16_t port) {
    struct source s = wanted(socket, ip, port, 0);
    pthread_mutex_lock(&p->lock);
    struct source *there = find(p, &s);
    if (there->slot >= 0) take_out(p, there);
    pthread_mutex_unlock(&p->lock);
}

/* `socket` -1: nowhere. */
EXPORT void plane_aim(struct plane *p, int32_t slot, int socket, const uint8_t *ip, uint16_t port) {
    if (!known(p, slot) || socket >= p->sockets) return;
    pthread_mutex_lock(&p->lock);
    struct slot *s = &p->slot[slot];
    s->socket = socket;
    memset(&s->to, 0, sizeof s->to);
    if (socket >= 0 && p->family[socket] == AF_INET6) {
        s->to.v6.sin6_family = AF_INET6;
        s->to.v6.sin6_port = htons(port);
        memcpy(&s->to.v6.sin6_addr, ip, 16);
        s->to_length = sizeof s->to.v6;
    } else if (socket >= 0) {
        s->to.v4.sin_family = AF_INET;
        s->to.v4.sin_port = htons(port);
        memcpy(&s->to.v4.sin_addr, ip + 12, 4);
        s->to_length = sizeof s->to.v4;
    }
    pthread_mutex_unlock(&p->lock);
}

EXPORT void plane_traffic(struct plane *p, int32_t slot, struct traffic *out) {
    memset(out, 0, sizeof *out);
    if (!known(p, slot)) return;
    pthread_mutex_lock(&p->lock);
    const struct slot *s = &p->slot[slot];
    *out = (struct traffic){s->packets, s->bytes, s->capped, s->received, s->expected, s->last_heard, s->jitter};
    pthread_mutex_unlock(&p->lock);
}

EXPORT void plane_counts(struct plane *p, uint64_t out[COUNTERS]) {
    pthread_mutex_lock(&p->lock);
    memcpy(out, p->counts, sizeof p->counts);
    pthread_mutex_unlock(&p->lock);
}

/* What would be done with one datagram, without a socket: for tests. */
EXPORT int plane_decide(struct plane *p, int socket, const uint8_t *ip, uint16_t port, const uint8_t *data, size_t length, double now) {
    struct source from = wanted(socket, ip, port, -1);
    pthread_mutex_lock(&p->lock);
    enum verdict verdict = decide(p, &from, data, length, now);
    pthread_mutex_unlock(&p->lock);
    return (int)verdict;
}
