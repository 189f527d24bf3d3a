#include "crash_vfs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// One write or truncation that no sync has covered yet.
struct change {
    struct change *next;
    sqlite3_int64 offset;
    int count; // -1 for a truncation to `offset`
    unsigned char *bytes;
};

// A watched file: what is on the platter, and what is on its way there.
struct image {
    struct image *next;
    char path[512];
    int exists; // whether anything of it was ever synced
    unsigned char *bytes;
    sqlite3_int64 count;
    struct change *first;
    struct change **last;
};

// One folder that is watched. Never freed: files of it may be closed late.
struct crash_disk {
    struct crash_disk *next;
    char prefix[512];
    int is_watched;
    struct image *images;
    long calls, fail_at, cut_at;
    int fail_code, fail_lasts, is_off;
    unsigned long long dice;
};

struct crash_file {
    sqlite3_file base;
    struct crash_disk *disk; // NULL for files that are not watched
    struct image *image;
    sqlite3_file real[1];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs *below;
static struct crash_disk *disks;

static unsigned long long next_random(struct crash_disk *disk) {
    // splitmix64
    unsigned long long z = (disk->dice += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void forget_changes(struct image *image) {
    for (struct change *change = image->first; change != NULL;) {
        struct change *next = change->next;
        free(change->bytes);
        free(change);
        change = next;
    }
    image->first = NULL;
    image->last = &image->first;
}

static void apply(struct image *image, const struct change *change) {
    if (change->count < 0) {
        if (change->offset < image->count) image->count = change->offset;
        return;
    }
    sqlite3_int64 end = change->offset + change->count;
    if (end > image->count) {
        image->bytes = realloc(image->bytes, (size_t)end);
        memset(image->bytes + image->count, 0, (size_t)(end - image->count));
        image->count = end;
    }
    memcpy(image->bytes + change->offset, change->bytes, (size_t)change->count);
}

static void note(struct image *image, sqlite3_int64 offset, int count, const void *bytes) {
    struct change *change = calloc(1, sizeof *change);
    change->offset = offset;
    change->count = count;
    if (count > 0) {
        change->bytes = malloc((size_t)count);
        memcpy(change->bytes, bytes, (size_t)count);
    }
    *image->last = change;
    image->last = &change->next;
}

static void sync_image(struct image *image) {
    for (struct change *change = image->first; change != NULL; change = change->next)
        apply(image, change);
    forget_changes(image);
    image->exists = 1;
}

// Puts on the real files what a power cut leaves of them.
static void lose_power(struct crash_disk *disk) {
    disk->is_off = 1;
    for (struct image *image = disk->images; image != NULL; image = image->next) {
        int keeps_any = 0;
        for (struct change *change = image->first; change != NULL; change = change->next) {
            if (next_random(disk) % 2 == 0) continue;
            // A write of several sectors may be torn.
            if (change->count > 512 && next_random(disk) % 4 == 0) change->count = 512;
            apply(image, change);
            keeps_any = 1;
        }
        forget_changes(image);
        if (!image->exists && !keeps_any) {
            unlink(image->path);
            continue;
        }
        int file = open(image->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (file < 0) continue;
        if (ftruncate(file, 0) == 0 && image->count > 0) {
            ssize_t done = pwrite(file, image->bytes, (size_t)image->count, 0);
            (void)done;
        }
        close(file);
    }
}

// Counts a call on a watched file; gives the code it fails with, or SQLITE_OK.
static int pass(struct crash_disk *disk, int code_when_off) {
    if (disk->is_off) return code_when_off;
    disk->calls++;
    if (disk->cut_at > 0 && --disk->cut_at == 0) {
        lose_power(disk);
        return code_when_off;
    }
    if (disk->fail_at > 1) {
        disk->fail_at--;
    } else if (disk->fail_at == 1) {
        if (!disk->fail_lasts) disk->fail_at = 0;
        return disk->fail_code;
    }
    return SQLITE_OK;
}

#define REAL(file) (((struct crash_file *)(file))->real)
#define DISK(file) (((struct crash_file *)(file))->disk)
#define IMAGE(file) (((struct crash_file *)(file))->image)

static int f_close(sqlite3_file *file) { return REAL(file)->pMethods->xClose(REAL(file)); }

static int f_read(sqlite3_file *file, void *bytes, int count, sqlite3_int64 offset) {
    if (DISK(file) != NULL && DISK(file)->is_off) return SQLITE_IOERR_READ;
    return REAL(file)->pMethods->xRead(REAL(file), bytes, count, offset);
}

static int f_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset) {
    if (DISK(file) == NULL)
        return REAL(file)->pMethods->xWrite(REAL(file), bytes, count, offset);
    pthread_mutex_lock(&lock);
    int code = pass(DISK(file), SQLITE_IOERR_WRITE);
    if (code == SQLITE_OK) {
        code = REAL(file)->pMethods->xWrite(REAL(file), bytes, count, offset);
        if (code == SQLITE_OK) note(IMAGE(file), offset, count, bytes);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static int f_truncate(sqlite3_file *file, sqlite3_int64 size) {
    if (DISK(file) == NULL) return REAL(file)->pMethods->xTruncate(REAL(file), size);
    pthread_mutex_lock(&lock);
    int code = pass(DISK(file), SQLITE_IOERR_TRUNCATE);
    if (code == SQLITE_OK) {
        code = REAL(file)->pMethods->xTruncate(REAL(file), size);
        if (code == SQLITE_OK) note(IMAGE(file), size, -1, NULL);
    }
    pthread_mutex_unlock(&lock);
    return code;
}

static int f_sync(sqlite3_file *file, int flags) {
    if (DISK(file) == NULL) return REAL(file)->pMethods->xSync(REAL(file), flags);
    pthread_mutex_lock(&lock);
    int code = pass(DISK(file), SQLITE_IOERR_FSYNC);
    // The real disk need not spin for it.
    if (code == SQLITE_OK) sync_image(IMAGE(file));
    pthread_mutex_unlock(&lock);
    return code;
}

static int f_size(sqlite3_file *file, sqlite3_int64 *size) {
    if (DISK(file) != NULL && DISK(file)->is_off) return SQLITE_IOERR_FSTAT;
    return REAL(file)->pMethods->xFileSize(REAL(file), size);
}

static int f_lock(sqlite3_file *file, int kind) {
    return REAL(file)->pMethods->xLock(REAL(file), kind);
}

static int f_unlock(sqlite3_file *file, int kind) {
    return REAL(file)->pMethods->xUnlock(REAL(file), kind);
}

static int f_reserved(sqlite3_file *file, int *result) {
    return REAL(file)->pMethods->xCheckReservedLock(REAL(file), result);
}

static int f_control(sqlite3_file *file, int op, void *argument) {
    return REAL(file)->pMethods->xFileControl(REAL(file), op, argument);
}

static int f_sector(sqlite3_file *file) {
    return REAL(file)->pMethods->xSectorSize(REAL(file));
}

static int f_traits(sqlite3_file *file) {
    // Nothing is promised: neither atomic writes nor writes in order.
    (void)file;
    return 0;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_reserved,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_traits,
};

static struct crash_disk *disk_of(const char *path) {
    if (path == NULL) return NULL;
    for (struct crash_disk *disk = disks; disk != NULL; disk = disk->next)
        if (disk->is_watched && strncmp(path, disk->prefix, strlen(disk->prefix)) == 0)
            return disk;
    return NULL;
}

// The image of a file that is opened: what is there at first is on the platter.
static struct image *image_of(struct crash_disk *disk, const char *path) {
    for (struct image *image = disk->images; image != NULL; image = image->next)
        if (strcmp(image->path, path) == 0) return image;
    struct image *image = calloc(1, sizeof *image);
    strncpy(image->path, path, sizeof image->path - 1);
    image->last = &image->first;
    image->next = disk->images;
    disk->images = image;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return image;
    off_t size = lseek(file, 0, SEEK_END);
    if (size > 0) {
        image->bytes = malloc((size_t)size);
        image->count = pread(file, image->bytes, (size_t)size, 0);
    }
    image->exists = 1;
    close(file);
    return image;
}

static int v_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *out) {
    (void)vfs;
    struct crash_file *own = (struct crash_file *)file;
    own->image = NULL;
    file->pMethods = NULL;
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    own->disk = disk_of(path);
    if (own->disk != NULL) {
        code = pass(own->disk, SQLITE_CANTOPEN);
        if (code == SQLITE_OK) own->image = image_of(own->disk, path);
    }
    pthread_mutex_unlock(&lock);
    if (code != SQLITE_OK) return code;
    code = below->xOpen(below, path, own->real, flags, out);
    if (own->real->pMethods != NULL) file->pMethods = &methods;
    return code;
}

static int v_delete(sqlite3_vfs *vfs, const char *path, int syncs) {
    (void)vfs;
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    struct crash_disk *disk = disk_of(path);
    if (disk != NULL) {
        code = pass(disk, SQLITE_IOERR_DELETE);
        if (code == SQLITE_OK) {
            struct image *image = image_of(disk, path);
            forget_changes(image);
            image->count = 0;
            image->exists = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return code == SQLITE_OK ? below->xDelete(below, path, syncs) : code;
}

static int crash_vfs_install(void) {
    static sqlite3_vfs own;
    pthread_mutex_lock(&lock);
    int code = SQLITE_OK;
    if (below == NULL) {
        below = sqlite3_vfs_find(NULL);
        if (below == NULL) {
            code = SQLITE_ERROR;
        } else {
            own = *below;
            own.zName = "crash";
            own.szOsFile = (int)sizeof(struct crash_file) + below->szOsFile;
            own.xOpen = v_open;
            own.xDelete = v_delete;
            code = sqlite3_vfs_register(&own, 1);
        }
    }
    pthread_mutex_unlock(&lock);
    return code;
}

struct crash_disk *crash_vfs_watch(const char *prefix) {
    if (crash_vfs_install() != SQLITE_OK) return NULL;
    struct crash_disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) return NULL;
    strncpy(disk->prefix, prefix, sizeof disk->prefix - 1);
    disk->is_watched = 1;
    pthread_mutex_lock(&lock);
    disk->next = disks;
    disks = disk;
    pthread_mutex_unlock(&lock);
    return disk;
}

void crash_vfs_unwatch(struct crash_disk *disk) {
    pthread_mutex_lock(&lock);
    disk->is_watched = 0;
    pthread_mutex_unlock(&lock);
}

void crash_vfs_fail(struct crash_disk *disk, long n, int code, int lasts) {
    pthread_mutex_lock(&lock);
    disk->fail_at = n;
    disk->fail_code = code;
    disk->fail_lasts = lasts;
    pthread_mutex_unlock(&lock);
}

void crash_vfs_cut(struct crash_disk *disk, long n, unsigned long long seed) {
    pthread_mutex_lock(&lock);
    disk->cut_at = n;
    disk->dice = seed;
    pthread_mutex_unlock(&lock);
}

long crash_vfs_calls(struct crash_disk *disk) {
    pthread_mutex_lock(&lock);
    long count = disk->calls;
    pthread_mutex_unlock(&lock);
    return count;
}

int crash_vfs_is_off(struct crash_disk *disk) {
    pthread_mutex_lock(&lock);
    int off = disk->is_off;
    pthread_mutex_unlock(&lock);
    return off;
}
