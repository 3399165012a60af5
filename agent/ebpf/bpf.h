// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// What the kernel gives to programs: integer types, map kinds, helpers by their fixed numbers, and the contexts whose layout is
// user-space ABI (linux/bpf.h). Declared here so that building needs clang and nothing else.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static __attribute__((always_inline)) inline
#define UINT(name, value) int(*name)[value]
#define TYPE(name, value) typeof(value) *name

enum { MAP_HASH_LRU = 9, MAP_PERCPU_ARRAY = 6, MAP_SK_STORAGE = 24, MAP_RING = 27 };
enum { F_NO_PREALLOC = 1, F_STORAGE_CREATE = 1, F_RING_NO_WAKEUP = 1 };

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static long (*map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*map_delete)(void *map, const void *key) = (void *)3;
static u64 (*current_pid_tgid)(void) = (void *)14;
static u64 (*current_task)(void) = (void *)35;
static u64 (*socket_cookie)(void *context) = (void *)46;
static long (*sock_ops_flags_set)(void *context, int flags) = (void *)59;
static void *(*storage_get)(void *map, void *socket, void *value, u64 flags) = (void *)107;
static long (*storage_delete)(void *map, void *socket) = (void *)108;
static long (*read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*read_kernel_text)(void *to, u32 size, const void *from) = (void *)115;
// Nanoseconds since boot, sleep included: what a process's start is counted in too.
static u64 (*since_boot)(void) = (void *)125;
static long (*ring_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*ring_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*ring_submit)(void *data, u64 flags) = (void *)132;

struct bpf_sock {
    u32 bound_dev_if;
    u32 family;
    u32 type;
    u32 protocol;
    u32 mark;
    u32 priority;
    u32 src_ip4;
    u32 src_ip6[4];
    u32 src_port;
};

struct bpf_sock_ops {
    u32 op;
    u32 args[4];
    u32 before_flags[16];
    u32 bpf_sock_ops_cb_flags;
    u32 state;
    u32 before_bytes[19];
    u64 bytes_received;
    u64 bytes_acked;
    struct bpf_sock *sk;
};
_Static_assert(__builtin_offsetof(struct bpf_sock_ops, bpf_sock_ops_cb_flags) == 84, "ABI");
_Static_assert(__builtin_offsetof(struct bpf_sock_ops, sk) == 184, "ABI");

struct bpf_sock_addr {
    u32 user_family;
    u32 user_ip4;
    u32 user_ip6[4];
    u32 user_port;
    u32 family;
    u32 type;
    u32 protocol;
    u32 msg_src_ip4;
    u32 msg_src_ip6[4];
    u32 padding;
    struct bpf_sock *sk;
};
_Static_assert(__builtin_offsetof(struct bpf_sock_addr, sk) == 64, "ABI");

enum { CALL_CONNECT = 3, CALL_ACTIVE_ESTABLISHED = 4, CALL_PASSIVE_ESTABLISHED = 5, CALL_STATE = 10 };
enum { WANT_STATE = 4 };

// A pointer that the verifier knows as a socket may not be moved; the number of it may, and is read through with care.
INLINE void *plain(void *pointer) {
    void *volatile held = pointer;
    void *number = 0;
    read_kernel(&number, sizeof(number), (void *)&held);
    return number;
}

// Reads one kernel field, at the place that the running kernel has it at.
#define READ(to, field) read_kernel(&(to), sizeof(to), &(field))
