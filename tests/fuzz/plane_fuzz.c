/* Random events for the data plane, for as many seconds as the first argument says; a sanitizer ends it when something is wrong. */
#include "_plane.c"
#include <stdio.h>

static uint64_t state = 88172645463325252u;

static uint32_t any(uint32_t below) { /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) % below);
}

int main(int count, char **words) {
    int seconds_left = count > 1 ? atoi(words[1]) : 1;
    int pair[2], fds[2] = {socket(AF_INET, SOCK_DGRAM, 0), socket(AF_INET6, SOCK_DGRAM, 0)};
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return 2;
    struct plane *p = plane_new(fds, 2, pair[1], 6, 64000, 7, 0);
    if (!p) return 2;
    uint64_t events = 0, out[COUNTERS];
    double end = seconds() + seconds_left;
    while (seconds() < end) {
        for (int i = 0; i < 1000; i++, events++) {
            uint8_t ip[16] = {0};
            ip[15] = (uint8_t)any(200); /* many, so that the table fills and is emptied again */
            ip[10] = ip[11] = any(2) ? 0xff : 0;
            uint16_t port = (uint16_t)any(3);
            int32_t slot = (int32_t)any(8) - 1; /* also such as do not exist */
            int socket = (int)any(2);
            switch (any(9)) {
            case 0: plane_join(p, slot, slot ^ 1, seconds()); break;
            case 1: plane_free(p, slot); break;
            case 2: plane_admit(p, slot, socket, ip, port); break;
            case 3: plane_dismiss(p, socket, ip, port); break;
            case 4: plane_aim(p, slot, (int)any(4) - 1, ip, port); break;
            case 5: { struct traffic t; plane_traffic(p, slot, &t); break; }
            default: { /* exactly as long as it says: reading past it is found */
                size_t length = any(4) ? any(40) : any(1600);
                uint8_t *data = malloc(length ? length : 1);
                static const uint8_t first[] = {0, 1, 3, 4, 20, 22, 63, 64, 128, 144, 191, 192, 255};
                for (size_t n = 0; n < length; n++) data[n] = (uint8_t)any(256);
                if (length && any(8)) data[0] = first[any(sizeof first)];
                if (length >= 20 && any(2)) {
                    data[0] = (uint8_t)any(2);
                    data[2] = (uint8_t)((length - 20) >> 8);
                    data[3] = (uint8_t)(length - 20);
                    memcpy(data + 4, "\x21\x12\xa4\x42", 4);
                }
                plane_decide(p, socket, ip, port, data, length, seconds());
                free(data);
            }
            }
        }
    }
    plane_counts(p, out);
    plane_delete(p);
    printf("%llu events, %llu forwarded, %llu unverified\n", (unsigned long long)events, (unsigned long long)out[FORWARDED],
           (unsigned long long)out[UNVERIFIED]);
    return !(out[FORWARDED] && out[UNVERIFIED] && out[STUN_UP]);
}
