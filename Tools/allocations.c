// Counts calls of the allocator, and of Swift's runtime that count references and check exclusive
// access, in a program it is preloaded into, and tells the counts at its end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ulong count, references, accesses;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) {
    atomic_fetch_add(&count, 1);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    atomic_fetch_add(&count, 1);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    atomic_fetch_add(&count, 1);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&count, 1);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
    atomic_fetch_add(&count, 1);
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : 12;
}

// NEXT(TYPE, NAME): the function this one stands before. Looked up once: whoever comes first.
#define NEXT(type, name)                                   \
    static _Atomic(type) next;                             \
    type real = atomic_load(&next);                        \
    if (!real) {                                           \
        real = (type)dlsym(RTLD_NEXT, name);               \
        atomic_store(&next, real);                         \
    }

typedef void *(*retain)(void *);
typedef void *(*retain_n)(void *, unsigned);
typedef void (*release)(void *);
typedef void (*release_n)(void *, unsigned);
typedef void (*begin_access)(void *, void *, size_t, void *);

void *swift_retain(void *object) {
    NEXT(retain, "swift_retain")
    atomic_fetch_add(&references, 1);
    return real(object);
}

void *swift_retain_n(void *object, unsigned number) {
    NEXT(retain_n, "swift_retain_n")
    atomic_fetch_add(&references, 1);
    return real(object, number);
}

void swift_release(void *object) {
    NEXT(release, "swift_release")
    atomic_fetch_add(&references, 1);
    real(object);
}

void swift_release_n(void *object, unsigned number) {
    NEXT(release_n, "swift_release_n")
    atomic_fetch_add(&references, 1);
    real(object, number);
}

void swift_beginAccess(void *pointer, void *buffer, size_t flags, void *pc) {
    NEXT(begin_access, "swift_beginAccess")
    atomic_fetch_add(&accesses, 1);
    real(pointer, buffer, flags, pc);
}

__attribute__((destructor)) static void tell(void) {
    fprintf(stderr, "allocations %lu\nreferences %lu\naccesses %lu\n", atomic_load(&count),
            atomic_load(&references), atomic_load(&accesses));
}
