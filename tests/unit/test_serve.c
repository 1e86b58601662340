/*
 * test_serve - the engine under a service that echoes lines: parking, lingering, the connection
 * cap, idle connections, reloads and stops under load
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/io.h"
#include "common/log.h"
#include "common/serve.h"

#define WAIT_MS 20000

struct shared {
	int number;
	_Atomic int open;     /* worker states made on it */
	_Atomic int handling; /* handlers in it */
	_Atomic bool dead;
};

struct own {
	struct shared *shared;
	unsigned requests; /* no atomic: TSan tells if two threads share a worker */
};

static _Atomic int broken;     /* things that must not happen */
static _Atomic int closed;     /* calls of .close */
static _Atomic int opened;     /* calls of worker_open */
static int gate[2] = {-1, -1}; /* a handler told "wait" reads one byte of it */
static _Atomic int waiting;

static enum result own_open(void *state, void **worker_r, struct error *err)
{
	struct shared *shared = state;
	opened++;
	if (shared->number < 0)
		return result_error(err, RESULT_TEMP, "the database is away");
	struct own *own = calloc(1, sizeof(*own));
	own->shared = shared;
	shared->open++;
	*worker_r = own;
	return RESULT_FOUND;
}

static void own_close(void *worker)
{
	struct own *own = worker;
	if (own->shared->dead)
		broken++;
	own->shared->open--;
	free(own);
}

static bool answer(struct connection *connection, const struct shared *shared, struct own *own,
		   const char *line, size_t len)
{
	struct buf out = BUF_INIT;
	char byte;
	if (len == 4 && memcmp(line, "wait", 4) == 0) {
		waiting++;
		if (read(gate[0], &byte, 1) != 1)
			broken++;
	}
	if (own != NULL)
		own->requests++;
	buf_printf(&out, "%d %.*s\n", own ? shared->number : -1, (int)len, line);
	bool ok = io_write(connection->fd, out.data, out.len, deadline_in(WAIT_MS)) == IO_OK;
	buf_free(&out);
	return ok;
}

static enum serve_next echo(struct connection *connection, void *state, void *worker)
{
	struct shared *shared = state;
	struct own *own = worker;
	const char *newline;
	shared->handling++;
	if (shared->dead || (own != NULL && own->shared != shared))
		broken++;
	bool ok = true;
	while (ok && connection->in.len > 0 &&
	       (newline = memchr(connection->in.data, '\n', connection->in.len)) != NULL) {
		size_t len = (size_t)(newline - connection->in.data);
		ok = answer(connection, shared, own, connection->in.data, len);
		buf_consume(&connection->in, len + 1);
	}
	if (connection->protocol == NULL)
		connection->protocol = malloc(1);
	shared->handling--;
	return ok ? SERVE_PARK : SERVE_CLOSE;
}

static enum serve_next greet(struct connection *connection, void *state, void *worker)
{
	(void)state;
	(void)worker;
	if (io_write(connection->fd, "hello\n", 6, deadline_in(WAIT_MS)) != IO_OK)
		return SERVE_CLOSE;
	while (!serve_stopping()) {
		switch (io_read(connection->fd, &connection->in, 100, deadline_in(10))) {
		case IO_OK:
			if (io_write(connection->fd, "bye\n", 4, deadline_in(WAIT_MS)) != IO_OK)
				broken++;
			return SERVE_CLOSE;
		case IO_TIMEOUT:
			break;
		default:
			return SERVE_CLOSE;
		}
	}
	if (io_write(connection->fd, "421\n", 4, deadline_in(WAIT_MS)) != IO_OK)
		broken++;
	return SERVE_CLOSE;
}

static void drop(struct connection *connection)
{
	closed++;
	free(connection->protocol);
}

static const struct service echo_service = {
	.name = "echo",
	.worker_open = own_open,
	.worker_close = own_close,
	.handle = echo,
	.close = drop,
	.input_max = 10000,
};
static const struct service greet_service = {
	.name = "greet", .handle = greet, .close = drop, .greets = true, .input_max = 1000};

/* One engine on one Unix socket. */
struct rig {
	char folder[64];
	struct sockaddr_un address;
	struct endpoint *endpoints;
	size_t count;
	struct serve *serve;
};

static void quiet(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	(void)line;
}

static void rig_start(struct rig *rig, const struct serve_config *wanted)
{
	struct error err = {""};
	const struct endpoint_mode mode = {.mode = 0600};
	struct serve_config config = *wanted;
	log_set_sink(quiet, NULL);
	memset(rig, 0, sizeof(*rig));
	strcpy(rig->folder, "/tmp/test_serve.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig->folder));
	rig->address.sun_family = AF_UNIX;
	snprintf(rig->address.sun_path, sizeof(rig->address.sun_path), "%s/s", rig->folder);
	ck_assert_int_eq(endpoint_parse(rig->address.sun_path, &rig->endpoints, &rig->count, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&rig->endpoints[0], &mode, &err), RESULT_FOUND);
	config.endpoints = rig->endpoints;
	config.endpoint_count = rig->count;
	ck_assert_int_eq(serve_start(&config, &rig->serve, &err), RESULT_FOUND);
}

static void rig_end(struct rig *rig)
{
	serve_stop(&rig->serve, 0);
	ck_assert_ptr_null(rig->serve);
	endpoint_free(&rig->endpoints, rig->count, true);
	ck_assert_int_eq(rmdir(rig->folder), 0);
	ck_assert_int_eq(broken, 0);
}

static int dial(const struct rig *rig)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&rig->address, sizeof(rig->address)) != 0) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static bool put(int fd, const char *text)
{
	size_t len = strlen(text);
	return len == 0 || send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* One line without its newline; false at the end or after MS. */
static bool get(int fd, char *line, size_t size, int64_t ms)
{
	size_t len = 0;
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	struct deadline deadline = deadline_in(ms);
	while (len + 1 < size) {
		if (poll(&poller, 1, deadline_left_ms(deadline)) <= 0 ||
		    read(fd, line + len, 1) != 1)
			return false;
		if (line[len] == '\n') {
			line[len] = '\0';
			return true;
		}
		len++;
	}
	return false;
}

static void ask(int fd, const char *question, const char *expected)
{
	char line[256];
	ck_assert(put(fd, question));
	ck_assert(get(fd, line, sizeof(line), WAIT_MS));
	ck_assert_str_eq(line, expected);
}

/* Waits for the end of the connection. */
static bool ended(int fd, int64_t ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	char byte;
	return poll(&poller, 1, (int)ms) == 1 && read(fd, &byte, 1) <= 0;
}

static void wait_until_equal(const _Atomic int *value, int expected)
{
	struct deadline deadline = deadline_in(WAIT_MS);
	while (*value != expected && !deadline_passed(deadline))
		poll(NULL, 0, 1);
	ck_assert_int_eq(*value, expected);
}

START_TEST(test_echo)
{
	struct rig rig;
	struct shared shared = {.number = 7};
	char line[256];
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 3,
					       .max_connections = 100,
					       .state = &shared});
	int fd = dial(&rig), other = dial(&rig);
	ask(fd, "one\n", "7 one");
	ask(other, "two\n", "7 two");
	/* Byte by byte, with a look at another connection in between. */
	for (const char *c = "slow"; *c != '\0'; c++) {
		char byte[2] = {*c, '\0'};
		ck_assert(put(fd, byte));
		ask(other, "x\n", "7 x");
	}
	ask(fd, "ly\n", "7 slowly");
	/* Several in one write. */
	ck_assert(put(fd, "a\nb\nc"));
	ck_assert(get(fd, line, sizeof(line), WAIT_MS));
	ck_assert(get(fd, line, sizeof(line), WAIT_MS));
	ck_assert_str_eq(line, "7 b");
	ask(fd, "d\n", "7 cd");
	/* The end of sending does not lose what was sent before. */
	ck_assert(put(other, "last\n"));
	shutdown(other, SHUT_WR);
	ck_assert(get(other, line, sizeof(line), WAIT_MS));
	ck_assert_str_eq(line, "7 last");
	ck_assert(ended(other, WAIT_MS));
	close(fd);
	close(other);
	wait_until_equal(&closed, 2);
	rig_end(&rig);
	ck_assert_int_eq(shared.open, 0);
}
END_TEST

START_TEST(test_input_max)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	char text[10001];
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 1,
					       .max_connections = 10,
					       .state = &shared});
	int fd = dial(&rig);
	memset(text, 'x', 10000);
	text[10000] = '\0';
	text[9998] = '\0';
	ck_assert(put(fd, text));
	ck_assert(put(fd, "\n"));
	char line[10200];
	ck_assert(get(fd, line, sizeof(line), WAIT_MS));
	ck_assert_uint_eq(strlen(line), 10000);
	text[9998] = 'x';
	ck_assert(put(fd, text));
	ck_assert(ended(fd, WAIT_MS));
	close(fd);
	rig_end(&rig);
}
END_TEST

START_TEST(test_worker_not_ready)
{
	struct rig rig;
	struct shared away = {.number = -1}, back = {.number = 2};
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 1,
					       .max_connections = 10,
					       .state = &away});
	int fd = dial(&rig);
	ask(fd, "a\n", "-1 a");
	ask(fd, "b\n", "-1 b");
	ck_assert_int_ge(opened, 2);
	serve_reload(rig.serve, &back);
	ask(fd, "c\n", "2 c");
	close(fd);
	rig_end(&rig);
}
END_TEST

START_TEST(test_cap)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	int fds[12];
	char line[64];
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 2,
					       .max_connections = 4,
					       .state = &shared});
	for (int i = 0; i < 12; i++) {
		fds[i] = dial(&rig);
		ck_assert_int_ge(fds[i], 0);
		ck_assert(put(fds[i], "x\n"));
	}
	/* The first four are served, the others wait in the backlog, unharmed. */
	for (int i = 0; i < 4; i++)
		ck_assert(get(fds[i], line, sizeof(line), WAIT_MS));
	ck_assert(!get(fds[4], line, sizeof(line), 100));
	ck_assert_uint_eq(serve_connections(rig.serve), 4);
	for (int i = 0; i < 12; i++) {
		if (i >= 4)
			ck_assert(get(fds[i], line, sizeof(line), WAIT_MS));
		ck_assert_uint_le(serve_connections(rig.serve), 4);
		close(fds[i]);
	}
	wait_until_equal(&closed, 12);
	rig_end(&rig);
}
END_TEST

START_TEST(test_idle)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	ck_assert_int_eq(pipe(gate), 0);
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 1,
					       .max_connections = 10,
					       .idle_ms = 100,
					       .state = &shared});
	int idle = dial(&rig), partial = dial(&rig);
	ask(idle, "a\n", "1 a");
	ck_assert(put(partial, "half"));
	ck_assert(ended(idle, WAIT_MS));
	ck_assert(ended(partial, WAIT_MS));
	/* Waiting for the only worker is not being idle. */
	int busy = dial(&rig), waits = dial(&rig);
	ck_assert(put(busy, "wait\n"));
	wait_until_equal(&waiting, 1);
	ck_assert(put(waits, "b\n"));
	ck_assert(!ended(waits, 400));
	ck_assert_int_eq(write(gate[1], "x", 1), 1);
	ask(busy, "", "1 wait");
	ask(waits, "", "1 b");
	close(idle);
	close(partial);
	close(busy);
	close(waits);
	rig_end(&rig);
}
END_TEST

START_TEST(test_greets)
{
	struct rig rig;
	rig_start(&rig, &(struct serve_config){
				.service = &greet_service, .workers = 2, .max_connections = 10});
	int fd = dial(&rig), silent = dial(&rig), third = dial(&rig);
	ask(fd, "", "hello");
	ask(silent, "", "hello");
	char line[64];
	/* Two workers, two sessions: the third waits for one to end. */
	ck_assert(!get(third, line, sizeof(line), 100));
	ask(fd, "x\n", "bye");
	ck_assert(ended(fd, WAIT_MS));
	ask(third, "", "hello");
	int64_t begin = deadline_now_ms();
	serve_stop(&rig.serve, WAIT_MS);
	ck_assert_int_lt(deadline_now_ms() - begin, WAIT_MS / 2);
	ask(silent, "", "421");
	ask(third, "", "421");
	ck_assert(!serve_stopping());
	close(fd);
	close(silent);
	close(third);
	rig_end(&rig);
}
END_TEST

static void *release_gate(void *argument)
{
	int64_t ms = *(int64_t *)argument;
	poll(NULL, 0, (int)ms);
	if (write(gate[1], "x", 1) != 1)
		broken++;
	return NULL;
}

/* A request under way is answered; a parked connection ends; half a request is cut at the end. */
START_TEST(test_stop_drains)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	pthread_t thread;
	int64_t delay = 200;
	ck_assert_int_eq(pipe(gate), 0);
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 2,
					       .max_connections = 10,
					       .state = &shared});
	int busy = dial(&rig), parked = dial(&rig), half = dial(&rig);
	ask(parked, "a\n", "1 a");
	ck_assert(put(half, "ha"));
	ck_assert(put(busy, "wait\n"));
	wait_until_equal(&waiting, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, release_gate, &delay), 0);
	int64_t begin = deadline_now_ms();
	serve_stop(&rig.serve, 600);
	int64_t took = deadline_now_ms() - begin;
	ck_assert_int_ge(took, 590);
	ck_assert_int_lt(took, WAIT_MS / 2);
	pthread_join(thread, NULL);
	ask(busy, "", "1 wait");
	ck_assert(ended(busy, 0));
	ck_assert(ended(parked, 0));
	ck_assert(ended(half, 0));
	ck_assert_int_eq(closed, 3);
	close(busy);
	close(parked);
	close(half);
	rig_end(&rig);
}
END_TEST

static void *speak_late(void *argument)
{
	poll(NULL, 0, 100);
	if (!put(*(const int *)argument, "late\n"))
		broken++;
	return NULL;
}

/* Who had connected before the stop and speaks after it began is answered; who never speaks does
   not hold it up for long. */
START_TEST(test_stop_hears_the_new)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	pthread_t thread;
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 2,
					       .max_connections = 10,
					       .state = &shared});
	int fresh = dial(&rig), silent = dial(&rig);
	struct deadline deadline = deadline_in(WAIT_MS);
	while (serve_connections(rig.serve) < 2 && !deadline_passed(deadline))
		poll(NULL, 0, 1);
	int64_t begin = deadline_now_ms();
	ck_assert_int_eq(pthread_create(&thread, NULL, speak_late, &fresh), 0);
	serve_stop(&rig.serve, WAIT_MS);
	ck_assert_int_lt(deadline_now_ms() - begin, WAIT_MS / 2);
	pthread_join(thread, NULL);
	ask(fresh, "", "1 late");
	ck_assert(ended(fresh, 0));
	ck_assert(ended(silent, 0));
	close(fresh);
	close(silent);
	rig_end(&rig);
}
END_TEST

static void *reload_once(void *argument)
{
	static struct shared next = {.number = 2};
	serve_reload(argument, &next);
	return NULL;
}

/* Reload waits for a handler in the old state; requests meanwhile get the new one. */
START_TEST(test_reload_waits)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	pthread_t thread;
	ck_assert_int_eq(pipe(gate), 0);
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 3,
					       .max_connections = 10,
					       .state = &shared});
	int busy = dial(&rig), other = dial(&rig);
	ask(other, "a\n", "1 a");
	ck_assert(put(busy, "wait\n"));
	wait_until_equal(&waiting, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, reload_once, rig.serve), 0);
	struct deadline deadline = deadline_in(WAIT_MS);
	char line[64] = "";
	while (strcmp(line, "2 b") != 0 && !deadline_passed(deadline)) {
		ck_assert(put(other, "b\n"));
		ck_assert(get(other, line, sizeof(line), WAIT_MS));
	}
	ck_assert_str_eq(line, "2 b");
	ck_assert_int_ge(shared.open, 1);
	ck_assert_int_eq(write(gate[1], "x", 1), 1);
	ask(busy, "", "1 wait");
	pthread_join(thread, NULL);
	ck_assert_int_eq(shared.open, 0);
	shared.dead = true;
	ask(busy, "c\n", "2 c");
	close(busy);
	close(other);
	rig_end(&rig);
}
END_TEST

struct load {
	const struct rig *rig;
	unsigned seed;
	_Atomic bool *end;
	unsigned long replies, connections, cut;
};

/* Questions of random length and cut on changing connections; each reply must fit its question. */
static void load_talk(struct load *load, int fd, unsigned questions)
{
	char question[600], line[700];
	for (unsigned i = 0; i < questions; i++) {
		int len = snprintf(question, sizeof(question), "%u-%u-", load->seed, i);
		int more = rand_r(&load->seed) % (rand_r(&load->seed) % 8 ? 20 : 500);
		memset(question + len, 'q', (size_t)more);
		memcpy(question + len + more, "\n", 2);
		size_t total = (size_t)(len + more + 1);
		size_t part = (size_t)rand_r(&load->seed) % total;
		if (rand_r(&load->seed) % 4)
			part = total;
		bool sent = send(fd, question, part, MSG_NOSIGNAL) == (ssize_t)part;
		if (sent && part < total)
			sent = send(fd, question + part, total - part, MSG_NOSIGNAL) ==
			       (ssize_t)(total - part);
		if (!sent || !get(fd, line, sizeof(line), WAIT_MS)) {
			load->cut++;
			return;
		}
		question[total - 1] = '\0';
		const char *reply = strchr(line, ' ');
		if (reply == NULL || strcmp(reply + 1, question) != 0)
			broken++;
		load->replies++;
	}
}

static void *load_main(void *argument)
{
	struct load *load = argument;
	while (!*load->end) {
		int fd = dial(load->rig);
		if (fd < 0)
			break;
		load->connections++;
		load_talk(load, fd, 1 + (unsigned)rand_r(&load->seed) % 50);
		close(fd);
	}
	return NULL;
}

#define LOADERS 8

static void load_start(struct load *loads, pthread_t *threads, const struct rig *rig,
		       _Atomic bool *end)
{
	for (unsigned i = 0; i < LOADERS; i++) {
		loads[i] = (struct load){.rig = rig, .seed = i + 1, .end = end};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, load_main, &loads[i]), 0);
	}
}

/* Loop 0: fewer workers than clients; loop 1: as many as make lingering the rule. */
START_TEST(test_load_reload)
{
	static struct shared shared[200];
	struct rig rig;
	struct load loads[LOADERS];
	pthread_t threads[LOADERS];
	_Atomic bool end = false;
	unsigned long replies = 0;
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = _i == 0 ? 2 : 16,
					       .max_connections = _i == 0 ? 5 : 100,
					       .idle_ms = 5000,
					       .state = &shared[0]});
	load_start(loads, threads, &rig, &end);
	for (int i = 1; i < 200; i++) {
		shared[i].number = i;
		serve_reload(rig.serve, &shared[i]);
		ck_assert_int_eq(shared[i - 1].handling, 0);
		ck_assert_int_eq(shared[i - 1].open, 0);
		shared[i - 1].dead = true;
		poll(NULL, 0, 2);
	}
	end = true;
	for (int i = 0; i < LOADERS; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(loads[i].cut, 0);
		replies += loads[i].replies;
	}
	ck_assert_uint_gt(replies, 1000);
	rig_end(&rig);
	ck_assert_int_eq(shared[199].open, 0);
}
END_TEST

static _Atomic int unanswered; /* requests that were taken, and whose connection then ended */

/* Asks again as soon as it is answered: a stop comes between. */
static void *ask_on(void *argument)
{
	const struct rig *rig = argument;
	char line[64];
	int fd = dial(rig);
	while (fd >= 0 && put(fd, "x\n")) {
		if (get(fd, line, sizeof(line), WAIT_MS))
			continue;
		unanswered++;
		break;
	}
	close(fd);
	return NULL;
}

/* Until its end a Unix socket either refuses a request, or it is answered. */
START_TEST(test_stop_answers_what_it_took)
{
	for (int round = 0; round < 100; round++) {
		static struct shared shared = {.number = 1};
		struct rig rig;
		pthread_t threads[LOADERS];
		rig_start(&rig, &(struct serve_config){.service = &echo_service,
						       .workers = 1 + (size_t)round % 6,
						       .max_connections = 100,
						       .state = &shared});
		for (int i = 0; i < LOADERS; i++)
			ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_on, &rig), 0);
		struct deadline deadline = deadline_in(WAIT_MS);
		while (serve_connections(rig.serve) < LOADERS && !deadline_passed(deadline))
			poll(NULL, 0, 1);
		serve_stop(&rig.serve, WAIT_MS);
		for (int i = 0; i < LOADERS; i++)
			pthread_join(threads[i], NULL);
		rig_end(&rig);
	}
	ck_assert_int_eq(unanswered, 0);
}
END_TEST

/* Who has asked before the stop, though nobody has accepted it yet. */
START_TEST(test_stop_accepts_once_more)
{
	for (int round = 0; round < 50; round++) {
		static struct shared shared = {.number = 1};
		struct rig rig;
		int fds[LOADERS];
		rig_start(&rig, &(struct serve_config){.service = &echo_service,
						       .workers = 2,
						       .max_connections = 100,
						       .state = &shared});
		for (int i = 0; i < LOADERS; i++) {
			fds[i] = dial(&rig);
			ck_assert(put(fds[i], "x\n"));
		}
		serve_stop(&rig.serve, WAIT_MS);
		rig_end(&rig);
		for (int i = 0; i < LOADERS; i++) {
			ask(fds[i], "", "1 x");
			close(fds[i]);
		}
	}
}
END_TEST

/* Stopped in the middle: every reply that came was right, and nobody hangs. */
START_TEST(test_load_stop)
{
	for (int round = 0; round < 15; round++) {
		static struct shared shared;
		struct rig rig;
		struct load loads[LOADERS];
		pthread_t threads[LOADERS];
		_Atomic bool end = false;
		rig_start(&rig, &(struct serve_config){.service = &echo_service,
						       .workers = 1 + (size_t)round % 6,
						       .max_connections = 6,
						       .state = &shared});
		load_start(loads, threads, &rig, &end);
		poll(NULL, 0, 10 + round * 3);
		end = true;
		int64_t begin = deadline_now_ms();
		serve_stop(&rig.serve, WAIT_MS);
		ck_assert_int_lt(deadline_now_ms() - begin, WAIT_MS / 2);
		/* Clients in the backlog end with the socket. */
		endpoint_free(&rig.endpoints, rig.count, true);
		for (int i = 0; i < LOADERS; i++)
			pthread_join(threads[i], NULL);
		rig.count = 0;
		rig_end(&rig);
		ck_assert_int_eq(shared.open, 0);
	}
}
END_TEST

/* Requests to random ones of many parked connections. */
START_TEST(test_many_idle)
{
	enum { COUNT = 400 };
	static int fds[COUNT];
	struct rig rig;
	struct shared shared = {.number = 1};
	unsigned seed = 1;
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 4,
					       .max_connections = COUNT,
					       .state = &shared});
	for (int i = 0; i < COUNT; i++)
		ck_assert_int_ge(fds[i] = dial(&rig), 0);
	for (int i = 0; i < 3000; i++)
		ask(fds[rand_r(&seed) % COUNT], "x\n", "1 x");
	ck_assert_uint_eq(serve_connections(rig.serve), COUNT);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	wait_until_equal(&closed, COUNT);
	rig_end(&rig);
}
END_TEST

static int64_t cpu_ms(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* Out of descriptors: no spinning, and service goes on when some are free again. */
START_TEST(test_no_descriptors)
{
	struct rig rig;
	struct shared shared = {.number = 1};
	int fds[6];
	char line[64];
	rig_start(&rig, &(struct serve_config){.service = &echo_service,
					       .workers = 2,
					       .max_connections = 100,
					       .state = &shared});
	for (int i = 0; i < 6; i++)
		fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
	/* Room for two accepted connections. */
	int highest = dup(0);
	close(highest);
	struct rlimit limit = {.rlim_cur = (rlim_t)highest + 2, .rlim_max = (rlim_t)highest + 2};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(
			connect(fds[i], (struct sockaddr *)&rig.address, sizeof(rig.address)), 0);
		ck_assert(put(fds[i], "x\n"));
	}
	ask(fds[0], "", "1 x");
	ask(fds[1], "", "1 x");
	int64_t before = cpu_ms();
	ck_assert(!get(fds[2], line, sizeof(line), 500));
	ck_assert_int_lt(cpu_ms() - before, 250);
	for (int i = 0; i < 6; i++) {
		if (i >= 2)
			ask(fds[i], "", "1 x");
		close(fds[i]);
	}
	rig_end(&rig);
}
END_TEST

START_TEST(test_refused)
{
	struct error err = {""};
	struct serve *serve;
	const struct serve_config none = {.service = &echo_service, .max_connections = 1};
	ck_assert_int_eq(serve_start(&none, &serve, &err), RESULT_PERM);
	ck_assert_ptr_null(serve);
	serve_stop(&serve, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve");
	TCase *tcase = tcase_create("serve");
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, test_echo);
	tcase_add_test(tcase, test_input_max);
	tcase_add_test(tcase, test_worker_not_ready);
	tcase_add_test(tcase, test_cap);
	tcase_add_test(tcase, test_idle);
	tcase_add_test(tcase, test_greets);
	tcase_add_test(tcase, test_stop_drains);
	tcase_add_test(tcase, test_stop_hears_the_new);
	tcase_add_test(tcase, test_reload_waits);
	tcase_add_loop_test(tcase, test_load_reload, 0, 2);
	tcase_add_test(tcase, test_stop_answers_what_it_took);
	tcase_add_test(tcase, test_stop_accepts_once_more);
	tcase_add_test(tcase, test_load_stop);
	tcase_add_test(tcase, test_many_idle);
	tcase_add_test(tcase, test_no_descriptors);
	tcase_add_test(tcase, test_refused);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
