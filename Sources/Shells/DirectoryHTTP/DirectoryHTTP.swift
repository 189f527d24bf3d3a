// DirectoryHTTP: the directory over HTTP, both ends.
//
// Duty: the paths (`DirectoryService`), a server that bounds sizes and times and takes no
// Content-Encoding (`DirectoryServer`), a client that does the same and can mark its sockets
// (`DirectoryClient`). Everything is signed inside, so nothing is encrypted here: whoever reads
// along learns that somebody fetches what everybody fetches.
// Not its duty: what the bytes mean, whom to ask and when (NodeRuntime).
//
// A request: socket -> bounds -> `DirectoryService.answer` -> bytes with the digest as their ETag.
