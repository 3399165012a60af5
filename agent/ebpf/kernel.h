// SPDX-License-Identifier: Apache-2.0 OR MIT OR GPL-2.0-only
// The few kernel structures that are read, with only the fields that are read: where a field lies is settled when the program is
// loaded, from the type information of the running kernel (CO-RE).
#pragma once

#include "bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
    u32 inum;
};
struct net {
    struct ns_common ns;
};
struct possible_net {
    struct net *net;
};
struct in6_addr {
    u8 bytes[16];
};
struct sock_common {
    u32 skc_daddr;
    u32 skc_rcv_saddr;
    u16 skc_dport;
    u16 skc_num;
    u16 skc_family;
    volatile u8 skc_state;
    struct possible_net skc_net;
    unsigned long skc_flags;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
};
struct kuid {
    u32 val;
};
struct sock {
    struct sock_common __sk_common;
    int sk_err;
    u16 sk_protocol;
    u16 sk_type;
    struct kuid sk_uid;
};
// Begins with a struct sock.
struct tcp_sock {
    u64 bytes_received;
    u64 bytes_sent;
    u64 bytes_retrans;
};

struct qstr {
    const unsigned char *name;
};
struct dentry {
    struct dentry *d_parent;
    struct qstr d_name;
};
struct vfsmount {
    struct dentry *mnt_root;
};
struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
};
struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};
struct super_block {
    u32 s_dev;
};
struct inode {
    struct super_block *i_sb;
    unsigned long i_ino;
    u32 i_nlink;
};
struct file {
    struct path f_path;
    struct inode *f_inode;
};
struct mm_struct {
    struct file *exe_file;
    unsigned long arg_start;
    unsigned long arg_end;
};

struct kernfs_node {
    u64 id;
};
struct cgroup {
    struct kernfs_node *kn;
};
struct css_set {
    struct cgroup *dfl_cgrp;
};
struct nsproxy {
    struct net *net_ns;
};
struct cred {
    struct kuid euid;
};
struct atomic {
    int counter;
};
struct signal_struct {
    struct atomic live;
};
struct task_struct {
    u32 flags;
    int pid;
    int tgid;
    u64 start_boottime;
    struct task_struct *real_parent;
    struct task_struct *group_leader;
    const struct cred *cred;
    struct mm_struct *mm;
    struct nsproxy *nsproxy;
    struct css_set *cgroups;
    struct signal_struct *signal;
};

#pragma clang attribute pop

enum { FAMILY_4 = 2, FAMILY_6 = 10 };
enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
// Also the state of a datagram socket that has one peer by connect(2).
enum { STATE_ESTABLISHED = 1, STATE_CLOSE = 7 };
// Bit of skc_flags: the other side's FIN was taken.
enum { SOCK_DONE = 1 };
enum { PF_KTHREAD = 0x00200000 };
enum { ECONNRESET = 104, ETIMEDOUT = 110, ECONNREFUSED = 111, EHOSTUNREACH = 113, ENETUNREACH = 101 };
