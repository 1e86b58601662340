/*
 * Handling of bytes that must not leak: wiping, constant-time comparison, random bytes.
 */
#ifndef POSTERN_SECRET_H
#define POSTERN_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"

/* Overwrites in a way that the compiler keeps. */
void secret_wipe(void *data, size_t len);
/* Wipes and frees a NUL-terminated string and clears the pointer; *STR may be NULL. */
void secret_free(char **str);
/* Equal contents, in time that depends on the lengths only. */
bool secret_equal(const void *a, size_t a_len, const void *b, size_t b_len) MUST_CHECK;
/* Fills with random bytes from the kernel; false when there are none (never on Linux). */
bool secret_random(void *data, size_t len) MUST_CHECK;
/*
 * Reads a password file: the first line, without its newline, into SECRET_R (a BUF_SECRET).
 * PERM with a text that names the file: missing, unreadable, empty, not a regular file, or readable
 * by others.
 */
enum result secret_read_file(const char *path, struct buf *secret_r, struct error *err) MUST_CHECK;

#endif
