/*
 * NAME
 *	spawn - a process for each message, as pipe(8) does it
 * SYNOPSIS
 *	spawn MESSAGES PARALLEL MESSAGE PROGRAM [ARGUMENT ...]
 * DESCRIPTION
 *	The client of scripts/bench for delivery agents: runs PROGRAM (an absolute path) MESSAGES times,
 *	PARALLEL of them at a time, each with the file MESSAGE on standard input, through a pipe.
 *	Prints the seconds that all of it took.
 *
 *	Exit: 0; 1 when a call failed or PROGRAM left with anything but 0; 64 usage.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char text[1 << 20];
static size_t text_len;

static bool text_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return false;
	while (n > 0 && text_len < sizeof(text)) {
		n = read(fd, text + text_len, sizeof(text) - text_len);
		if (n > 0)
			text_len += (size_t)n;
	}
	close(fd);
	return n == 0; /* otherwise an error, or more than fits */
}

/* A program that does not read (true) is nobody's failure. */
static bool text_send(int fd)
{
	size_t done = 0;

	while (done < text_len) {
		ssize_t n = write(fd, text + done, text_len - done);

		if (n < 0)
			return errno == EPIPE;
		done += (size_t)n;
	}
	return true;
}

static bool child_start(char **argv)
{
	int ends[2];
	bool sent;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	pid = fork();
	if (pid == 0) {
		(void)signal(SIGPIPE, SIG_DFL);
		if (dup2(ends[0], STDIN_FILENO) >= 0)
			execv(argv[0], argv);
		_exit(127);
	}
	close(ends[0]);
	sent = pid > 0 && text_send(ends[1]);
	close(ends[1]);
	return sent;
}

static bool child_wait(const char *program)
{
	int status;

	if (wait(&status) < 0) {
		fprintf(stderr, "spawn: %s\n", strerror(errno));
		return false;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		fprintf(stderr, "spawn: %s ended by signal %d\n", program, WTERMSIG(status));
	else
		fprintf(stderr, "spawn: %s left with %d\n", program, WEXITSTATUS(status));
	return false;
}

static bool run(long messages, long parallel, char **argv)
{
	long running = 0;

	for (long i = 0; i < messages; i++) {
		if (running == parallel) {
			running--;
			if (!child_wait(argv[0]))
				return false;
		}
		if (!child_start(argv)) {
			fprintf(stderr, "spawn: %s: %s\n", argv[0], strerror(errno));
			return false;
		}
		running++;
	}
	for (; running > 0; running--)
		if (!child_wait(argv[0]))
			return false;
	return true;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool number_read(const char *word, long max, long *number_r)
{
	char *end;

	errno = 0;
	*number_r = strtol(word, &end, 10);
	return errno == 0 && *end == '\0' && *number_r >= 1 && *number_r <= max;
}

int main(int argc, char **argv)
{
	long messages, parallel;
	double start;

	if (argc < 5 || !number_read(argv[1], 100000000, &messages) ||
	    !number_read(argv[2], 1000, &parallel)) {
		fprintf(stderr, "usage: spawn MESSAGES PARALLEL MESSAGE PROGRAM [ARGUMENT ...]\n");
		return 64;
	}
	if (!text_read(argv[3])) {
		fprintf(stderr, "spawn: %s: unreadable, or larger than %zu\n", argv[3],
			sizeof(text));
		return 1;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	start = now();
	if (!run(messages, parallel, argv + 4))
		return 1;
	printf("%.6f\n", now() - start);
	return 0;
}
