// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// Datagrams: the first one to each peer, unless the peer spoke first, in which case we are the server.
#pragma once

#include "socket.h"

// Peers that sent to a local port before that port sent to them.
struct heard_key {
    u8 peer[16];
    u16 peer_port;
    u16 local_port;
    u32 net_namespace;
};
struct {
    UINT(type, MAP_HASH_LRU);
    UINT(max_entries, 8192);
    TYPE(key, struct heard_key);
    TYPE(value, u64);
} heard SEC(".maps");

INLINE void fill_heard(struct heard_key *key, const struct ends *ends, u32 net_namespace) {
    __builtin_memcpy(key->peer, ends->remote, 16);
    key->peer_port = ends->remote_port;
    key->local_port = ends->local_port;
    key->net_namespace = net_namespace;
}

// A datagram socket has a peer that was not told of yet. Whether it counts as called.
INLINE int udp_opens(struct sock *sk, struct ends *ends, u64 cookie, u64 now) {
    struct heard_key key = {};
    if (is_crowd(ends->remote) || is_local_call(ends)) return 0;
    fill_heard(&key, ends, namespace_of(sk));
    if (map_lookup(&heard, &key)) return 0;
    tell_opened(sk, PROTOCOL_UDP, now, cookie, ends);
    return 1;
}

// A pair that was idle for so long is called anew (RFC 4787 REQ-5, as the connection tracker has it).
#define DATAGRAM_IDLE (300 * SILENCE)

INLINE void udp_sends(struct bpf_sock_addr *context, struct ends *ends) {
    struct bpf_sock *socket = context->sk;
    if (!socket || context->protocol != PROTOCOL_UDP) return;
    struct sock *sk = plain(socket);
    struct flow_key key = {};
    u64 now = since_boot();
    ends->local_port = (u16)socket->src_port;
    ends->remote_port = swap16((u16)context->user_port);
    key.cookie = socket_cookie(context);
    __builtin_memcpy(key.peer, ends->remote, 16);
    key.port = ends->remote_port;

    struct flow *known = map_lookup(&flows, &key);
    struct kept *kept = storage_get(&sockets, socket, 0, known ? F_STORAGE_CREATE : 0);
    if (!known || known->last + DATAGRAM_IDLE < now) {
        if (!udp_opens(sk, ends, key.cookie, now)) {
            // Not ours to follow: what the length program sees next is not of the peer before.
            if (kept) kept->addressed = 2;
            return;
        }
        struct flow fresh = {.last = now};
        map_update(&flows, &key, &fresh, 0);
        kept = storage_get(&sockets, socket, 0, F_STORAGE_CREATE);
        if (kept && !known) kept->peers += 1;
    } else if (!see_lengths) {
        known->last = now;
    }
    if (!kept) return;
    kept->to = key;
    kept->addressed = 1;
}

SEC("cgroup/sendmsg4") int sonde_send4(struct bpf_sock_addr *context) {
    struct ends ends = {};
    map_v4(ends.remote, context->user_ip4);
    map_v4(ends.local, context->msg_src_ip4);
    udp_sends(context, &ends);
    return 1;
}

SEC("cgroup/sendmsg6") int sonde_send6(struct bpf_sock_addr *context) {
    struct ends ends = {};
    u32 *remote = (u32 *)ends.remote, *local = (u32 *)ends.local;
    remote[0] = context->user_ip6[0];
    remote[1] = context->user_ip6[1];
    remote[2] = context->user_ip6[2];
    remote[3] = context->user_ip6[3];
    local[0] = context->msg_src_ip6[0];
    local[1] = context->msg_src_ip6[1];
    local[2] = context->msg_src_ip6[2];
    local[3] = context->msg_src_ip6[3];
    udp_sends(context, &ends);
    return 1;
}

// A receive that asked for the sender's address. A sender that we did not call is a client of ours.
INLINE void udp_receives(struct bpf_sock_addr *context, struct ends *ends) {
    struct bpf_sock *socket = context->sk;
    if (!socket || context->protocol != PROTOCOL_UDP) return;
    struct kept *kept = storage_get(&sockets, socket, 0, 0);
    struct flow_key from = {};
    ends->local_port = (u16)socket->src_port;
    ends->remote_port = swap16((u16)context->user_port);
    from.cookie = socket_cookie(context);
    __builtin_memcpy(from.peer, ends->remote, 16);
    from.port = ends->remote_port;
    if (kept) kept->from = from;
    if (kept && map_lookup(&flows, &from)) return;
    if (kept && same_address(kept->to.peer, from.peer) && kept->to.port == from.port) return; // connected to it
    struct heard_key key = {};
    fill_heard(&key, ends, namespace_of(plain(socket)));
    if (map_lookup(&heard, &key)) return;
    u64 now = since_boot();
    map_update(&heard, &key, &now, 0);
}

SEC("cgroup/recvmsg4") int sonde_receive4(struct bpf_sock_addr *context) {
    struct ends ends = {};
    map_v4(ends.remote, context->user_ip4);
    udp_receives(context, &ends);
    return 1;
}

SEC("cgroup/recvmsg6") int sonde_receive6(struct bpf_sock_addr *context) {
    struct ends ends = {};
    u32 *remote = (u32 *)ends.remote;
    remote[0] = context->user_ip6[0];
    remote[1] = context->user_ip6[1];
    remote[2] = context->user_ip6[2];
    remote[3] = context->user_ip6[3];
    udp_receives(context, &ends);
    return 1;
}

INLINE void udp_tell_closed(const struct flow *flow, const struct ends *ends, u64 cookie) {
    u8 outcome = flow->answered ? ESTABLISHED : flow->refused ? REFUSED : UNANSWERED;
    if (!see_lengths) outcome = UNKNOWN;
    tell_closed(PROTOCOL_UDP, outcome, since_boot(), cookie, ends, flow->out, flow->in, &flow->exchange);
}

SEC("cgroup/sock_release") int sonde_release(struct bpf_sock *socket) {
    if (socket->protocol != PROTOCOL_UDP) return 1;
    struct kept *kept = storage_get(&sockets, socket, 0, 0);
    if (!kept || !kept->to.port) return 1;
    struct ends ends = {};
    read_ends(&ends, plain(socket));
    __builtin_memcpy(ends.remote, kept->to.peer, 16);
    ends.remote_port = (u16)kept->to.port;
    if (!kept->peers) {
        udp_tell_closed(&kept->flow, &ends, kept->to.cookie);
    } else {
        // Mapped like its peer where it is bound to no address.
        if (is_mapped(ends.remote) && !is_mapped(ends.local)) map_v4(ends.local, 0);
        struct flow *flow = map_lookup(&flows, &kept->to);
        if (flow) udp_tell_closed(flow, &ends, kept->to.cookie);
    }
    map_delete(&flows, &kept->to);
    return 1;
}
