/*
 * NAME
 *	map_template - texts with places for parts of a key and of a value
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/map_template.h"

#include <string.h>

#define PLACE_MAX 32

/* The INDEXth (from 1) label of DOMAIN from the right; its length, 0 when there is none. */
static size_t find_label(const char *domain, unsigned index, const char **label_r)
{
	const char *end = domain + strlen(domain);

	for (;;) {
		const char *start;

		while (end > domain && end[-1] == '.')
			end--;
		start = end;
		while (start > domain && start[-1] != '.')
			start--;
		if (start == end)
			return 0;
		if (--index == 0) {
			*label_r = start;
			return (size_t)(end - start);
		}
		end = start;
	}
}

static enum result append_part(struct buf *out, const char *text, size_t len)
{
	if (len == 0)
		return RESULT_NONE;
	buf_append(out, text, len);
	return RESULT_FOUND;
}

enum result map_part(const char *text, const char *part, struct buf *out)
{
	const char *at = strrchr(text, '@');
	const char *domain = at ? at + 1 : "";
	const char *label = NULL;
	size_t len;

	if (strcmp(part, "") == 0)
		return append_part(out, text, strlen(text));
	if (strcmp(part, "local") == 0)
		return append_part(out, text, at ? (size_t)(at - text) : strlen(text));
	if (strcmp(part, "domain") == 0)
		return append_part(out, domain, strlen(domain));
	if (strncmp(part, "label", 5) != 0 || part[5] < '1' || part[5] > '9' || part[6] != '\0')
		return RESULT_PERM;
	len = find_label(domain, (unsigned)(part[5] - '0'), &label);
	return append_part(out, label, len);
}

/*
 * The piece of a template at *CURSOR, which moves behind it: one byte of text in *TEXT_R, or the
 * name of a place in NAME_R (PLACE_MAX bytes). False: a brace that is neither.
 */
static bool next_piece(const char **cursor, char *text_r, char *name_r)
{
	const char *p = *cursor;
	size_t len;

	*text_r = *p;
	name_r[0] = '\0';
	if (p[0] != '{' && p[0] != '}') {
		*cursor = p + 1;
		return true;
	}
	if (p[1] == p[0]) {
		*cursor = p + 2;
		return true;
	}
	len = strcspn(p + 1, "{}");
	if (p[0] == '}' || p[1 + len] != '}' || len == 0 || len >= PLACE_MAX)
		return false;
	memcpy(name_r, p + 1, len);
	name_r[len] = '\0';
	*cursor = p + len + 2;
	return true;
}

/* The part that "key.local" or "value" names, of the text it names; NULL: of neither. */
static const char *place_part(const char *name, bool *of_value_r)
{
	const char *rest;

	*of_value_r = strncmp(name, "value", 5) == 0;
	if (!*of_value_r && strncmp(name, "key", 3) != 0)
		return NULL;
	rest = name + (*of_value_r ? 5 : 3);
	if (*rest == '\0')
		return rest;
	return rest[0] == '.' && rest[1] != '\0' ? rest + 1 : NULL;
}

static bool place_ok(const char *name, bool result)
{
	struct buf nowhere = BUF_INIT;
	bool of_value, good;
	const char *part = place_part(name, &of_value);

	if (!part || (of_value && (!result || strncmp(part, "label", 5) == 0)))
		return false;
	good = map_part("", part, &nowhere) != RESULT_PERM;
	buf_free(&nowhere);
	return good;
}

enum result map_template_check(const char *template, bool result, struct error *err)
{
	char text, name[PLACE_MAX];

	for (const char *cursor = template; *cursor;) {
		const char *start = cursor;

		if (!next_piece(&cursor, &text, name))
			return result_error(err, RESULT_PERM,
					    "the brace at \"%.20s\" opens or closes nothing; a "
					    "brace of the text is doubled",
					    start);
		if (name[0] && !place_ok(name, result))
			return result_error(
				err, RESULT_PERM,
				"there is no {%s} here; there are {key}, {key.local}, "
				"{key.domain}, {key.label1} to {key.label9}%s",
				name, result ? ", {value}, {value.local}, {value.domain}" : "");
	}
	return RESULT_FOUND;
}

enum result map_template_expand(const char *template, const char *key, const char *value,
				struct buf *out)
{
	const size_t before = out->len;
	char text, name[PLACE_MAX];

	for (const char *cursor = template; *cursor;) {
		bool of_value;
		const char *part;

		if (!next_piece(&cursor, &text, name))
			return RESULT_PERM;
		if (!name[0]) {
			buf_putc(out, text);
			continue;
		}
		part = place_part(name, &of_value);
		if (!part)
			return RESULT_PERM;
		if (of_value && !value)
			continue;
		if (map_part(of_value ? value : key, part, out) != RESULT_FOUND) {
			buf_truncate(out, before);
			return RESULT_NONE;
		}
	}
	return RESULT_FOUND;
}
