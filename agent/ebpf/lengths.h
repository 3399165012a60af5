// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// Every send and receive, by what it returned: exchanges inside connections, and the first datagram of connected sockets.
// Runs for all sockets of the host, so the usual case (not ours) leaves at once.
#pragma once

#include "udp.h"

enum { MSG_PEEK = 2, MSG_ERRQUEUE = 0x2000 };

// Payload of the flow that the socket itself keeps: TCP, and a connected datagram socket.
INLINE void one_peer(struct sock *sk, struct kept *kept, u8 protocol, u32 out, u32 in) {
    struct exchange before = {};
    u64 now = since_boot();
    int first_answer = in && !kept->flow.answered && protocol == PROTOCOL_UDP;
    int breaks = count_payload(&kept->flow, now, out, in, &before);
    if (breaks || kept->flow.exchange.start) map_update(&flows, &kept->to, &kept->flow, 0);
    if (!breaks && !first_answer) return;
    struct ends ends = {};
    read_ends(&ends, sk);
    if (first_answer) {
        kept->flow.answered = 1;
        tell_answered(protocol, now, kept->to.cookie, &ends);
    }
    if (breaks) tell_exchange(protocol, now, kept->to.cookie, &ends, &before, &kept->flow);
}

// Payload of one peer of an unconnected datagram socket.
INLINE void of_several(struct sock *sk, const struct flow_key *peer, u32 out, u32 in) {
    struct flow_key key = *peer;
    struct flow *flow = map_lookup(&flows, &key);
    if (!flow) return;
    struct exchange before = {};
    u64 now = since_boot();
    int first_answer = in && !flow->answered;
    int breaks = count_payload(flow, now, out, in, &before);
    if (!breaks && !first_answer) return;
    struct ends ends = {};
    read_ends(&ends, sk);
    __builtin_memcpy(ends.remote, key.peer, 16);
    ends.remote_port = (u16)key.port;
    if (is_mapped(ends.remote) && !is_mapped(ends.local)) map_v4(ends.local, 0);
    if (first_answer) {
        flow->answered = 1;
        tell_answered(PROTOCOL_UDP, now, key.cookie, &ends);
    }
    if (breaks) tell_exchange(PROTOCOL_UDP, now, key.cookie, &ends, &before, flow);
}

// A datagram to the peer that the socket is connected to.
INLINE void connected_send(struct sock *trusted, struct kept *kept, u32 bytes) {
    struct ends ends = {};
    read_ends(&ends, trusted);
    u64 now = since_boot();
    if (kept && !kept->peers && same_address(kept->to.peer, ends.remote) && kept->to.port == ends.remote_port &&
        kept->flow.last + DATAGRAM_IDLE >= now) {
        one_peer(trusted, kept, PROTOCOL_UDP, bytes, 0);
        return;
    }
    u64 cookie = socket_cookie(trusted);
    if (!udp_opens(trusted, &ends, cookie, now)) return;
    kept = storage_get(&sockets, trusted, 0, F_STORAGE_CREATE);
    if (!kept) return;
    if (kept->to.cookie && !kept->peers) map_delete(&flows, &kept->to);
    __builtin_memset(kept, 0, sizeof(*kept));
    kept->flow.last = now;
    kept->flow.out = bytes;
    kept->to.cookie = cookie;
    __builtin_memcpy(kept->to.peer, ends.remote, 16);
    kept->to.port = ends.remote_port;
}

SEC("tp_btf/sock_send_length") int sonde_sent(u64 *arguments) {
    struct sock *sk = (void *)arguments[0];
    int result = (int)arguments[1];
    u16 protocol = sk->sk_protocol;
    if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) return 0;
    struct kept *kept = storage_get(&sockets, sk, 0, 0);
    if (protocol == PROTOCOL_TCP) {
        if (kept && result > 0) one_peer(sk, kept, PROTOCOL_TCP, (u32)result, 0);
        return 0;
    }
    u32 addressed = kept ? kept->addressed : 0;
    if (kept) kept->addressed = 0;
    if (result < 0) {
        if (kept && result == -ECONNREFUSED) kept->flow.refused = 1;
        return 0;
    }
    if (addressed) {
        if (addressed == 1 && kept) of_several(sk, &kept->to, (u32)result, 0);
        return 0;
    }
    if (sk->__sk_common.skc_state == STATE_ESTABLISHED) connected_send(sk, kept, (u32)result);
    return 0;
}

SEC("tp_btf/sock_recv_length") int sonde_received(u64 *arguments) {
    struct sock *sk = (void *)arguments[0];
    int result = (int)arguments[1];
    int flags = (int)arguments[2];
    if (flags & (MSG_PEEK | MSG_ERRQUEUE)) return 0;
    u16 protocol = sk->sk_protocol;
    if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) return 0;
    struct kept *kept = storage_get(&sockets, sk, 0, 0);
    if (!kept) return 0;
    if (protocol == PROTOCOL_TCP) {
        if (result > 0) one_peer(sk, kept, PROTOCOL_TCP, 0, (u32)result);
        return 0;
    }
    if (result < 0) {
        if (result == -ECONNREFUSED) kept->flow.refused = 1;
        return 0;
    }
    if (!kept->peers) {
        one_peer(sk, kept, PROTOCOL_UDP, 0, (u32)result);
    } else if (kept->from.cookie) {
        of_several(sk, &kept->from, 0, (u32)result);
        kept->from.cookie = 0;
    } else if (kept->peers == 1) {
        // The receive did not ask who it was; there is only one that it can be.
        of_several(sk, &kept->to, 0, (u32)result);
    }
    return 0;
}
