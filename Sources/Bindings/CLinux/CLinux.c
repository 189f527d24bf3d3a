#define _GNU_SOURCE
#include "CLinux.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

// Names the kernel knows longer than this system's headers do.
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define RESULT(call) ((call) < 0 ? -errno : 0)

// MARK: errno as text

const char *clinux_errno_name(int code) { return strerrorname_np(code); }
const char *clinux_errno_text(int code) { return strerrordesc_np(code); }

// MARK: epoll

int clinux_poll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinux_poll_control(
    int poller, int action, int fd, uint64_t token, bool readable, bool writable) {
    static const int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
    struct epoll_event event = {
        .events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0),
        .data.u64 = token,
    };
    return RESULT(epoll_ctl(poller, operations[action], fd, &event));
}

int clinux_poll_wait(
    int poller, clinux_event *events, uint32_t capacity, int64_t nanoseconds, bool is_precise) {
    struct epoll_event ready[64];
    int limit = capacity < 64 ? (int)capacity : 64;
    int count;
    if (is_precise) {
        struct timespec timeout = {
            .tv_sec = nanoseconds / 1000000000,
            .tv_nsec = nanoseconds % 1000000000,
        };
        count = epoll_pwait2(poller, ready, limit, nanoseconds < 0 ? NULL : &timeout, NULL);
    } else {
        int64_t milliseconds = nanoseconds / 1000000 + (nanoseconds % 1000000 > 0);
        if (milliseconds > 1000000000) milliseconds = 1000000000;
        count = epoll_wait(poller, ready, limit, nanoseconds < 0 ? -1 : (int)milliseconds);
    }
    if (count < 0) return -errno;
    for (int i = 0; i < count; i++) {
        events[i].token = ready[i].data.u64;
        events[i].is_readable = ready[i].events & EPOLLIN;
        events[i].is_writable = ready[i].events & EPOLLOUT;
        events[i].is_closed = ready[i].events & (EPOLLHUP | EPOLLERR);
    }
    return count;
}

// MARK: netlink

int clinux_netlink_listen(int kind) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    // Bit n - 1 is group n.
    if (kind == CLINUX_NETLINK_ROUTE)
        address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR
                            | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE
                            | 1 << (RTNLGRP_IPV6_RULE - 1);
    else
        address.nl_groups = 1 << (NFNLGRP_NFTABLES - 1);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    kind == CLINUX_NETLINK_ROUTE ? NETLINK_ROUTE : NETLINK_NETFILTER);
    if (fd < 0) return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    int code = errno;
    close(fd);
    return -code;
}

void clinux_netlink_drain(int fd) {
    char byte;
    while (recv(fd, &byte, sizeof byte, MSG_TRUNC) >= 0 || errno == ENOBUFS || errno == EINTR) {}
}

// MARK: eventfd, entropy, threads, namespaces

int clinux_wakeup_create(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int clinux_wakeup_signal(int fd) { return RESULT(eventfd_write(fd, 1)); }

int clinux_wakeup_drain(int fd) {
    eventfd_t count;
    return RESULT(eventfd_read(fd, &count));
}

int64_t clinux_random(void *bytes, size_t count) {
    ssize_t result = getrandom(bytes, count, 0);
    return result < 0 ? -errno : result;
}

void clinux_describe_thread(const char *name, uint64_t slack) {
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_TIMERSLACK, slack);
}

int clinux_enter_network_namespace(int fd) { return RESULT(setns(fd, CLONE_NEWNET)); }

int clinux_process_open(int pid) {
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : fd;
}

int clinux_process_descriptor(int process, int number) {
    int fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
    return fd < 0 ? -errno : fd;
}

// MARK: UDP addresses

static socklen_t write_address(
    struct sockaddr_storage *storage, bool is_v6, const clinux_address *address) {
    memset(storage, 0, sizeof(struct sockaddr_in6));
    if (is_v6) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)storage;
        uint64_t words[2] = {htobe64(address->high), htobe64(address->low)};
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(address->port);
        memcpy(&six->sin6_addr, words, sizeof words);
        return sizeof *six;
    }
    struct sockaddr_in *four = (struct sockaddr_in *)storage;
    four->sin_family = AF_INET;
    four->sin_port = htons(address->port);
    four->sin_addr.s_addr = htonl((uint32_t)address->low);
    return sizeof *four;
}

static clinux_address read_address(const struct sockaddr_storage *storage) {
    clinux_address address = {0};
    if (storage->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)storage;
        uint64_t words[2];
        memcpy(words, &six->sin6_addr, sizeof words);
        address.high = be64toh(words[0]);
        address.low = be64toh(words[1]);
        address.port = ntohs(six->sin6_port);
    } else if (storage->ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)storage;
        address.low = 0xffff00000000 | ntohl(four->sin_addr.s_addr);
        address.port = ntohs(four->sin_port);
    }
    return address;
}

// MARK: UDP sockets

static int set_option(int fd, int level, int name, int value) {
    return RESULT(setsockopt(fd, level, name, &value, sizeof value));
}

int clinux_udp_create(bool is_v6, bool is_v6_only) {
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    int result = 0;
    if (is_v6) {
        result = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, is_v6_only);
        if (result == 0) {
            result = set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
        }
    }
    // Also on an IPv6 socket, whose IPv4-mapped datagrams follow the IPv4 setting.
    if (result == 0) result = set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

int clinux_udp_bind(int fd, bool is_v6, const clinux_address *address) {
    struct sockaddr_storage storage;
    socklen_t length = write_address(&storage, is_v6, address);
    return RESULT(bind(fd, (struct sockaddr *)&storage, length));
}

int clinux_udp_local_address(int fd, clinux_address *address) {
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0) return -errno;
    *address = read_address(&storage);
    return 0;
}

int clinux_udp_source(
    bool is_v6, const clinux_address *to, uint32_t mark, clinux_address *source) {
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    struct sockaddr_storage storage;
    socklen_t length = write_address(&storage, is_v6, to);
    int result = 0;
    if (mark != 0) result = RESULT(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    if (result == 0) result = RESULT(connect(fd, (struct sockaddr *)&storage, length));
    if (result == 0) result = clinux_udp_local_address(fd, source);
    close(fd);
    return result;
}

// The forcing option needs CAP_NET_ADMIN; the other is capped at rmem_max or wmem_max.
int clinux_udp_set_receive_buffer(int fd, int byte_count) {
    if (set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, byte_count) == 0) return 0;
    return set_option(fd, SOL_SOCKET, SO_RCVBUF, byte_count);
}

int clinux_udp_set_send_buffer(int fd, int byte_count) {
    if (set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, byte_count) == 0) return 0;
    return set_option(fd, SOL_SOCKET, SO_SNDBUF, byte_count);
}

int clinux_udp_set_mark(int fd, uint32_t mark) {
    return set_option(fd, SOL_SOCKET, SO_MARK, (int)mark);
}

int clinux_udp_set_reuse_port(int fd) { return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1); }

int clinux_udp_steer(int fd, uint32_t first, uint32_t second, uint32_t count) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, second),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
    return RESULT(setsockopt(
        fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program));
}

int clinux_udp_set_segmentation(int fd) {
    int size = 0;
    socklen_t length = sizeof size;
    if (getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &length) < 0) return -errno;
    return set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
}

int clinux_udp_queue(int fd, clinux_queue *queue) {
    uint32_t values[SK_MEMINFO_VARS];
    socklen_t length = sizeof values;
    memset(values, 0, sizeof values);
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &length) < 0) return -errno;
    queue->queued_byte_count = values[SK_MEMINFO_RMEM_ALLOC];
    queue->limit_byte_count = values[SK_MEMINFO_RCVBUF];
    queue->dropped_count = values[SK_MEMINFO_DROPS];
    return 0;
}

// MARK: UDP batches

// GRO answers with an int, UDP_SEGMENT takes a uint16_t: room for the larger.
typedef union {
    struct cmsghdr header;
    uint8_t bytes[CMSG_SPACE(sizeof(int))];
} control;

struct clinux_batch {
    uint32_t message_capacity, piece_capacity;
    uint32_t message_count, piece_count;
    struct mmsghdr *messages;
    struct sockaddr_storage *addresses;
    control *controls;
    struct iovec *pieces;
};

clinux_batch *clinux_batch_create(uint32_t message_count, uint32_t piece_count) {
    clinux_batch *batch = calloc(1, sizeof *batch);
    if (!batch) return NULL;
    batch->message_capacity = message_count;
    batch->piece_capacity = piece_count;
    batch->messages = calloc(message_count, sizeof *batch->messages);
    batch->addresses = calloc(message_count, sizeof *batch->addresses);
    batch->controls = calloc(message_count, sizeof *batch->controls);
    batch->pieces = calloc(piece_count, sizeof *batch->pieces);
    if (!batch->messages || !batch->addresses || !batch->controls || !batch->pieces) {
        clinux_batch_destroy(batch);
        return NULL;
    }
    return batch;
}

void clinux_batch_destroy(clinux_batch *batch) {
    free(batch->messages);
    free(batch->addresses);
    free(batch->controls);
    free(batch->pieces);
    free(batch);
}

int clinux_batch_receive(
    clinux_batch *batch, int fd, uint8_t *base, size_t slot, uint32_t count) {
    if (count > batch->message_capacity) count = batch->message_capacity;
    if (count > batch->piece_capacity) count = batch->piece_capacity;
    for (uint32_t i = 0; i < count; i++) {
        struct msghdr *header = &batch->messages[i].msg_hdr;
        batch->pieces[i] = (struct iovec){.iov_base = base + i * slot, .iov_len = slot};
        // The kernel overwrites the lengths and flags, so every call sets them anew.
        header->msg_name = &batch->addresses[i];
        header->msg_namelen = sizeof batch->addresses[i];
        header->msg_iov = &batch->pieces[i];
        header->msg_iovlen = 1;
        header->msg_control = &batch->controls[i];
        header->msg_controllen = sizeof batch->controls[i];
        header->msg_flags = 0;
    }
    int result = recvmmsg(fd, batch->messages, count, MSG_DONTWAIT, NULL);
    return result < 0 ? -errno : result;
}

clinux_received clinux_batch_received(const clinux_batch *batch, uint32_t index) {
    const struct mmsghdr *message = &batch->messages[index];
    clinux_received received = {
        .source = read_address(&batch->addresses[index]),
        .byte_count = message->msg_len,
        .is_truncated = message->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC),
    };
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message->msg_hdr);
    if (header && header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_GRO
        && header->cmsg_len >= CMSG_LEN(sizeof(int))) {
        int size;
        memcpy(&size, CMSG_DATA(header), sizeof size);
        if (size > 0) received.segment_byte_count = (uint32_t)size;
    }
    return received;
}

void clinux_batch_clear(clinux_batch *batch) {
    batch->message_count = 0;
    batch->piece_count = 0;
}

bool clinux_batch_begin_message(
    clinux_batch *batch, bool is_v6, const clinux_address *to, uint16_t segment) {
    uint32_t index = batch->message_count;
    bool is_mapped = to->high == 0 && to->low >> 32 == 0xffff;
    if (index == batch->message_capacity || (!is_v6 && !is_mapped)) return false;
    struct msghdr *header = &batch->messages[index].msg_hdr;
    memset(header, 0, sizeof *header);
    header->msg_name = &batch->addresses[index];
    header->msg_namelen = write_address(&batch->addresses[index], is_v6, to);
    header->msg_iov = &batch->pieces[batch->piece_count];
    if (segment > 0) {
        control *control = &batch->controls[index];
        header->msg_control = control;
        header->msg_controllen = CMSG_SPACE(sizeof segment);
        control->header.cmsg_level = IPPROTO_UDP;
        control->header.cmsg_type = UDP_SEGMENT;
        control->header.cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(&control->header), &segment, sizeof segment);
    }
    batch->message_count = index + 1;
    return true;
}

bool clinux_batch_append(clinux_batch *batch, const uint8_t *bytes, size_t count) {
    if (batch->message_count == 0) return false;
    struct msghdr *header = &batch->messages[batch->message_count - 1].msg_hdr;
    if (header->msg_iovlen > 0) {
        struct iovec *last = &batch->pieces[batch->piece_count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == bytes) {
            last->iov_len += count;
            return true;
        }
    }
    if (batch->piece_count == batch->piece_capacity) return false;
    batch->pieces[batch->piece_count++] =
        (struct iovec){.iov_base = (void *)bytes, .iov_len = count};
    header->msg_iovlen++;
    return true;
}

int clinux_batch_send(clinux_batch *batch, int fd, uint32_t first) {
    if (first >= batch->message_count) return 0;
    int result =
        sendmmsg(fd, batch->messages + first, batch->message_count - first, MSG_DONTWAIT);
    return result < 0 ? -errno : result;
}

// MARK: TUN

int clinux_tun_attach(int fd, char *name, bool is_multi_queue) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, name, CLINUX_TUN_NAME_SIZE - 1);
    request.ifr_flags =
        (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (is_multi_queue ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd, TUNSETIFF, &request) < 0) return -errno;
    memcpy(name, request.ifr_name, CLINUX_TUN_NAME_SIZE);
    name[CLINUX_TUN_NAME_SIZE - 1] = 0;
    return 0;
}

int clinux_tun_identify(int fd, char *name) {
    // Asked of another device, the number of the request below may mean something else.
    struct stat status;
    if (fstat(fd, &status) < 0) return -errno;
    if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(10, 200)) return -ENODEV;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0) return -errno;
    const int wanted = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if ((request.ifr_flags & (wanted | IFF_TAP | IFF_MULTI_QUEUE)) != wanted) return -EINVAL;
    memcpy(name, request.ifr_name, CLINUX_TUN_NAME_SIZE);
    name[CLINUX_TUN_NAME_SIZE - 1] = 0;
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : RESULT(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int clinux_tun_set_header(int fd) {
    int size = CLINUX_TUN_HEADER_SIZE, is_little = 1;
    if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) return -errno;
    return RESULT(ioctl(fd, TUNSETVNETLE, &is_little));
}

int clinux_tun_set_offload(int fd, bool tcp, bool udp) {
    unsigned long flags = 0;
    if (tcp) flags |= TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (udp) flags |= TUN_F_USO4 | TUN_F_USO6;
    return RESULT(ioctl(fd, TUNSETOFFLOAD, flags));
}

// MARK: memory

size_t clinux_heap_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// What the program may write to is left alone: only there do pages differ from the file.
static int release_segments(struct dl_phdr_info *object, size_t size, void *page_size) {
    (void)size;
    uintptr_t page = *(const uintptr_t *)page_size;
    for (size_t index = 0; index < object->dlpi_phnum; index++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[index];
        if (segment->p_type != PT_LOAD || segment->p_flags & PF_W) continue;
        uintptr_t first = (object->dlpi_addr + segment->p_vaddr + page - 1) / page * page;
        uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz) / page * page;
        // Where it fails, the pages stay: nothing is lost.
        if (first < end) madvise((void *)first, end - first, MADV_DONTNEED);
    }
    return 0;
}

void clinux_release_unused(void) {
    uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    dl_iterate_phdr(release_segments, &page_size);
    malloc_trim(0);
}

int clinux_memory_file(void) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
