#define _GNU_SOURCE
#include "confined.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// What programs and their libraries read. /run has the resolver's file where another program owns it.
static const char *const read_folders[] = {
    "/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc", "/proc", "/sys/devices/system/cpu",
    "/dev/urandom", "/dev/random", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
};

enum {
    // LANDLOCK_ACCESS_FS_EXECUTE to _MAKE_SYM: the first version of the interface.
    ALL_FILE_ACCESS = (1 << 13) - 1,
    READ_ACCESS = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE
                  | LANDLOCK_ACCESS_FS_READ_DIR,
    FILE_READ_ACCESS = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE,
};

static int allow(int rules, const char *path, uint64_t access)
{
    int place = open(path, O_PATH | O_CLOEXEC);
    if (place < 0)
        return 0;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = place};
    long result = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    // A file takes no rights of folders.
    if (result < 0 && errno == EINVAL) {
        rule.allowed_access = access & ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
        result = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    int code = result < 0 ? errno : 0;
    close(place);
    return code;
}

// A set of rules, or a negated errno: where the kernel knows none, that of the call.
static int file_rules(void)
{
    struct landlock_ruleset_attr handled = {.handled_access_fs = ALL_FILE_ACCESS};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (rules < 0)
        return -errno;
    int code = 0;
    for (unsigned i = 0; code == 0 && i < sizeof read_folders / sizeof *read_folders; i++)
        code = allow(rules, read_folders[i], READ_ACCESS);
    if (code == 0)
        code = allow(rules, "/dev/null", FILE_READ_ACCESS | LANDLOCK_ACCESS_FS_WRITE_FILE);
    if (code == 0)
        return rules;
    close(rules);
    return -code;
}

// MARK: The child. Nothing here may allocate: another thread may hold the allocator's lock.

static int drop_rights(const clinux_confinement *confinement)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
    if (geteuid() == 0) {
        if (setgroups(0, NULL) < 0
            || setresgid(confinement->group, confinement->group, confinement->group) < 0
            || setresuid(confinement->user, confinement->user, confinement->user) < 0)
            return errno;
    }
    // Kernels before 4.3 have no ambient set, and none in it.
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        return errno;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {0};
    return syscall(SYS_capset, &header, none) < 0 ? errno : 0;
}

static int become(
    char *const *argv, const clinux_confinement *confinement, int rules, pid_t parent)
{
    // A terminal's interrupt is for its parent, which ends it in turn.
    setpgid(0, 0);
    if (dup2(confinement->input, 0) < 0 || dup2(confinement->output, 1) < 0
        || dup2(confinement->output, 2) < 0)
        return errno;
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    int code = drop_rights(confinement);
    if (code != 0)
        return code;
    if (rules >= 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        return errno;
    // Last: a change of user forgets it. Who has lost its parent until here ends by itself.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return errno;
    if (getppid() != parent)
        return ESRCH;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_close_range, 3, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
    execv(argv[0], argv);
    return errno;
}

int clinux_confined_start(
    char *const *argv, const clinux_confinement *confinement, clinux_confined *program)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    int rules = file_rules();
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        int code = become(argv, confinement, rules, parent);
        ssize_t count = write(report[1], &code, sizeof code);
        _exit(count == sizeof code ? 127 : 126);
    }
    int code = child < 0 ? errno : 0;
    close(report[1]);
    // Empty where the program has begun: the pipe went with what was there before it.
    if (code == 0) {
        ssize_t count;
        do
            count = read(report[0], &code, sizeof code);
        while (count < 0 && errno == EINTR);
        if (count != sizeof code)
            code = 0;
        else
            waitpid(child, NULL, 0);
    }
    close(report[0]);
    if (rules >= 0)
        close(rules);
    if (code != 0)
        return -code;
    *program = (clinux_confined){.pid = child, .is_without_files = rules >= 0};
    return 0;
}

int clinux_child_status(pid_t pid)
{
    int status = 0;
    pid_t ended;
    do
        ended = waitpid(pid, &status, WNOHANG);
    while (ended < 0 && errno == EINTR);
    if (ended < 0)
        return -errno;
    return ended == 0 ? -EAGAIN : status;
}

int clinux_udp_connected(bool is_v6, const uint8_t *address, uint16_t port)
{
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (is_v6)
        memcpy(&six.sin6_addr, address, sizeof six.sin6_addr);
    else
        memcpy(&four.sin_addr, address, sizeof four.sin_addr);
    const struct sockaddr *target =
        is_v6 ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    if (connect(fd, target, is_v6 ? sizeof six : sizeof four) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}
