/*
 * A mail base of a test, and a record of the system calls that deliveries make.
 */
#ifndef POSTERN_TESTS_MAILDIR_RIG_H
#define POSTERN_TESTS_MAILDIR_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/maildir.h"

enum call {
	CALL_MKDIR,
	CALL_SYNC,
	CALL_DATASYNC,
	CALL_SYNCFS,
	CALL_LINK,
	CALL_UNLINK,
	CALL_TMPFILE,
	CALL_WRITE,
	CALLS
};

struct event {
	enum call call;
	ino_t at;   /* the directory, or the file synced, written or linked */
	char to[9]; /* mkdir, unlink: what */
};
#define RIG_EVENTS 2000
extern struct event events[RIG_EVENTS];
extern size_t event_count;

struct fault { /* the next calls fail, from the NTH on (1 is the next) */
	unsigned nth, times;
	int error;
};
extern struct fault faults[CALLS];
void plan_fault(enum call call, unsigned nth, unsigned times, int error);
extern size_t short_writes;  /* no write takes more bytes; 0: all */
extern bool lost_link_reply; /* a link that happened but whose reply was lost, as on NFS */

ino_t inode_of(int fd);
bool synced_between(enum call call, ino_t at, size_t from, size_t to);
int open_descriptors(void);

extern char top[64]; /* holds base and outside */
extern char base[80], outside[80];
extern char directory[2000]; /* of the target */
extern struct maildir_target target;
extern struct error err;
void setup(void);
void teardown(void);

void path_below(char *path_r, size_t size, const char *name);
/* Files in a folder of the Maildir; -1: no such folder. */
int count_files(const char *name);
void make_folder(const char *name);

#endif
