// Makes the kernel refuse sockets of one family, as a kernel does that does not know it.
#pragma once

/// Has every later attempt of the calling thread, and of processes it starts from now on, to make a
/// socket of `family` fail with EAFNOSUPPORT. Needs CAP_SYS_ADMIN. Returns 0 or a negated errno.
int family_refuse(int family);
