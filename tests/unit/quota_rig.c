/*
 * quota_rig - an empty Maildir of a test, and its files by their names in it
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "tests/unit/quota_rig.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char top[64];
int top_fd;
struct error err;

void maildir_make(void)
{
	(void)snprintf(top, sizeof(top), "%s/test_quota.XXXXXX", "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(top_fd, 0);
	for (const char *const *name = (const char *const[]){"new", "cur", "tmp", NULL}; *name;
	     name++)
		ck_assert_int_eq(mkdirat(top_fd, *name, 0700), 0);
	err.text[0] = '\0';
}

void maildir_remove(void)
{
	char command[128];

	(void)close(top_fd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

void put(const char *name, const char *text)
{
	int fd = openat(top_fd, name, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	(void)close(fd);
}

const char *get(const char *name)
{
	static char text[16384];
	int fd = openat(top_fd, name, O_RDONLY);
	ssize_t len;

	if (fd < 0)
		return NULL;
	len = read(fd, text, sizeof(text) - 1);
	ck_assert_int_ge(len, 0);
	text[len] = '\0';
	(void)close(fd);
	return text;
}
