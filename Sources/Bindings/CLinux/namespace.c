#define _GNU_SOURCE
#include "namespace.h"
#include "CLinux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// As <linux/ipv6.h> has it, which does not go together with <net/route.h>.
struct in6_ifreq {
    struct in6_addr ifr6_addr;
    uint32_t ifr6_prefixlen;
    int ifr6_ifindex;
};

static clinux_step_failure failure(int step, int code)
{
    return (clinux_step_failure){.step = step, .code = code};
}

static const clinux_step_failure success = {0, 0};

// MARK: The process before it becomes its command. Nothing here may allocate: the fork may have
// happened while another thread held the allocator's lock.

static int write_file(const char *path, const char *text, int flags)
{
    int file = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (file < 0)
        return errno;
    size_t length = strlen(text);
    ssize_t count = write(file, text, length);
    int code = count == (ssize_t)length ? 0 : count < 0 ? errno : EIO;
    if (close(file) < 0 && code == 0)
        code = errno;
    return code;
}

static clinux_step_failure enter_namespaces(bool *is_user_namespace)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    *is_user_namespace = false;
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
        if (errno != EPERM)
            return failure(CLINUX_STEP_NAMESPACES, errno);
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0)
            return failure(CLINUX_STEP_NAMESPACES, errno);
        *is_user_namespace = true;
        char line[64];
        int code = write_file("/proc/self/setgroups", "deny", 0);
        if (code == 0) {
            snprintf(line, sizeof line, "%u %u 1\n", uid, uid);
            code = write_file("/proc/self/uid_map", line, 0);
        }
        if (code == 0) {
            snprintf(line, sizeof line, "%u %u 1\n", gid, gid);
            code = write_file("/proc/self/gid_map", line, 0);
        }
        if (code != 0)
            return failure(CLINUX_STEP_USER_MAP, code);
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return failure(CLINUX_STEP_PRIVATE_MOUNTS, errno);
    return success;
}

static int bring_up(int handle, const char *name)
{
    struct ifreq request = {0};
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(handle, SIOCGIFFLAGS, &request) < 0)
        return errno;
    request.ifr_flags |= IFF_UP;
    return ioctl(handle, SIOCSIFFLAGS, &request) < 0 ? errno : 0;
}

static clinux_step_failure set_up_ipv4(int handle, const clinux_isolated_setup *setup)
{
    struct ifreq request = {0};
    strncpy(request.ifr_name, setup->interface, IFNAMSIZ - 1);
    request.ifr_mtu = setup->mtu;
    if (ioctl(handle, SIOCSIFMTU, &request) < 0)
        return failure(CLINUX_STEP_INTERFACE, errno);
    int code = bring_up(handle, setup->interface);
    if (code != 0)
        return failure(CLINUX_STEP_INTERFACE, code);

    // A point-to-point interface gets the address alone, without a network around it.
    struct sockaddr_in address = {.sin_family = AF_INET};
    memcpy(&address.sin_addr, setup->ipv4, sizeof setup->ipv4);
    memcpy(&request.ifr_addr, &address, sizeof address);
    if (ioctl(handle, SIOCSIFADDR, &request) < 0)
        return failure(CLINUX_STEP_IPV4, errno);

    char device[IFNAMSIZ];
    memcpy(device, setup->interface, sizeof device);
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct rtentry route = {.rt_flags = RTF_UP, .rt_dev = device};
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    if (ioctl(handle, SIOCADDRT, &route) < 0)
        return failure(CLINUX_STEP_IPV4, errno);
    return success;
}

// Where the kernel has IPv6 switched off there is nothing to set up, and nothing can leak.
static clinux_step_failure set_up_ipv6(const clinux_isolated_setup *setup)
{
    int handle = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return errno == EAFNOSUPPORT ? success : failure(CLINUX_STEP_IPV6, errno);
    int index = (int)if_nametoindex(setup->interface);
    struct in6_ifreq address = {.ifr6_prefixlen = 128, .ifr6_ifindex = index};
    memcpy(&address.ifr6_addr, setup->ipv6, sizeof setup->ipv6);
    struct in6_rtmsg route = {.rtmsg_flags = RTF_UP, .rtmsg_metric = 1, .rtmsg_ifindex = index};
    int code = 0;
    if (ioctl(handle, SIOCSIFADDR, &address) < 0)
        code = errno == EACCES ? 0 : errno;
    else if (ioctl(handle, SIOCADDRT, &route) < 0)
        code = errno;
    close(handle);
    return code == 0 ? success : failure(CLINUX_STEP_IPV6, code);
}

static int cover(int target, const char *source)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", target);
    return mount(source, path, NULL, MS_BIND, NULL) < 0 ? errno : 0;
}

// The files are made in a file system that is mounted over /tmp for as long as that takes; what is
// bound from it stays. Sockets of resolvers that would ask for us on the outside are covered.
static int set_up_resolver(const clinux_isolated_setup *setup)
{
    int resolver = open("/etc/resolv.conf", O_PATH | O_CLOEXEC);
    if (resolver < 0)
        return errno;
    int name_switch = -1;
    if (setup->name_switch[0] != 0) {
        name_switch = open("/etc/nsswitch.conf", O_PATH | O_CLOEXEC);
        if (name_switch < 0)
            return errno;
    }
    if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") < 0)
        return errno;
    int code = write_file("/tmp/resolv.conf", setup->resolver, O_CREAT | O_EXCL);
    if (code == 0)
        code = cover(resolver, "/tmp/resolv.conf");
    if (code == 0 && name_switch >= 0) {
        code = write_file("/tmp/nsswitch.conf", setup->name_switch, O_CREAT | O_EXCL);
        if (code == 0)
            code = cover(name_switch, "/tmp/nsswitch.conf");
    }
    if (umount2("/tmp", MNT_DETACH) < 0 && code == 0)
        code = errno;
    close(resolver);
    if (name_switch >= 0)
        close(name_switch);

    static const char *const outside[] = {
        "/run/systemd/resolve/io.systemd.Resolve",
        "/run/nscd/socket",
        "/var/run/nscd/socket",
        "/run/avahi-daemon/socket",
    };
    for (size_t i = 0; i < sizeof outside / sizeof *outside && code == 0; i++) {
        if (mount("/dev/null", outside[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT
            && errno != ENOTDIR)
            code = errno;
    }
    return code;
}

// Lets this group ping without rights; where the kernel refuses, ping alone fails.
static void allow_ping(void)
{
    char range[64];
    snprintf(range, sizeof range, "%u %u\n", getegid(), getegid());
    (void)write_file("/proc/sys/net/ipv4/ping_group_range", range, 0);
}

#define RIGHT(name) (UINT64_C(1) << (name))

// What root keeps: files, users and the network it is in. None of it leads into another namespace
// or changes interfaces, routes or rules of this one.
static const uint64_t root_rights =
    RIGHT(CAP_CHOWN) | RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_FOWNER) | RIGHT(CAP_FSETID)
    | RIGHT(CAP_KILL) | RIGHT(CAP_SETGID) | RIGHT(CAP_SETUID) | RIGHT(CAP_NET_BIND_SERVICE)
    | RIGHT(CAP_NET_RAW);
// What a program needs that makes further network namespaces for its own threads.
static const uint64_t network_rights = RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_NET_ADMIN);

static int set_rights(uint64_t kept, bool is_handed_on)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t word = (uint32_t)(kept >> (32 * i));
        data[i] = (struct __user_cap_data_struct){
            .effective = word,
            .permitted = word,
            .inheritable = is_handed_on ? word : 0,
        };
    }
    return syscall(SYS_capset, &header, data) < 0 ? errno : 0;
}

// Leaves this process, and whatever it executes, `kept` of its rights; then asks the kernel whether
// that is so. `is_handed_on`: the command has them too where it is not root.
static int keep_rights(uint64_t kept, bool is_handed_on)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return errno;
    uint64_t held = data[0].permitted | (uint64_t)data[1].permitted << 32;
    for (int right = 0; right < 64; right++) {
        int is_bound = prctl(PR_CAPBSET_READ, right, 0, 0, 0);
        if (is_bound < 0)
            break;  // The kernel knows no further ones.
        if (is_bound > 0 && (kept >> right & 1) == 0
            && prctl(PR_CAPBSET_DROP, right, 0, 0, 0) < 0)
            return errno;
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return errno;
    int code = set_rights(kept & held, is_handed_on);
    if (code != 0)
        return code;
    for (int right = 0; right < 64 && is_handed_on; right++) {
        if ((kept & held) >> right & 1
            && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, right, 0, 0) < 0)
            return errno;
    }
    for (int right = 0; right < 64; right++) {
        int is_bound = prctl(PR_CAPBSET_READ, right, 0, 0, 0);
        if (is_bound > 0 && (kept >> right & 1) == 0)
            return EPERM;
    }
    if (syscall(SYS_capget, &header, data) < 0)
        return errno;
    held = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return (held & ~kept) == 0 ? 0 : EPERM;
}

static clinux_step_failure set_up(const clinux_isolated_setup *setup)
{
    int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return failure(CLINUX_STEP_LOOPBACK, errno);
    int code = bring_up(handle, "lo");
    clinux_step_failure result =
        code != 0                  ? failure(CLINUX_STEP_LOOPBACK, code)
        : setup->interface[0] == 0 ? success
                                   : set_up_ipv4(handle, setup);
    close(handle);
    if (result.code == 0 && setup->interface[0] != 0)
        result = set_up_ipv6(setup);
    if (result.code == 0) {
        allow_ping();
        code = set_up_resolver(setup);
        if (code != 0)
            result = failure(CLINUX_STEP_RESOLVER, code);
    }
    return result;
}

static void restore_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// What a launcher can ask before it hands the setup over, in one byte.
enum { MAKE_DEVICE = 'd' };

typedef struct {
    clinux_step_failure result;
    int32_t device;
} device_answer;

int clinux_device_make(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char name[CLINUX_TUN_NAME_SIZE] = "umbel-run%d";
    int result = clinux_tun_attach(fd, name, false);
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

static _Noreturn void become(char *const *argv, int channel)
{
    bool is_user_namespace;
    clinux_step_failure result = enter_namespaces(&is_user_namespace);
    send(channel, &result, sizeof result, MSG_NOSIGNAL);
    if (result.code != 0)
        _exit(1);

    static clinux_isolated_setup setup;
    ssize_t count;
    while ((count = recv(channel, &setup, sizeof setup, 0)) == 1 && setup.interface[0] == MAKE_DEVICE) {
        int device = clinux_device_make();
        device_answer answer = {
            .result = device < 0 ? failure(CLINUX_STEP_DEVICE, -device) : success,
            .device = device,
        };
        send(channel, &answer, sizeof answer, MSG_NOSIGNAL);
    }
    if (count != (ssize_t)sizeof setup)
        _exit(1);  // The launcher has gone.
    result = set_up(&setup);
    if (result.code == 0) {
        uint64_t kept = setup.is_network_maker ? network_rights
            : is_user_namespace                ? 0
                                               : root_rights;
        int code = keep_rights(kept, setup.is_network_maker);
        if (code != 0)
            result = failure(CLINUX_STEP_RIGHTS, code);
    }
    if (result.code == 0) {
        restore_signals();
        execvp(argv[0], argv);
        result = failure(CLINUX_STEP_EXEC, errno);
    }
    send(channel, &result, sizeof result, MSG_NOSIGNAL);
    _exit(127);
}

// MARK: The launcher

static clinux_step_failure receive(int channel, int step)
{
    clinux_step_failure result;
    ssize_t count;
    do
        count = recv(channel, &result, sizeof result, 0);
    while (count < 0 && errno == EINTR);
    if (count == (ssize_t)sizeof result)
        return result;
    // Only exec closes the other end silently.
    return count == 0 ? success : failure(step, errno);
}

clinux_step_failure clinux_isolated_start(char *const *argv, clinux_isolated *process)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return failure(CLINUX_STEP_FORK, errno);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        become(argv, ends[1]);
    }
    int code = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return failure(CLINUX_STEP_FORK, code);
    }
    *process = (clinux_isolated){.pid = pid, .channel = ends[0]};
    clinux_step_failure result = receive(process->channel, CLINUX_STEP_NAMESPACES);
    if (result.code != 0)
        clinux_isolated_abandon(process);
    return result;
}

clinux_step_failure clinux_isolated_make_device(int channel, int32_t *device)
{
    const char request = MAKE_DEVICE;
    if (send(channel, &request, sizeof request, MSG_NOSIGNAL) < 0)
        return failure(CLINUX_STEP_DEVICE, errno);
    device_answer answer;
    ssize_t count;
    do
        count = recv(channel, &answer, sizeof answer, 0);
    while (count < 0 && errno == EINTR);
    if (count != (ssize_t)sizeof answer)
        return failure(CLINUX_STEP_DEVICE, count < 0 ? errno : ECHILD);
    *device = answer.device;
    return answer.result;
}

static volatile sig_atomic_t forwarded_to;

static void pass_on(int signal)
{
    int code = errno;
    if (forwarded_to > 0)
        kill(forwarded_to, signal);
    errno = code;
}

// Set before the command can run: it may signal its parent at once.
static const struct {
    int signal;
    void (*handler)(int);
} handled[] = {
    {SIGINT, SIG_IGN},
    {SIGQUIT, SIG_IGN},
    {SIGTERM, pass_on},
    {SIGHUP, pass_on},
    {SIGUSR1, pass_on},
    {SIGUSR2, pass_on},
};

enum { HANDLED_COUNT = sizeof handled / sizeof *handled };

clinux_step_failure clinux_isolated_run(
    clinux_isolated *process, const clinux_isolated_setup *setup)
{
    struct sigaction before[HANDLED_COUNT];
    forwarded_to = process->pid;
    for (int i = 0; i < HANDLED_COUNT; i++) {
        struct sigaction action = {.sa_handler = handled[i].handler, .sa_flags = SA_RESTART};
        sigaction(handled[i].signal, &action, &before[i]);
    }
    ssize_t count = send(process->channel, setup, sizeof *setup, MSG_NOSIGNAL);
    clinux_step_failure result =
        count < 0 ? failure(CLINUX_STEP_INTERFACE, errno)
                  : receive(process->channel, CLINUX_STEP_EXEC);
    if (result.code != 0) {
        clinux_isolated_abandon(process);
        for (int i = 0; i < HANDLED_COUNT; i++)
            sigaction(handled[i].signal, &before[i], NULL);
    }
    return result;
}

int clinux_isolated_wait(clinux_isolated *process)
{
    int status = 0;
    pid_t ended;
    do
        ended = waitpid(process->pid, &status, 0);
    while (ended < 0 && errno == EINTR);
    int code = ended < 0 ? -errno : status;
    forwarded_to = 0;
    if (process->channel >= 0)
        close(process->channel);
    process->channel = -1;
    return code;
}

void clinux_isolated_abandon(clinux_isolated *process)
{
    kill(process->pid, SIGKILL);
    clinux_isolated_wait(process);
}

int clinux_become(char *const *argv)
{
    restore_signals();
    execvp(argv[0], argv);
    return errno;
}

void clinux_die_by_signal(int signal)
{
    // The child's core, if any, has been written: ours would say nothing.
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal, &standard, NULL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    kill(getpid(), signal);
}

// MARK: Threads, and what this process may do

void clinux_hide_memory(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool clinux_is_network_administrator(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, data) < 0
        || (data[0].effective & RIGHT(CAP_NET_ADMIN)) == 0)
        return false;
    // In a user namespace it may be a right over another network than the one this process is in.
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int mark = 1;
    bool is_allowed = fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;
    if (fd >= 0)
        close(fd);
    return is_allowed;
}

int clinux_thread_leave_network(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return -errno;
    int code = bring_up(handle, "lo");
    close(handle);
    return code == 0 ? (int)syscall(SYS_gettid) : -code;
}

clinux_step_failure clinux_thread_set_up(const clinux_isolated_setup *setup)
{
    int handle = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return failure(CLINUX_STEP_INTERFACE, errno);
    clinux_step_failure result = set_up_ipv4(handle, setup);
    close(handle);
    return result.code == 0 ? set_up_ipv6(setup) : result;
}

bool clinux_thread_has_interface(const char *name)
{
    return if_nametoindex(name) != 0;
}

int clinux_mount_socket_classes(const char *path)
{
    return mount("umbel", path, "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, "net_cls") < 0 ? -errno
                                                                                          : 0;
}

int clinux_loopback_listen(bool is_v6, uint16_t port, int kind)
{
    bool is_stream = kind == CLINUX_LISTEN_TCP;
    int type = (is_stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, type, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    six.sin6_addr = in6addr_loopback;
    const struct sockaddr *address =
        is_v6 ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    int on = 1;
    if (is_stream)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int result = bind(fd, address, is_v6 ? sizeof six : sizeof four);
    if (result == 0 && is_stream)
        result = listen(fd, SOMAXCONN);
    if (result < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}
