// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// TCP connections that a local process opened: asked for, answered, closed.
#pragma once

#include "socket.h"

INLINE void tcp_asked(struct bpf_sock_ops *context, struct bpf_sock *socket) {
    struct sock *sk = plain(socket);
    struct ends ends = {};
    read_ends(&ends, sk);
    if (is_local_call(&ends)) return;
    struct kept *kept = storage_get(&sockets, socket, 0, F_STORAGE_CREATE);
    if (!kept) {
        count_lost();
        return;
    }
    u64 now = since_boot(), cookie = socket_cookie(context);
    // A socket may be connected again after it failed.
    __builtin_memset(kept, 0, sizeof(*kept));
    kept->flow.last = now;
    kept->to.cookie = cookie;
    sock_ops_flags_set(context, (int)(context->bpf_sock_ops_cb_flags | WANT_STATE));
    tell_opened(sk, PROTOCOL_TCP, now, cookie, &ends);
}

INLINE void tcp_answered(struct bpf_sock *socket) {
    struct kept *kept = storage_get(&sockets, socket, 0, 0);
    if (!kept || kept->flow.answered) return;
    struct ends ends = {};
    u64 now = since_boot();
    kept->flow.answered = 1;
    if (kept->flow.last < now) kept->flow.last = now;
    read_ends(&ends, plain(socket));
    tell_answered(PROTOCOL_TCP, now, kept->to.cookie, &ends);
}

INLINE u8 tcp_outcome(int answered, int error) {
    if (!answered) {
        switch (error) {
            case ECONNREFUSED:
            case ECONNRESET:
            case EHOSTUNREACH:
            case ENETUNREACH:
                return REFUSED;
            default:
                return UNANSWERED;
        }
    }
    // EPIPE: reset after the other side had said that it was done.
    return error == ECONNRESET || error == 32 ? RESET : ESTABLISHED;
}

INLINE void tcp_closed(struct bpf_sock *socket) {
    struct kept *kept = storage_get(&sockets, socket, 0, 0);
    if (!kept) return;
    struct sock *sk = plain(socket);
    struct tcp_sock *tcp = (struct tcp_sock *)sk;
    struct ends ends = {};
    u64 sent = 0, again = 0, received = 0;
    unsigned long flags = 0;
    int error = 0;
    read_ends(&ends, sk);
    READ(sent, tcp->bytes_sent);
    READ(again, tcp->bytes_retrans);
    READ(received, tcp->bytes_received);
    READ(flags, sk->__sk_common.skc_flags);
    READ(error, sk->sk_err);
    // The kernel counts the FIN that it took as a byte.
    if (received && (flags >> SOCK_DONE) & 1) received -= 1;
    tell_closed(PROTOCOL_TCP, tcp_outcome(kept->flow.answered, error), since_boot(), kept->to.cookie, &ends,
                sent > again ? sent - again : 0, received, &kept->flow.exchange);
    if (kept->flow.exchange.start) map_delete(&flows, &kept->to);
    storage_delete(&sockets, socket);
}

SEC("sockops") int sonde_tcp(struct bpf_sock_ops *context) {
    struct bpf_sock *socket = context->sk;
    if (!socket) return 1;
    switch (context->op) {
        case CALL_CONNECT:
            tcp_asked(context, socket);
            break;
        case CALL_ACTIVE_ESTABLISHED:
        case CALL_PASSIVE_ESTABLISHED: // both sides called at once
            tcp_answered(socket);
            break;
        case CALL_STATE:
            if (context->args[1] == STATE_CLOSE) tcp_closed(socket);
            break;
    }
    return 1;
}
