// A command in network and mount namespaces of its own, whose only way out is one interface.
//
// The calling program has threads, and a process with threads may not make a user namespace: so
// the new process forks here, does all its work in C, and execs the command at the end.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#pragma clang assume_nonnull begin

/// What a starting process does, in order; a failure names the step it happened in.
enum {
    CLINUX_STEP_FORK,
    CLINUX_STEP_NAMESPACES,
    CLINUX_STEP_USER_MAP,
    CLINUX_STEP_PRIVATE_MOUNTS,
    CLINUX_STEP_DEVICE,
    CLINUX_STEP_LOOPBACK,
    CLINUX_STEP_INTERFACE,
    CLINUX_STEP_IPV4,
    CLINUX_STEP_IPV6,
    CLINUX_STEP_RESOLVER,
    CLINUX_STEP_RIGHTS,
    CLINUX_STEP_EXEC,
};

/// The step a process failed in and the errno; `code` 0 for none.
typedef struct {
    int32_t step;
    int32_t code;
} clinux_step_failure;

/// A process that waits in its namespaces to be told its interface.
typedef struct {
    pid_t pid;
    int channel;
} clinux_isolated;

enum { CLINUX_RESOLVER_LIMIT = 1024, CLINUX_SWITCH_LIMIT = 4096 };

/// The interface the process shall use, which is in its namespace already, and its files.
typedef struct {
    /// Empty for none: then nothing but loopback is there.
    char interface[16];
    uint8_t ipv4[4];
    uint8_t ipv6[16];
    int32_t mtu;
    /// Whether the command may make network namespaces for its threads; all else is taken from it.
    bool is_network_maker;
    /// Contents of /etc/resolv.conf, ended by 0.
    char resolver[CLINUX_RESOLVER_LIMIT];
    /// Contents of /etc/nsswitch.conf, ended by 0; empty to leave the file alone.
    char name_switch[CLINUX_SWITCH_LIMIT];
} clinux_isolated_setup;

/// Forks the process that will become `argv` (ended by NULL) and waits until it has its
/// namespaces; a user namespace too where this user may not make the others without.
clinux_step_failure clinux_isolated_start(
    char *_Nullable const *_Nonnull argv, clinux_isolated *process);

/// Has the process behind `channel`, which waits in its namespaces, make a TUN device there. `device`
/// is then its descriptor in that process, which closes it when it becomes its command.
clinux_step_failure clinux_isolated_make_device(int channel, int32_t *device);

/// Has the process set its interface up, give up its rights and become its command. From success on
/// this process ignores SIGINT and SIGQUIT, which the terminal sends to both, and passes SIGTERM,
/// SIGHUP, SIGUSR1 and SIGUSR2 on.
clinux_step_failure clinux_isolated_run(
    clinux_isolated *process, const clinux_isolated_setup *setup);

/// Waits for the end of the process: its status as waitpid gives it, or a negated errno.
int clinux_isolated_wait(clinux_isolated *process);

/// Kills a process that has not become its command, and waits for its end.
void clinux_isolated_abandon(clinux_isolated *process);

/// Has this process become `argv` (ended by NULL), with every signal as at first; an errno where that
/// is impossible.
int clinux_become(char *_Nullable const *_Nonnull argv);

/// Ends this process by `signal`, as its child ended; returns only where that is impossible.
void clinux_die_by_signal(int signal);

// MARK: Threads with a network namespace of their own, and sockets from before they had it

/// A TUN device in the calling thread's network namespace, as clinux_tun_attach makes them: its
/// descriptor, or a negated errno.
int clinux_device_make(void);

/// Moves the calling thread into a new network namespace with nothing but loopback in it: the
/// thread's number, or a negated errno.
int clinux_thread_leave_network(void);

/// Sets the interface of `setup` up in the calling thread's namespace; files are left alone.
clinux_step_failure clinux_thread_set_up(const clinux_isolated_setup *setup);

/// Keeps this process's memory to itself: no core is written, and no other program of this user may
/// trace it. A program it becomes or starts is as before.
void clinux_hide_memory(void);

/// Whether this process may change interfaces, routes and rules of the network it is in.
bool clinux_is_network_administrator(void);

/// Whether the calling thread's namespace has the interface `name`.
bool clinux_thread_has_interface(const char *name);

/// Mounts the hierarchy of control groups that tags sockets at the folder `path`; a negated errno where
/// that is impossible.
int clinux_mount_socket_classes(const char *path);

enum { CLINUX_LISTEN_TCP, CLINUX_LISTEN_UDP };

/// A non-blocking socket at a port of this host's loopback (0: a free one), which commands started
/// later inherit; a TCP one listens.
int clinux_loopback_listen(bool is_v6, uint16_t port, int kind);

#pragma clang assume_nonnull end
