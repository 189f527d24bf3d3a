// Counts the instructions a program executes between its marks, one by one: works wherever ptrace
// does, counters of the processor or not. The marks are calls of getpgid with a number from BASE on:
// BASE + 2 i where part i of the work begins, BASE + 2 i + 1 where it ends.
//
// instructions PARTS PROGRAM [ARGUMENT…] prints a line "I OWN ALL" for each part I: instructions of
// the program's own code, and with those of its libraries.
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE 0x70000000u
#define PARTS 16
#define THREADS 64
// The exit status where the system lets nobody trace.
#define REFUSED 77

static uint64_t text_start, text_end;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// Finds where the program's own code lies.
static void find_text(pid_t child, const char *program) {
    char path[64], line[4096], *real = realpath(program, NULL);
    snprintf(path, sizeof path, "/proc/%d/maps", child);
    FILE *maps = fopen(path, "r");
    if (!maps || !real) fail("maps");
    while (fgets(line, sizeof line, maps)) {
        uint64_t start, end;
        char flags[8];
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, flags) != 3) continue;
        if (flags[2] != 'x' || !strstr(line, real)) continue;
        if (!text_start) text_start = start;
        text_end = end;
    }
    fclose(maps);
    free(real);
    if (!text_start) {
        fprintf(stderr, "%s has no code\n", program);
        exit(1);
    }
}

// What is known of a thread of the program.
struct thread {
    pid_t id;
    // Whether it is inside a system call.
    int is_inside;
    // The part of the work it is in, or -1.
    int part;
};

static struct thread threads[THREADS];

static struct thread *find(pid_t id) {
    for (int i = 0; i < THREADS; i++)
        if (threads[i].id == id) return threads + i;
    for (int i = 0; i < THREADS; i++)
        if (threads[i].id == 0) {
            threads[i] = (struct thread){.id = id, .part = -1};
            return threads + i;
        }
    fprintf(stderr, "more than %d threads\n", THREADS);
    exit(1);
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: instructions PARTS PROGRAM [ARGUMENT...]\n");
        return 64;
    }
    unsigned parts = (unsigned)atoi(arguments[1]);
    if (parts < 1 || parts > PARTS) return 64;
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        personality(ADDR_NO_RANDOMIZE);
        dup2(STDERR_FILENO, STDOUT_FILENO);
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0) _exit(REFUSED);
        execv(arguments[2], arguments + 2);
        fail(arguments[2]);
    }
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
        return WIFEXITED(status) && WEXITSTATUS(status) == REFUSED ? REFUSED : 1;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, child, 0, options) < 0) fail("ptrace options");
    if (ptrace(PTRACE_SYSCALL, child, 0, 0) < 0) fail("continue");
    uint64_t own[PARTS] = {0}, all[PARTS] = {0};
    int code = 1;
    pid_t id;
    while ((id = waitpid(-1, &status, __WALL)) > 0) {
        struct thread *thread = find(id);
        if (!WIFSTOPPED(status)) {
            if (id == child) code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            thread->id = 0;
            continue;
        }
        int signal = WSTOPSIG(status), passed = 0;
        struct user_regs_struct registers;
        if (signal != SIGTRAP && signal != (SIGTRAP | 0x80) && signal != SIGSTOP) passed = signal;
        if (ptrace(PTRACE_GETREGS, id, 0, &registers) < 0) continue;
        unsigned number = (unsigned)registers.rdi - BASE;
        if (thread->part >= 0 && signal == SIGTRAP) {
            unsigned part = (unsigned)thread->part;
            all[part]++;
            if (registers.rip >= text_start && registers.rip < text_end) own[part]++;
            // The call that ends the part is not stepped over: here is its `syscall`.
            if (registers.rax == SYS_getpgid && number == 2 * part + 1
                && (uint16_t)ptrace(PTRACE_PEEKTEXT, id, registers.rip, 0) == 0x050f)
                thread->part = -1;
        } else if (signal == (SIGTRAP | 0x80)) {
            thread->is_inside = !thread->is_inside;
            // Where the call that begins a part returns, the work begins.
            if (!thread->is_inside && registers.orig_rax == SYS_getpgid && number < 2 * parts
                && number % 2 == 0) {
                if (!text_start) find_text(child, arguments[2]);
                thread->part = (int)(number / 2);
            }
        }
        // Up to the next system call, or inside a part to the next instruction.
        ptrace(thread->part < 0 ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, id, 0, passed);
    }
    for (unsigned i = 0; i < parts; i++)
        printf("%u %" PRIu64 " %" PRIu64 "\n", i, own[i], all[i]);
    return code;
}
