// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// Processes: what they run, from whom they came, when they ended. The path is resolved here, because a process may be gone before
// user space can ask /proc.
#pragma once

#include "record.h"

struct {
    UINT(type, MAP_PERCPU_ARRAY);
    UINT(max_entries, 1);
    TYPE(key, u32);
    TYPE(value, struct exec);
} scratch SEC(".maps");

// Writes the names from the file up to the root of its mount tree. Returns their bytes.
INLINE u32 write_path(struct exec *record, struct file *file) {
    struct vfsmount *place = 0;
    struct dentry *entry = 0;
    u32 used = 0;
    READ(place, file->f_path.mnt);
    READ(entry, file->f_path.dentry);
    // Each turn takes one name or crosses one mount.
    for (int turn = 0; turn < 2 * MAX_COMPONENTS; turn++) {
        struct dentry *root = 0, *parent = 0;
        const unsigned char *name = 0;
        READ(root, place->mnt_root);
        if (entry == root) {
            struct mount *mount = (void *)place - (u64)&((struct mount *)0)->mnt;
            struct mount *above = 0;
            READ(above, mount->mnt_parent);
            if (above == mount || !above) return used;
            READ(entry, mount->mnt_mountpoint);
            place = &above->mnt;
            continue;
        }
        READ(parent, entry->d_parent);
        READ(name, entry->d_name.name);
        if (used > MAX_PATH) break;
        long bytes = read_kernel_text(record->text + used, MAX_NAME, name);
        if (bytes <= 0 || bytes > MAX_NAME) break;
        used += (u32)bytes;
        // A file of no directory: an anonymous one.
        if (parent == entry) return used;
        entry = parent;
    }
    record->flags |= PATH_CUT;
    return used;
}

SEC("tp_btf/sched_process_exec") int sonde_exec(u64 *arguments) {
    struct task_struct *task = (void *)arguments[0];
    struct task_struct *parent = 0;
    struct mm_struct *mm = 0;
    struct file *file = 0;
    struct nsproxy *spaces = 0;
    struct net *net = 0;
    const struct cred *cred = 0;
    u32 first = 0, links = 1;
    struct exec *record = map_lookup(&scratch, &first);
    if (!record) return 0;

    record->time = since_boot();
    record->kind = EXEC;
    record->flags = 0;
    record->padding = 0;
    record->padding2 = 0;
    fill_owner(&record->owner, task, &links);
    READ(cred, task->cred);
    READ(record->owner.uid, cred->euid.val);
    record->owner.net_namespace = 0;
    READ(spaces, task->nsproxy);
    if (spaces) READ(net, spaces->net_ns);
    if (net) READ(record->owner.net_namespace, net->ns.inum);
    READ(parent, task->real_parent);
    READ(record->parent_pid, parent->tgid);
    record->parent_start = leader_start(parent);
    if (!links) record->flags |= UNLINKED;

    u32 used = 0;
    READ(mm, task->mm);
    if (mm) READ(file, mm->exe_file);
    if (file) used = write_path(record, file);
    if (used > MAX_PATH + MAX_NAME) used = MAX_PATH + MAX_NAME;
    record->path_bytes = (u16)used;

    unsigned long from = 0, to = 0;
    u32 length = 0;
    if (mm) {
        READ(from, mm->arg_start);
        READ(to, mm->arg_end);
    }
    if (to > from) length = to - from > MAX_ARGUMENTS ? MAX_ARGUMENTS : (u32)(to - from);
    if (length > MAX_ARGUMENTS) length = MAX_ARGUMENTS;
    if (length && read_user(record->text + used, length, (void *)from) < 0) length = 0;
    record->argument_bytes = (u16)length;

    u32 size = EXEC_HEAD + used + length;
    if (size > sizeof(*record)) size = sizeof(*record);
    u32 pid = record->owner.pid;
    u64 start = record->owner.start;
    if (ring_output(&ring, record, size, F_RING_NO_WAKEUP) < 0) {
        count_lost();
        map_update(&untold, &pid, &start, 0);
    } else if (is_untold(pid, start)) {
        map_delete(&untold, &pid);
    }
    return 0;
}

SEC("tp_btf/sched_process_fork") int sonde_fork(u64 *arguments) {
    struct task_struct *parent = (void *)arguments[0];
    struct task_struct *child = (void *)arguments[1];
    // A thread, or one of the kernel's own.
    if (child->pid != child->tgid || (child->flags & PF_KTHREAD)) return 0;
    u64 now = since_boot(), start = child->start_boottime, parent_start = leader_start(parent);
    u32 pid = (u32)child->tgid;
    if (is_untold((u32)parent->tgid, parent_start)) map_update(&untold, &pid, &start, 0);
    struct lineage *record = reserve(sizeof(*record));
    if (!record) return 0;
    __builtin_memset(record, 0, sizeof(*record));
    record->time = now;
    record->kind = FORK;
    record->pid = pid;
    record->start = start;
    record->parent_pid = (u32)parent->tgid;
    record->parent_start = parent_start;
    submit(record);
    return 0;
}

SEC("tp_btf/sched_process_exit") int sonde_exit(u64 *arguments) {
    struct task_struct *task = (void *)arguments[0];
    // Threads of it still run.
    if (task->signal->live.counter > 0 || (task->flags & PF_KTHREAD)) return 0;
    u64 now = since_boot();
    struct lineage *record = reserve(sizeof(*record));
    if (!record) return 0;
    __builtin_memset(record, 0, sizeof(*record));
    record->time = now;
    record->kind = EXIT;
    record->pid = (u32)task->tgid;
    record->start = leader_start(task);
    submit(record);
    return 0;
}
