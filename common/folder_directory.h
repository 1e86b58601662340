/*
 * The directories of Maildirs on disk: never through a symbolic link, mode 0700, synced.
 * All return 0 or a descriptor; -1 with errno.
 */
#ifndef POSTERN_FOLDER_DIRECTORY_H
#define POSTERN_FOLDER_DIRECTORY_H

#include "common/result.h"

int folder_directory_open(int at, const char *name) MUST_CHECK;
/* Does not mind an existing directory (or whatever is there: opening it will tell). */
int folder_directory_make(int at, const char *name) MUST_CHECK;
int folder_directory_sync(int fd) MUST_CHECK;
/* Makes what is missing of new/ and cur/, syncs, and only then tmp/, synced as well. */
int folder_directory_complete(int fd) MUST_CHECK;
/* 1: NAME is there and a directory itself; 0: it is not. */
int folder_directory_has(int fd, const char *name) MUST_CHECK;
/* Closes *FD unless it is -1, which it becomes; errno stays. */
void folder_directory_close(int *fd);

#endif
