// A program that works for this process and may do little: no rights, no files but those of the
// system, and no life beyond that of the thread that started it.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#pragma clang assume_nonnull begin

/// What a confined program is given.
typedef struct {
    /// The user and group it becomes where this process is root; else it stays who this one is.
    uint32_t user;
    uint32_t group;
    /// Its standard input, and where its output and errors go.
    int input;
    int output;
} clinux_confinement;

/// A confined program that runs.
typedef struct {
    pid_t pid;
    /// Whether the kernel keeps files from it (Landlock, Linux 5.13 and later).
    bool is_without_files;
} clinux_confined;

/// Starts `argv` (ended by NULL, beginning with a path): without capabilities, unable to get any,
/// reading the system's folders only and writing nowhere. It is killed when the calling thread ends.
/// Returns 0 or a negated errno.
int clinux_confined_start(
    char *_Nullable const *_Nonnull argv, const clinux_confinement *confinement,
    clinux_confined *program);

/// What became of the child `pid`: -EAGAIN while it runs, else the word of waitpid.
int clinux_child_status(pid_t pid);

/// A UDP socket, not blocking, that sends to one address and hears from it alone.
int clinux_udp_connected(bool is_v6, const uint8_t *address, uint16_t port);

#pragma clang assume_nonnull end
