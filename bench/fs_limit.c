/*
 * NAME
 *	fs_limit - the most that durable delivery can reach on a file system
 * SYNOPSIS
 *	fs_limit FOLDER THREADS MESSAGES SIZE [FOLDERS]
 * DESCRIPTION
 *	The yardstick of scripts/bench: each of THREADS writes a file of SIZE bytes in a tmp folder of
 *	its own, syncs it, renames it into its own new folder and syncs that folder, until there are
 *	MESSAGES files in all. The folders FOLDER/0/tmp, FOLDER/0/new, FOLDER/1/tmp ... are made first.
 *	With FOLDERS there are only so many of them, and the threads share them evenly. Prints the
 *	seconds from the start of the first thread to the end of the last.
 *
 *	Exit: 0, 1 when a call failed, 64 usage.
 * BUGS
 *	It is no upper bound for somebody who lets several messages share a sync.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 256
#define MESSAGE_MAX (64 << 20)

struct writer {
	pthread_t thread;
	int number;
	long messages;
	int tmp, new;
	bool failed;
};

static char *text;
static size_t text_len;

static bool message_write(int fd)
{
	size_t done = 0;

	while (done < text_len) {
		ssize_t n = write(fd, text + done, text_len - done);

		if (n < 0)
			return false;
		done += (size_t)n;
	}
	return fsync(fd) == 0;
}

static bool message_store(const struct writer *writer, long number)
{
	char name[48];
	int fd;
	bool done;

	snprintf(name, sizeof(name), "%d.%ld", writer->number, number);
	fd = openat(writer->tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	done = message_write(fd);
	return close(fd) == 0 && done && renameat(writer->tmp, name, writer->new, name) == 0 &&
	       fsync(writer->new) == 0;
}

static void *work(void *argument)
{
	struct writer *writer = argument;

	for (long i = 0; i < writer->messages; i++)
		if (!message_store(writer, i)) {
			fprintf(stderr, "fs_limit: %s\n", strerror(errno));
			writer->failed = true;
			break;
		}
	return NULL;
}

static int folder_make(const char *parent, int number, const char *name)
{
	char path[4096];
	int len = snprintf(path, sizeof(path), "%s/%d", parent, number);

	if (len < 0 || (size_t)len + strlen(name) + 2 > sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return -1;
	path[len] = '/';
	strcpy(path + len + 1, name);
	if (mkdir(path, 0700) != 0)
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Each has its folders; behind the first FOLDERS they are those of an earlier one. */
static bool prepare(struct writer *writers, int count, int folders, const char *parent)
{
	for (int i = 0; i < count; i++) {
		struct writer *writer = &writers[i];

		writer->number = i;
		writer->tmp =
			i < folders ? folder_make(parent, i, "tmp") : writers[i - folders].tmp;
		writer->new =
			i < folders ? folder_make(parent, i, "new") : writers[i - folders].new;
		if (writer->tmp < 0 || writer->new < 0) {
			fprintf(stderr, "fs_limit: %s/%d: %s\n", parent, i, strerror(errno));
			return false;
		}
	}
	return true;
}

static bool run(struct writer *writers, int count)
{
	bool good = true;
	int started = 0;

	for (; started < count; started++) {
		int error = pthread_create(&writers[started].thread, NULL, work, &writers[started]);

		if (error != 0) {
			fprintf(stderr, "fs_limit: a thread: %s\n", strerror(error));
			good = false;
			break;
		}
	}
	for (int i = 0; i < started; i++) {
		pthread_join(writers[i].thread, NULL);
		good = good && !writers[i].failed;
	}
	return good;
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
	static struct writer writers[THREADS_MAX];
	long threads, messages, size, folders = THREADS_MAX;
	double start;

	if (argc < 5 || argc > 6 || !number_read(argv[2], THREADS_MAX, &threads) ||
	    !number_read(argv[3], 100000000, &messages) ||
	    !number_read(argv[4], MESSAGE_MAX, &size) ||
	    (argc == 6 && !number_read(argv[5], THREADS_MAX, &folders))) {
		fprintf(stderr, "usage: fs_limit FOLDER THREADS MESSAGES SIZE [FOLDERS]\n");
		return 64;
	}
	text_len = (size_t)size;
	text = malloc(text_len);
	if (text == NULL) {
		fprintf(stderr, "fs_limit: no memory\n");
		return 1;
	}
	memset(text, 'x', text_len);
	for (int i = 0; i < (int)threads; i++)
		writers[i].messages = messages / threads + (i < messages % threads);
	if (!prepare(writers, (int)threads, (int)folders, argv[1]))
		return 1;
	start = now();
	if (!run(writers, (int)threads))
		return 1;
	printf("%.6f\n", now() - start);
	free(text);
	return 0;
}
