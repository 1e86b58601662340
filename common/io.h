/*
 * Reads and writes with a deadline on non-blocking or blocking sockets; EINTR is handled, SIGPIPE
 * never raised.
 */
#ifndef POSTERN_IO_H
#define POSTERN_IO_H

#include <stddef.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/deadline.h"
#include "common/result.h"

enum io_result {
	IO_OK,
	IO_EOF,     /* the peer closed */
	IO_TIMEOUT, /* the deadline passed */
	IO_AGAIN,   /* nothing there (io_read_now and io_read_briefly only) */
	IO_FAILED,  /* errno says why */
};

/* Waits for at least one byte and appends what is there (at most MAX bytes) to BUF. */
enum io_result io_read(int fd, struct buf *buf, size_t max, struct deadline deadline) MUST_CHECK;
/* The same without waiting. */
enum io_result io_read_now(int fd, struct buf *buf, size_t max) MUST_CHECK;
/* The same, waiting as long as the socket itself is set to (SO_RCVTIMEO), which must block. */
enum io_result io_read_briefly(int fd, struct buf *buf, size_t max) MUST_CHECK;
/* Writes everything. */
enum io_result io_write(int fd, const void *data, size_t len, struct deadline deadline) MUST_CHECK;
const char *io_result_name(enum io_result result);
/* For a whole file or pipe on disk: full write/read loops. 0, or -1 with errno. */
int io_write_file(int fd, const void *data, size_t len) MUST_CHECK;

#endif
