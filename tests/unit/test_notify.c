/*
 * test_notify - datagrams to NOTIFY_SOCKET, by path and in the abstract space
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/notify.h"

static int lines;

static void count_lines(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	ck_assert_ptr_nonnull(strstr(line, "NOTIFY_SOCKET"));
	lines++;
}

static int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void expect(int fd, const char *expected)
{
	char text[200];
	ssize_t len = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	ck_assert_int_gt(len, 0);
	text[len] = '\0';
	ck_assert_str_eq(text, expected);
}

START_TEST(test_path)
{
	char folder[] = "/tmp/test_notify.XXXXXX", path[64];
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/n", folder);
	int fd = listen_at(path);
	notify_send("READY=1");
	expect(fd, "READY=1");
	notify_send("STOPPING=1\nSTATUS=bye");
	expect(fd, "STOPPING=1\nSTATUS=bye");

	struct timespec before, after;
	char text[200];
	long long usec = 0;
	clock_gettime(CLOCK_MONOTONIC, &before);
	notify_reloading();
	clock_gettime(CLOCK_MONOTONIC, &after);
	ssize_t len = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	ck_assert_int_gt(len, 0);
	text[len] = '\0';
	ck_assert_int_eq(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%lld", &usec), 1);
	ck_assert_int_ge(usec, before.tv_sec * 1000000LL + before.tv_nsec / 1000);
	ck_assert_int_le(usec, after.tv_sec * 1000000LL + after.tv_nsec / 1000);
	close(fd);
	unlink(path);
	rmdir(folder);
}
END_TEST

START_TEST(test_abstract)
{
	char name[64];
	snprintf(name, sizeof(name), "@test_notify.%d", (int)getpid());
	int fd = listen_at(name);
	notify_send("READY=1");
	expect(fd, "READY=1");
	close(fd);
}
END_TEST

START_TEST(test_nobody)
{
	log_set_sink(count_lines, NULL);
	unsetenv("NOTIFY_SOCKET");
	notify_send("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	notify_send("READY=1");
	ck_assert_int_eq(lines, 0);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	notify_send("READY=1");
	notify_send("READY=1");
	setenv("NOTIFY_SOCKET", "relative", 1);
	notify_send("READY=1");
	ck_assert_int_eq(lines, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("notify");
	TCase *tcase = tcase_create("notify");
	tcase_add_test(tcase, test_path);
	tcase_add_test(tcase, test_abstract);
	tcase_add_test(tcase, test_nobody);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
