/*
 * An empty Maildir of a test, and its files by their names in it.
 */
#ifndef POSTERN_TESTS_QUOTA_RIG_H
#define POSTERN_TESTS_QUOTA_RIG_H

#include "common/quota.h"

extern char top[64];
extern int top_fd;
extern struct error err;

void maildir_make(void);
void maildir_remove(void);

void put(const char *name, const char *text);
/* The text, good until the next call; NULL: no such file. */
const char *get(const char *name);

#endif
