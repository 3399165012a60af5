// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// What TCP and UDP share: what is kept of a socket, who opened it, and exchanges inside it.
#pragma once

#include "record.h"

#define SILENCE 1000000000ull

// Our own process, whose calls to loopback are told so that the sensor can test itself.
const volatile u32 self_pid;
// Whether the programs that see each send and receive are to be had; without them a first datagram is all that is known.
const volatile u8 see_lengths;

// One peer of a socket: all of a connection, or one of several that a datagram socket sends to.
struct flow {
    u64 last; // latest payload, or when it was opened or answered
    struct exchange exchange;
    u64 out;
    u64 in;
    u32 answered;
    u32 refused;
};

struct flow_key {
    u64 cookie;
    u8 peer[16];
    u32 port;
    u32 padding;
};

struct kept {
    struct flow flow; // unused while `to` names a peer of an unconnected socket
    struct flow_key to; // the peer sent to last; zeros for TCP
    struct flow_key from; // the peer of the receive under way
    u32 peers; // peers of an unconnected socket
    u32 addressed; // the send under way named its peer
    u32 reset;
    u32 padding;
};

struct {
    UINT(type, MAP_SK_STORAGE);
    UINT(map_flags, F_NO_PREALLOC);
    TYPE(key, int);
    TYPE(value, struct kept);
} sockets SEC(".maps");

// For user space to look into: exchanges under way, by socket; and each peer of unconnected datagram sockets.
struct {
    UINT(type, MAP_HASH_LRU);
    UINT(max_entries, 16384);
    TYPE(key, struct flow_key);
    TYPE(value, struct flow);
} flows SEC(".maps");

INLINE u16 swap16(u16 value) { return __builtin_bswap16(value); }

INLINE void map_v4(u8 *to, u32 address) {
    u32 *words = (u32 *)to;
    words[0] = 0;
    words[1] = 0;
    words[2] = __builtin_bswap32(0xffff);
    words[3] = address;
}

INLINE int is_mapped(const u8 *address) {
    const u32 *words = (const u32 *)address;
    return words[0] == 0 && words[1] == 0 && words[2] == __builtin_bswap32(0xffff);
}

INLINE int is_loopback(const u8 *address) {
    const u32 *words = (const u32 *)address;
    if (is_mapped(address)) return address[12] == 127;
    return words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == __builtin_bswap32(1);
}

// Multicast and broadcast: nobody is called.
INLINE int is_crowd(const u8 *address) {
    if (is_mapped(address)) return address[12] >= 224;
    return address[0] == 0xff;
}

INLINE int same_address(const u8 *one, const u8 *other) {
    const u64 *a = (const u64 *)one, *b = (const u64 *)other;
    return a[0] == b[0] && a[1] == b[1];
}

// A call that stays on this host; our own count while we test ourselves, and questions to a resolver on this host always do:
// they tell which process wants to know.
INLINE int is_local_call(const struct ends *ends) {
    if (ends->remote_port == 53) return 0;
    if (!is_loopback(ends->remote) && !same_address(ends->local, ends->remote)) return 0;
    return (u32)(current_pid_tgid() >> 32) != self_pid;
}

INLINE void copy_address(u8 *to, const struct in6_addr *from) {
    u32 *words = (u32 *)to;
    words[0] = from->in6_u.u6_addr32[0];
    words[1] = from->in6_u.u6_addr32[1];
    words[2] = from->in6_u.u6_addr32[2];
    words[3] = from->in6_u.u6_addr32[3];
}

// Of a socket that the verifier knows.
INLINE void fill_ends(struct ends *ends, struct sock *sk) {
    ends->local_port = sk->__sk_common.skc_num;
    ends->remote_port = swap16(sk->__sk_common.skc_dport);
    if (sk->__sk_common.skc_family == FAMILY_6) {
        copy_address(ends->remote, &sk->__sk_common.skc_v6_daddr);
        copy_address(ends->local, &sk->__sk_common.skc_v6_rcv_saddr);
        if (!is_mapped(ends->remote)) return;
    }
    map_v4(ends->remote, sk->__sk_common.skc_daddr);
    map_v4(ends->local, sk->__sk_common.skc_rcv_saddr);
}

// What a call says of its socket beside the two ends.
struct whose {
    u32 uid;
    u32 net_namespace;
};

INLINE struct whose whose(struct sock *sk) {
    struct net *net = sk->__sk_common.skc_net.net;
    struct whose whose = {.uid = sk->sk_uid.val, .net_namespace = net ? net->ns.inum : 0};
    return whose;
}

// The same of a plain number.
INLINE struct whose read_whose(struct sock *sk) {
    struct whose whose = {};
    struct net *net = 0;
    READ(whose.uid, sk->sk_uid.val);
    READ(net, sk->__sk_common.skc_net.net);
    READ(whose.net_namespace, net->ns.inum);
    return whose;
}

INLINE void fill_head(struct head *head, u8 kind, u8 protocol, u64 time, u64 cookie, const struct ends *ends) {
    head->time = time;
    head->kind = kind;
    head->protocol = protocol;
    head->outcome = UNKNOWN;
    head->flags = 0;
    head->padding = 0;
    head->ends = *ends;
    head->cookie = cookie;
}

INLINE void tell_opened(struct whose whose, u8 protocol, u64 time, u64 cookie, const struct ends *ends) {
    struct task_struct *task = current_task();
    struct opened *record = reserve(sizeof(*record));
    if (!record) return;
    fill_head(&record->head, OPENED, protocol, time, cookie, ends);
    fill_owner(&record->owner, task, 0);
    record->owner.uid = whose.uid;
    record->owner.net_namespace = whose.net_namespace;
    if (task->flags & PF_KTHREAD) record->head.flags = BY_KERNEL;
    u32 pid = record->owner.pid;
    if (is_untold(pid, record->owner.start)) {
        record->head.flags |= UNTOLD;
        map_delete(&untold, &pid);
    }
    submit(record);
}

INLINE void tell_answered(u8 protocol, u64 time, u64 cookie, const struct ends *ends) {
    struct answered *record = reserve(sizeof(*record));
    if (!record) return;
    fill_head(&record->head, ANSWERED, protocol, time, cookie, ends);
    submit(record);
}

INLINE void tell_closed(u8 protocol, u8 outcome, u64 time, u64 cookie, const struct ends *ends, u64 out, u64 in,
                        const struct exchange *under_way) {
    struct closed *record = reserve(sizeof(*record));
    if (!record) return;
    fill_head(&record->head, CLOSED, protocol, time, cookie, ends);
    record->head.outcome = outcome;
    record->out = out;
    record->in = in;
    record->under_way = *under_way;
    submit(record);
}

// Payload went by. Whether it broke the silence.
INLINE int count_payload(struct flow *flow, u64 now, u32 out, u32 in, struct exchange *before) {
    u64 last = flow->last;
    flow->last = now;
    __sync_fetch_and_add(&flow->out, (u64)out);
    __sync_fetch_and_add(&flow->in, (u64)in);
    if (now - last >= SILENCE && now > last) {
        *before = flow->exchange;
        flow->exchange.start = now;
        flow->exchange.last = now;
        flow->exchange.out = out;
        flow->exchange.in = in;
        flow->exchange.untold = 0;
        return 1;
    }
    if (flow->exchange.start) {
        flow->exchange.last = now;
        __sync_fetch_and_add(&flow->exchange.out, (u64)out);
        __sync_fetch_and_add(&flow->exchange.in, (u64)in);
    }
    return 0;
}

INLINE void tell_exchange(u8 protocol, u64 time, u64 cookie, const struct ends *ends, const struct exchange *before,
                          struct flow *flow) {
    struct exchanged *record = reserve(sizeof(*record));
    if (!record) {
        flow->exchange.untold = 1;
        return;
    }
    fill_head(&record->head, EXCHANGE, protocol, time, cookie, ends);
    record->before = *before;
    submit(record);
}
