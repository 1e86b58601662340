/*
 * test_io - deadlines, half reads and writes, closed peers; on sockets and pipes, of both kinds
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/io.h"

enum { SOCKET_BLOCKING, SOCKET_NONBLOCKING, PIPE_BLOCKING, PIPE_NONBLOCKING, KIND_COUNT };

#define SOON       deadline_in(50)
#define IN_A_WHILE deadline_in(60000)

/* What is written to ends[1] arrives at ends[0]. */
static void make_pair(int kind, int ends[2])
{
	if (kind == SOCKET_BLOCKING || kind == SOCKET_NONBLOCKING)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	else
		ck_assert_int_eq(pipe(ends), 0);
	if (kind == SOCKET_NONBLOCKING || kind == PIPE_NONBLOCKING)
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(fcntl(ends[i], F_SETFL, O_NONBLOCK), 0);
}

START_TEST(test_read)
{
	struct buf buf = BUF_INIT;
	int ends[2];

	make_pair(_i, ends);
	ck_assert_int_eq(io_read_now(ends[0], &buf, 100), IO_AGAIN);
	ck_assert_int_eq(io_read(ends[0], &buf, 100, SOON), IO_TIMEOUT);
	ck_assert_uint_eq(buf.len, 0);
	ck_assert_int_eq(io_write(ends[1], "hello", 5, IN_A_WHILE), IO_OK);
	ck_assert_int_eq(io_read(ends[0], &buf, 3, IN_A_WHILE), IO_OK);
	ck_assert_str_eq(buf_str(&buf), "hel");
	ck_assert_int_eq(io_read_now(ends[0], &buf, 100), IO_OK);
	ck_assert_str_eq(buf_str(&buf), "hello");
	ck_assert_int_eq(io_write(ends[1], "!", 1, IN_A_WHILE), IO_OK);
	close(ends[1]);
	ck_assert_int_eq(io_read(ends[0], &buf, 100, IN_A_WHILE), IO_OK);
	ck_assert_int_eq(io_read(ends[0], &buf, 100, IN_A_WHILE), IO_EOF);
	ck_assert_int_eq(io_read_now(ends[0], &buf, 100), IO_EOF);
	ck_assert_str_eq(buf_str(&buf), "hello!");
	close(ends[0]);
	buf_free(&buf);
}
END_TEST

struct copy {
	int fd;
	struct buf got;
	enum io_result result;
};

static void *read_all(void *context)
{
	struct copy *copy = context;

	do
		copy->result = io_read(copy->fd, &copy->got, 1000, IN_A_WHILE);
	while (copy->result == IO_OK);
	return NULL;
}

/* Far more than fits any kernel buffer, against a reader who takes little. */
START_TEST(test_large)
{
	static char data[1 << 20];
	struct copy copy = {.got = BUF_INIT};
	pthread_t thread;
	int ends[2];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31 + i / 997);
	make_pair(_i, ends);
	copy.fd = ends[0];
	ck_assert_int_eq(pthread_create(&thread, NULL, read_all, &copy), 0);
	ck_assert_int_eq(io_write(ends[1], data, sizeof(data), IN_A_WHILE), IO_OK);
	close(ends[1]);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(copy.result, IO_EOF);
	ck_assert_uint_eq(copy.got.len, sizeof(data));
	ck_assert_mem_eq(copy.got.data, data, sizeof(data));
	buf_free(&copy.got);
	close(ends[0]);
}
END_TEST

START_TEST(test_write_timeout)
{
	static char data[4 << 20];
	int64_t start = deadline_now_ms();
	int ends[2];

	make_pair(_i, ends);
	ck_assert_int_eq(io_write(ends[1], data, sizeof(data), deadline_in(100)), IO_TIMEOUT);
	ck_assert_int_ge(deadline_now_ms() - start, 100);
	ck_assert_int_lt(deadline_now_ms() - start, 10000);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* Bytes that are there do not move a deadline that has passed. */
START_TEST(test_deadline_passed)
{
	struct buf buf = BUF_INIT;
	int ends[2];

	make_pair(_i, ends);
	ck_assert_int_eq(io_write(ends[1], "x", 1, IN_A_WHILE), IO_OK);
	ck_assert_int_eq(io_read(ends[0], &buf, 1, deadline_in(0)), IO_TIMEOUT);
	ck_assert_int_eq(io_write(ends[1], "x", 1, deadline_in(0)), IO_TIMEOUT);
	ck_assert_int_eq(io_write(ends[1], "", 0, deadline_in(0)), IO_OK);
	ck_assert_int_eq(io_read_now(ends[0], &buf, 1), IO_OK);
	close(ends[0]);
	close(ends[1]);
	buf_free(&buf);
}
END_TEST

/* SIGPIPE would end this process. */
START_TEST(test_write_closed)
{
	int ends[2];

	make_pair(_i, ends);
	close(ends[0]);
	ck_assert_int_eq(io_write(ends[1], "x", 1, IN_A_WHILE), IO_EOF);
	close(ends[1]);
}
END_TEST

START_TEST(test_bad_descriptor)
{
	struct buf buf = BUF_INIT;

	errno = 0;
	ck_assert_int_eq(io_read_now(-1, &buf, 1), IO_FAILED);
	ck_assert_int_eq(errno, EBADF);
	ck_assert_int_eq(io_read(-1, &buf, 1, IN_A_WHILE), IO_FAILED);
	ck_assert_int_eq(io_write(-1, "x", 1, IN_A_WHILE), IO_FAILED);
	ck_assert_int_eq(io_read_now(0, &buf, 0), IO_FAILED);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(io_write_file(-1, "x", 1), -1);
	buf_free(&buf);
}
END_TEST

START_TEST(test_no_memory)
{
	struct buf buf = {.failed = true};
	int ends[2];

	make_pair(SOCKET_BLOCKING, ends);
	ck_assert_int_eq(io_read(ends[0], &buf, 1, IN_A_WHILE), IO_FAILED);
	ck_assert_int_eq(errno, ENOMEM);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(test_write_file)
{
	static char data[1 << 20];
	struct copy copy = {.got = BUF_INIT};
	pthread_t thread;
	int ends[2], full = open("/dev/full", O_WRONLY);

	make_pair(_i, ends);
	copy.fd = ends[0];
	ck_assert_int_eq(pthread_create(&thread, NULL, read_all, &copy), 0);
	ck_assert_int_eq(io_write_file(ends[1], data, sizeof(data)), 0);
	close(ends[1]);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(copy.got.len, sizeof(data));
	buf_free(&copy.got);
	close(ends[0]);

	ck_assert_int_ge(full, 0);
	ck_assert_int_eq(io_write_file(full, "x", 1), -1);
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_int_eq(io_write_file(full, "", 0), 0);
	close(full);
}
END_TEST

START_TEST(test_names)
{
	for (int a = IO_OK; a <= IO_FAILED; a++)
		for (int b = IO_OK; b < a; b++)
			ck_assert_str_ne(io_result_name((enum io_result)a),
					 io_result_name((enum io_result)b));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io");
	TCase *tests = tcase_create("io");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, test_read, 0, KIND_COUNT);
	tcase_add_loop_test(tests, test_large, 0, KIND_COUNT);
	tcase_add_loop_test(tests, test_write_timeout, 0, KIND_COUNT);
	tcase_add_loop_test(tests, test_deadline_passed, 0, KIND_COUNT);
	tcase_add_loop_test(tests, test_write_closed, SOCKET_BLOCKING, PIPE_BLOCKING);
	tcase_add_test(tests, test_bad_descriptor);
	tcase_add_test(tests, test_no_memory);
	tcase_add_loop_test(tests, test_write_file, 0, KIND_COUNT);
	tcase_add_test(tests, test_names);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
