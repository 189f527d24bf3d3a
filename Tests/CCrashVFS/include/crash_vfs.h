// A layer under SQLite that fails and loses power on demand, for the files of one folder.
//
// Writes go to the real files at once; what a sync has not covered is remembered beside them. A power
// cut puts back what was synced, with a random part of what was not, and fails every call after it.

#ifndef UMBEL_CRASH_VFS_H
#define UMBEL_CRASH_VFS_H

/// A folder that is watched.
struct crash_disk;

/// Puts the layer under all connections of the process, and watches files whose path begins with
/// `prefix`; NULL where SQLite does not let it.
struct crash_disk *crash_vfs_watch(const char *prefix);

/// Files that are opened from now on are watched no more; those that are open are to their end.
void crash_vfs_unwatch(struct crash_disk *disk);

/// Lets the `n`-th call from now on fail with the SQLite `code`, and all later ones if `lasts` is not 0;
/// `n` 0 ends it. Reads are not counted.
void crash_vfs_fail(struct crash_disk *disk, long n, int code, int lasts);

/// Lets the power go at the `n`-th call from now on; `seed` draws what of the unsynced writes is kept.
void crash_vfs_cut(struct crash_disk *disk, long n, unsigned long long seed);

/// Calls on its files, reads left out.
long crash_vfs_calls(struct crash_disk *disk);

/// Whether the power has gone.
int crash_vfs_is_off(struct crash_disk *disk);

#endif
