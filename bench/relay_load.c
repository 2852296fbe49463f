/* The load of bench/relay.py: RTP from one side of each call to the other and back, at a steady rate, timed. Called through ctypes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

struct side { int fd; int prefix; /* bytes before the packet, both ways: TURN channel header (4), or length in a stream (2) */ uint16_t channel; /* or the length */ };
struct result { uint64_t sent, received, refused; double seconds; };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* `sides` holds 2 * calls entries, the two of a call beside each other, connected. `buckets` counts microseconds of delay, the last one all above. */
__attribute__((visibility("default"))) int load_run(const struct side *sides, int calls, double rate, double seconds, int size, uint64_t *buckets, int bucket_count, struct result *out) {
    int count = 2 * calls, epoll = epoll_create1(0);
    uint16_t *sequence = calloc((size_t)count, sizeof *sequence);
    if (epoll < 0 || !sequence || size < 24 || size > 1400) return -1;
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, sides[i].fd, &event)) return -1;
    }
    uint8_t packet[1500] = {0}, got[1500];
    struct epoll_event ready[256];
    memset(out, 0, sizeof *out);
    double start = now(), t = start, end = start + seconds;
    uint64_t turn = 0;
    for (;;) {
        t = now();
        if (t > end + 0.3) break; /* what is under way arrives */
        uint64_t due = t < end ? (uint64_t)((t - start) * rate) : 0;
        for (int burst = 0; out->sent + out->refused < due && burst < 256; burst++, turn++) {
            int i = (int)(turn % (uint64_t)count);
            const struct side *s = &sides[i];
            uint8_t *rtp = packet + s->prefix;
            uint16_t n = sequence[i]++;
            uint32_t ts = (uint32_t)(t * 48000.0);
            double at = now();
            packet[0] = (uint8_t)(s->channel >> 8); packet[1] = (uint8_t)s->channel; packet[2] = (uint8_t)(size >> 8); packet[3] = (uint8_t)size;
            rtp[0] = 0x80; rtp[1] = 111; rtp[2] = (uint8_t)(n >> 8); rtp[3] = (uint8_t)n;
            for (int k = 0; k < 4; k++) rtp[4 + k] = (uint8_t)(ts >> (24 - 8 * k));
            memcpy(rtp + 8, &i, 4);
            memcpy(rtp + 12, &at, 8);
            ssize_t gone = send(s->fd, packet, (size_t)(size + s->prefix), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (gone > 0 && gone < size + s->prefix) return -1; /* a stream that is full would go out of step */
            if (gone > 0) out->sent++; else out->refused++;
        }
        int events = epoll_wait(epoll, ready, 256, 0);
        for (int e = 0; e < events; e++) {
            const struct side *s = &sides[ready[e].data.u32];
            for (int k = 0; k < 8; k++) {
                ssize_t length = recv(s->fd, got, sizeof got, MSG_DONTWAIT | (s->prefix == 2 ? MSG_PEEK : 0));
                if (s->prefix == 2) {
                    ssize_t whole = length < 2 ? 2 : 2 + (got[0] << 8 | got[1]);
                    if (length < whole) break;
                    length = recv(s->fd, got, (size_t)whole, MSG_DONTWAIT);
                }
                if (length < size + s->prefix || got[s->prefix] != 0x80) { if (length < 0) break; continue; }
                double sent_at, delay;
                memcpy(&sent_at, got + s->prefix + 12, 8);
                delay = (now() - sent_at) * 1e6;
                int bucket = delay < 0 ? 0 : delay >= bucket_count ? bucket_count - 1 : (int)delay;
                buckets[bucket]++;
                out->received++;
            }
        }
    }
    out->seconds = seconds;
    free(sequence);
    return 0;
}
