/*
 * mailbox_directory - where a mailbox lies below the mail base
 *
 * The path comes out of a database that others write: nothing outside the base is ever named, and
 * a path that could be read in two ways is refused.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <limits.h>
#include <string.h>

#include "common/accounts.h"

/* NULL, or why the relative PATH of LEN bytes, without its trailing '/', is not acceptable. */
static const char *path_fault(const char *path, size_t len)
{
	size_t start = 0;

	if (len == 0)
		return "is empty";
	if (path[strspn(path, "abcdefghijklmnopqrstuvwxyz")] == ':')
		return "names a format other than maildir";
	if (path[0] == '~' && (len == 1 || path[1] == '/'))
		return "begins with \"~\", which is not followed";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
			return "has a control character";
	while (start <= len) {
		const char *part = path + start;
		const char *slash = memchr(part, '/', len - start);
		size_t part_len = slash != NULL ? (size_t)(slash - part) : len - start;
		if (part_len == 0)
			return "has an empty component";
		if (part[0] == ' ' || part[part_len - 1] == ' ')
			return "has a component that begins or ends with a blank";
		if ((part_len == 1 && part[0] == '.') ||
		    (part_len == 2 && part[0] == '.' && part[1] == '.'))
			return "has a component \".\" or \"..\"";
		if (part_len > NAME_MAX)
			return "has a component over 255 bytes";
		start += part_len + 1;
	}
	return NULL;
}

static size_t length_without_slash(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return len;
}

enum result mailbox_directory(const struct settings *settings, const struct mailbox *mailbox,
			      struct buf *directory_r, struct error *err)
{
	const char *base = settings->mail.base, *path = mailbox->path;
	const char *subdirectory = settings->mail.subdirectory;
	size_t base_len = length_without_slash(base), path_len, start = directory_r->len;
	const char *fault;

	if (path[0] == '/') {
		if (strncmp(path, base, base_len) != 0 || path[base_len] != '/')
			return result_error(err, RESULT_PERM,
					    "mailbox %s: path \"%.200s\" is not below [mail] base "
					    "%s",
					    mailbox->address, path, base);
		path += base_len + 1;
	}
	path_len = strlen(path);
	if (path_len > 1 && path[path_len - 1] == '/')
		path_len--;
	fault = path_fault(path, path_len);
	if (fault != NULL)
		return result_error(err, RESULT_PERM, "mailbox %s: path \"%.200s\" %s",
				    mailbox->address, mailbox->path, fault);
	buf_append(directory_r, base, base_len);
	buf_putc(directory_r, '/');
	buf_append(directory_r, path, path_len);
	if (subdirectory[0] != '\0') {
		buf_putc(directory_r, '/');
		buf_append(directory_r, subdirectory, length_without_slash(subdirectory));
	}
	if (!buf_ok(directory_r))
		return result_error(err, RESULT_TEMP, "out of memory");
	/* Room for "/tmp/" and a file name. */
	if (directory_r->len - start >= PATH_MAX - NAME_MAX - 8) {
		buf_truncate(directory_r, start);
		return result_error(err, RESULT_PERM, "mailbox %s: its path is too long",
				    mailbox->address);
	}
	return RESULT_FOUND;
}
