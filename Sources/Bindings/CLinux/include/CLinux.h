// The Linux calls Swift's Glibc does not show, each behind one function.
//
// A function that can fail returns a negated errno. None allocates but clinux_batch_create.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// MARK: errno as text

/// "EADDRINUSE" for the number; NULL for one the C library does not know.
const char *_Nullable clinux_errno_name(int code);

/// "Address already in use" for the number, never translated; NULL for an unknown one.
const char *_Nullable clinux_errno_text(int code);

// MARK: memory

/// Bytes of memory the program has set aside and not given back.
size_t clinux_heap_bytes(void);

/// Gives back memory set aside and unused, and unmaps the pages of code and constants: those in use
/// come back from the page cache, each at its first touch.
void clinux_release_unused(void);

/// A file that lies in memory and has no name, closed on exec; its offset is 0.
int clinux_memory_file(void);

// MARK: epoll

/// One descriptor that is ready.
typedef struct {
    uint64_t token;
    bool is_readable;
    bool is_writable;
    /// The other end closed, or the descriptor reports an error.
    bool is_closed;
} clinux_event;

enum { CLINUX_POLL_ADD, CLINUX_POLL_MODIFY, CLINUX_POLL_REMOVE };

int clinux_poll_create(void);
int clinux_poll_control(
    int poller, int action, int fd, uint64_t token, bool readable, bool writable);

/// Waits up to `nanoseconds` (below 0: for ever) and fills at most `capacity` (bounded by 64)
/// events. With `is_precise` it calls epoll_pwait2, which old kernels answer with -ENOSYS;
/// without, epoll_wait with milliseconds rounded up.
int clinux_poll_wait(
    int poller, clinux_event *events, uint32_t capacity, int64_t nanoseconds, bool is_precise);

// MARK: netlink

enum { CLINUX_NETLINK_ROUTE, CLINUX_NETLINK_FIREWALL };

/// A socket that is readable after a change of interfaces, addresses, routes and their rules, or of
/// the firewall's.
int clinux_netlink_listen(int kind);
/// Takes all notifications there are; that some were lost is as good as one.
void clinux_netlink_drain(int fd);

// MARK: eventfd, entropy, threads, namespaces

int clinux_wakeup_create(void);
int clinux_wakeup_signal(int fd);
int clinux_wakeup_drain(int fd);

/// Asks the kernel for `count` random bytes; returns how many came, or a negated errno.
int64_t clinux_random(void *bytes, size_t count);

/// Names the calling thread (15 bytes count) and makes its timers precise to `slack` ns.
void clinux_describe_thread(const char *name, uint64_t slack);

/// Moves the calling thread into the network namespace `fd` refers to.
int clinux_enter_network_namespace(int fd);

/// A descriptor of the process `pid`, which becomes readable when that process has ended.
int clinux_process_open(int pid);

/// A copy of the descriptor `number` of the process that `process` is a descriptor of; the kernel
/// grants it to who may trace that process.
int clinux_process_descriptor(int process, int number);

// MARK: UDP

/// An address as Umbel holds it: IPv6, or IPv4 as ::ffff:a.b.c.d, in words of the host.
typedef struct {
    uint64_t high;
    uint64_t low;
    uint16_t port;
} clinux_address;

/// A non-blocking UDP socket of one family whose datagrams may be fragmented on the way.
int clinux_udp_create(bool is_v6, bool is_v6_only);
int clinux_udp_bind(int fd, bool is_v6, const clinux_address *address);
int clinux_udp_local_address(int fd, clinux_address *address);
int clinux_udp_set_receive_buffer(int fd, int byte_count);
int clinux_udp_set_send_buffer(int fd, int byte_count);
int clinux_udp_set_mark(int fd, uint32_t mark);
int clinux_udp_set_reuse_port(int fd);
/// Steers datagrams among the `count` > 0 sockets of a shared port, in the order of their binding:
/// to the one numbered by the big-endian word at `first` of the payload modulo `count`, or by the
/// word at `second` where that one is 0. Datagrams too short for it go to socket 0.
int clinux_udp_steer(int fd, uint32_t first, uint32_t second, uint32_t count);
/// The address datagrams with `mark` to `to` would come from; a negated errno where there is no
/// route. Nothing is sent.
int clinux_udp_source(
    bool is_v6, const clinux_address *to, uint32_t mark, clinux_address *source);
/// Turns GRO on and asks whether the kernel knows UDP_SEGMENT; both, or a negated errno.
int clinux_udp_set_segmentation(int fd);

/// What a socket's receive queue holds now.
typedef struct {
    /// Bytes booked, overhead included.
    uint32_t queued_byte_count;
    /// The limit those bytes run into.
    uint32_t limit_byte_count;
    /// Datagrams the kernel dropped since the socket exists.
    uint32_t dropped_count;
} clinux_queue;

int clinux_udp_queue(int fd, clinux_queue *queue);

/// Room for one recvmmsg or sendmmsg: headers, addresses, control messages and pieces.
typedef struct clinux_batch clinux_batch;

clinux_batch *_Nullable clinux_batch_create(uint32_t message_count, uint32_t piece_count);
void clinux_batch_destroy(clinux_batch *batch);

/// One message received.
typedef struct {
    clinux_address source;
    uint32_t byte_count;
    /// Size of the datagrams GRO put into it; 0 where it is one datagram.
    uint32_t segment_byte_count;
    /// Bytes or control messages did not fit.
    bool is_truncated;
} clinux_received;

/// Receives up to `count` messages, message i into the `slot` bytes at `base + i * slot`.
/// Returns how many came; -EAGAIN when there is none.
int clinux_batch_receive(
    clinux_batch *batch, int fd, uint8_t *base, size_t slot, uint32_t count);

/// Message `index` of the last receive.
clinux_received clinux_batch_received(const clinux_batch *batch, uint32_t index);

/// Forgets the messages put in for sending.
void clinux_batch_clear(clinux_batch *batch);

/// Begins a message to `to`; `segment` above 0 asks the kernel to cut it into datagrams of that
/// size. False where there is no room, or an IPv4 socket cannot reach an IPv6 address.
bool clinux_batch_begin_message(
    clinux_batch *batch, bool is_v6, const clinux_address *to, uint16_t segment);

/// Appends bytes to the message begun last, as part of its last piece where they are adjacent.
bool clinux_batch_append(clinux_batch *batch, const uint8_t *bytes, size_t count);

/// Sends the messages from `first` on; returns how many went, or a negated errno.
int clinux_batch_send(clinux_batch *batch, int fd, uint32_t first);

// MARK: TUN

enum {
    /// Bytes of the virtio header in front of every packet.
    CLINUX_TUN_HEADER_SIZE = 10,
    /// Bytes of an interface name, its final zero included.
    CLINUX_TUN_NAME_SIZE = 16,
};

/// Attaches `fd` to the interface in `name`, which comes back as the kernel completed it.
int clinux_tun_attach(int fd, char *name, bool is_multi_queue);
/// Looks whether `fd` is a device with one queue that clinux_tun_attach has attached, whoever called
/// that; the interface's name comes back, and reading no longer waits.
int clinux_tun_identify(int fd, char *name);
/// Fixes the header's size and byte order.
int clinux_tun_set_header(int fd);
/// Offers checksum and TCP offload; with `udp` UDP segmentation as well.
int clinux_tun_set_offload(int fd, bool tcp, bool udp);

#pragma clang assume_nonnull end

#include "confined.h"
#include "namespace.h"
