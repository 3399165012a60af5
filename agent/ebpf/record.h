// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// What goes to user space, and the ring that it goes through. `agent/src/platform/linux/ebpf/record.rs` reads the same layouts.
#pragma once

#include "kernel.h"

// Of a call: no process asked, the kernel did. The program that the process runs was not told, for want of room.
enum { BY_KERNEL = 1, UNTOLD = 2 };
enum kind { OPENED = 1, ANSWERED = 2, EXCHANGE = 3, CLOSED = 4, EXEC = 16, FORK = 17, EXIT = 18 };
// As `sonde_common::event::Outcome` counts them here: record.rs translates.
enum outcome { UNKNOWN = 0, ESTABLISHED = 1, REFUSED = 2, UNANSWERED = 3, RESET = 4 };

// Both ends; an IPv4 address is mapped into IPv6 (::ffff:a.b.c.d); ports as numbers.
struct ends {
    u8 local[16];
    u8 remote[16];
    u16 local_port;
    u16 remote_port;
    u32 padding;
} __attribute__((aligned(8)));

struct head {
    u64 time; // since boot
    u8 kind;
    u8 protocol;
    u8 outcome; // CLOSED
    u8 flags; // OPENED
    u32 padding;
    struct ends ends;
    u64 cookie;
};
_Static_assert(sizeof(struct head) == 64, "no padding");

struct owner {
    u64 start;
    u64 cgroup;
    u64 inode;
    u32 device;
    u32 pid;
    u32 uid;
    u32 net_namespace;
};

// An exchange: what was exchanged between two silences. `start` is 0 when there was none.
struct exchange {
    u64 start;
    u64 last;
    u64 out;
    u64 in;
    u64 untold; // its beginning found no room in the ring
};

struct opened {
    struct head head;
    struct owner owner;
};
struct answered {
    struct head head;
};
// The one that `head.time` begins, and all of the one before it.
struct exchanged {
    struct head head;
    struct exchange before;
};
struct closed {
    struct head head;
    u64 out;
    u64 in;
    struct exchange under_way;
};

enum { MAX_PATH = 1024, MAX_NAME = 256, MAX_COMPONENTS = 24, MAX_ARGUMENTS = 512 };
enum { UNLINKED = 1, PATH_CUT = 2 };

struct exec {
    u64 time;
    u8 kind;
    u8 flags;
    u16 path_bytes;
    u16 argument_bytes;
    u16 padding;
    struct owner owner;
    u64 parent_start;
    u32 parent_pid;
    u32 padding2;
    // Names of the path from the file up to the root, each ended by a zero byte; then the arguments.
    u8 text[MAX_PATH + MAX_NAME + MAX_ARGUMENTS];
};
enum { EXEC_HEAD = 72 };
_Static_assert(__builtin_offsetof(struct exec, text) == EXEC_HEAD, "no padding");

struct lineage {
    u64 time;
    u8 kind;
    u8 padding[7];
    u64 start;
    u64 parent_start; // FORK
    u32 pid;
    u32 parent_pid; // FORK
};

struct {
    UINT(type, MAP_RING);
    UINT(max_entries, 1 << 20); // set at load
} ring SEC(".maps");

struct {
    UINT(type, MAP_PERCPU_ARRAY);
    UINT(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, u64);
} lost SEC(".maps");

// Processes whose program could not be told: the ring was full. Told with their first call, so that nobody takes them for what
// they ran before.
struct {
    UINT(type, MAP_HASH_LRU);
    UINT(max_entries, 4096);
    TYPE(key, u32);
    TYPE(value, u64); // start
} untold SEC(".maps");

INLINE int is_untold(u32 pid, u64 start) {
    u64 *known = map_lookup(&untold, &pid);
    return known && *known == start;
}

INLINE void count_lost(void) {
    u32 first = 0;
    u64 *count = map_lookup(&lost, &first);
    if (count) *count += 1;
}

INLINE void *reserve(u32 size) {
    void *record = ring_reserve(&ring, size, 0);
    if (!record) count_lost();
    return record;
}

// Nobody waits: the sensor looks several times a second.
INLINE void submit(void *record) { ring_submit(record, F_RING_NO_WAKEUP); }

INLINE void fill_file(struct owner *owner, struct mm_struct *mm, u32 *links) {
    struct file *file = 0;
    struct inode *inode = 0;
    struct super_block *block = 0;
    owner->inode = 0;
    owner->device = 0;
    if (mm) READ(file, mm->exe_file);
    if (file) READ(inode, file->f_inode);
    if (!inode) return;
    READ(owner->inode, inode->i_ino);
    READ(block, inode->i_sb);
    READ(owner->device, block->s_dev);
    if (links) READ(*links, inode->i_nlink);
}

INLINE u64 leader_start(struct task_struct *task) {
    struct task_struct *leader = 0;
    u64 start = 0;
    READ(leader, task->group_leader);
    READ(start, leader->start_boottime);
    return start;
}

// All but uid and network namespace, which belong to the socket where there is one.
INLINE void fill_owner(struct owner *owner, struct task_struct *task, u32 *links) {
    struct css_set *set = 0;
    struct cgroup *group = 0;
    struct kernfs_node *node = 0;
    struct mm_struct *mm = 0;
    owner->start = leader_start(task);
    owner->cgroup = 0;
    READ(set, task->cgroups);
    READ(group, set->dfl_cgrp);
    READ(node, group->kn);
    READ(owner->cgroup, node->id);
    READ(owner->pid, task->tgid);
    READ(mm, task->mm);
    fill_file(owner, mm, links);
}
