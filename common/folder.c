/*
 * folder - find, or make, the Maildir++ folder that an address means
 *
 * A folder is a directory ".A.B" with a cur/ in it: readers list no other, so no other is taken or
 * turned into one (".dovecot.sieve", ".ssh"). A new one is made so that whoever sees its cur/ may
 * rely on its own entry: the Maildir is synced before, and tmp/ comes last. What a crash in between
 * leaves, an empty directory or one with `maildirfolder` and no cur/, is completed by the next
 * delivery that may create folders.
 *
 * Known gaps: the comparison without regard to case takes composed and decomposed letters for
 * different ones. Several deliveries at once may pass the limit of folders by as many.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unicase.h>
#include <unistd.h>

#include "common/folder_directory.h"
#include "common/folder_name.h"
#include "common/folder_subscribe.h"

enum state { FOLDER, HALF_MADE, ABSENT, SOMETHING_ELSE, UNKNOWN };

static enum result failed(struct error *err, const char *name, const char *call)
{
	int saved = errno;

	(void)result_error(err, RESULT_TEMP, "folder \"%s\": %s: %s", name, call, strerror(saved));
	errno = saved;
	return RESULT_TEMP;
}

static DIR *open_list(int fd)
{
	int list_fd = folder_directory_open(fd, ".");
	DIR *dir = list_fd >= 0 ? fdopendir(list_fd) : NULL;

	if (!dir)
		folder_directory_close(&list_fd);
	return dir;
}

static void close_list(DIR *dir)
{
	int saved = errno;

	(void)closedir(dir);
	errno = saved;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*
 * HALF_MADE, SOMETHING_ELSE, or UNKNOWN with errno, for a directory without cur/. The marker is the
 * first thing in a folder of ours, so it is looked for last: somebody may be making it right now.
 */
static enum state look_for_remains(int fd)
{
	struct stat st;
	struct dirent *entry;
	DIR *dir = open_list(fd);

	if (!dir)
		return UNKNOWN;
	do {
		errno = 0;
		entry = readdir(dir);
	} while (entry && is_dot(entry->d_name));
	close_list(dir);
	if (!entry)
		return errno == 0 ? HALF_MADE : UNKNOWN;
	if (fstatat(fd, "maildirfolder", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISREG(st.st_mode) ? HALF_MADE : SOMETHING_ELSE;
	return errno == ENOENT ? SOMETHING_ELSE : UNKNOWN;
}

/* UNKNOWN: errno tells why. */
static enum state look_at(int maildir_fd, const char *name)
{
	int fd = folder_directory_open(maildir_fd, name);
	enum state state;
	int has_cur;

	if (fd < 0 && errno == ENOENT)
		return ABSENT;
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? SOMETHING_ELSE : UNKNOWN;
	has_cur = folder_directory_has(fd, "cur");
	if (has_cur < 0)
		state = UNKNOWN;
	else
		state = has_cur ? FOLDER : look_for_remains(fd);
	folder_directory_close(&fd);
	return state;
}

/* FOUND, NONE, or TEMP with errno. */
static enum result is_same(const char *directory, const char *wanted, bool utf8)
{
	struct buf name = BUF_INIT;
	enum result result = RESULT_NONE;
	int order;

	if (folder_name_decode(directory, utf8, &name)) {
		if (u8_casecmp((const uint8_t *)name.data, name.len, (const uint8_t *)wanted,
			       strlen(wanted), NULL, NULL, &order) != 0)
			result = RESULT_TEMP;
		else if (order == 0)
			result = RESULT_FOUND;
	} else if (!buf_ok(&name)) {
		errno = ENOMEM;
		result = RESULT_TEMP;
	}
	buf_free(&name);
	return result;
}

/*
 * Counts the folders, and finds the first by name of those that are WANTED ("A.B") but for the
 * case. FOUND, NONE, or TEMP with errno.
 */
static enum result search(int maildir_fd, const char *wanted, bool utf8, int64_t *count_r,
			  struct buf *name_r)
{
	enum result result = RESULT_NONE;
	struct dirent *entry;
	DIR *dir = open_list(maildir_fd);

	*count_r = 0;
	if (!dir)
		return RESULT_TEMP;
	while ((errno = 0, entry = readdir(dir))) {
		enum result same;
		enum state state;

		if (entry->d_name[0] != '.' || is_dot(entry->d_name) ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		++*count_r;
		same = is_same(entry->d_name, wanted, utf8);
		if (same == RESULT_TEMP)
			break;
		if (same == RESULT_NONE ||
		    (result == RESULT_FOUND && strcmp(buf_str(name_r), entry->d_name) < 0))
			continue;
		state = look_at(maildir_fd, entry->d_name);
		if (state == UNKNOWN)
			break;
		if (state != FOLDER)
			continue;
		buf_reset(name_r);
		buf_puts(name_r, entry->d_name);
		result = RESULT_FOUND;
	}
	if (errno != 0) /* of readdir(3), the comparison, or the look */
		result = RESULT_TEMP;
	close_list(dir);
	return result;
}

static int make_marker(int fd)
{
	int marker = openat(fd, "maildirfolder", O_CREAT | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (marker < 0)
		return -1;
	folder_directory_close(&marker);
	return 0;
}

static enum result create(int maildir_fd, const char *name, struct error *err)
{
	enum result result = RESULT_FOUND;
	int fd;

	if (folder_directory_make(maildir_fd, name) != 0 || folder_directory_sync(maildir_fd) != 0)
		return failed(err, name, "make");
	fd = folder_directory_open(maildir_fd, name);
	if (fd < 0)
		return failed(err, name, "open");
	if (make_marker(fd) != 0 || folder_directory_complete(fd) != 0)
		result = failed(err, name, "make cur, new and tmp");
	folder_directory_close(&fd);
	return result;
}

/* Dovecot keeps files of that name (".dovecot.sieve") where the home is the Maildir. */
static bool is_reserved(const char *name)
{
	return strncasecmp(name, ".dovecot", 8) == 0 && (name[8] == '.' || name[8] == '\0');
}

/* The folder is not there as EXACT says. */
static enum result find_other(int maildir_fd, const char *exact, enum state state,
			      const struct folder_rules *rules, struct buf *name_r,
			      struct error *err)
{
	struct buf wanted = BUF_INIT;
	int64_t count;
	enum result result = RESULT_TEMP;

	errno = ENOMEM;
	if (folder_name_decode(exact, rules->utf8, &wanted))
		result = search(maildir_fd, buf_str(&wanted), rules->utf8, &count, name_r);
	if (result == RESULT_TEMP)
		result = failed(err, exact, "list the folders");
	buf_free(&wanted);
	if (result != RESULT_NONE || !rules->create || is_reserved(exact) ||
	    state == SOMETHING_ELSE || (state == ABSENT && count >= rules->max))
		return result;
	result = create(maildir_fd, exact, err);
	if (result == RESULT_FOUND) {
		folder_subscribe(maildir_fd, exact, rules);
		buf_puts(name_r, exact);
	}
	return result;
}

enum result folder_find(int maildir_fd, const char *name, const struct folder_rules *rules,
			struct buf *name_r, struct error *err)
{
	struct buf exact = BUF_INIT, found = BUF_INIT;
	enum result result;
	enum state state;
	int saved;

	if (!folder_name_encode(name, rules->utf8, &exact)) {
		result = RESULT_NONE;
		(void)result_error(err, result, "folder \"%s\" cannot be addressed", name);
	} else {
		state = look_at(maildir_fd, buf_str(&exact));
		if (state == UNKNOWN)
			result = failed(err, buf_str(&exact), "look at");
		else if (state == FOLDER)
			result = RESULT_FOUND;
		else
			result = find_other(maildir_fd, buf_str(&exact), state, rules, &found, err);
	}
	if (result == RESULT_FOUND) {
		struct buf *from = found.len > 0 ? &found : &exact;

		buf_append(name_r, from->data, from->len);
	}
	if (!buf_ok(&exact) || !buf_ok(&found) || !buf_ok(name_r)) {
		errno = ENOMEM;
		result = failed(err, "", "name");
	}
	saved = errno;
	buf_free(&exact);
	buf_free(&found);
	errno = saved;
	return result;
}
