/*
 * NAME
 *	conf_value - single values of configuration files and command lines
 *
 * DESCRIPTION
 *	Strict: the whole text is the value, so "12abc", "1 2", "0x10", "+1" and numbers that
 *	overflow are refused. Units are single suffixes without a blank in between.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/conf_file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
	const char *suffix;
	int64_t factor;
};

/* Digits only; *REST_R is what follows them. False without a digit or on overflow. */
static bool parse_digits(const char *text, int64_t *value_r, const char **rest_r)
{
	int64_t value = 0;
	const char *c = text;
	for (; *c >= '0' && *c <= '9'; c++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *c - '0', &value))
			return false;
	*value_r = value;
	*rest_r = c;
	return c != text;
}

static bool parse_with_unit(const char *text, const struct unit *units, int64_t *value_r)
{
	int64_t number;
	const char *rest;
	if (!parse_digits(text, &number, &rest))
		return false;
	for (; units->suffix != NULL; units++)
		if (strcasecmp(rest, units->suffix) == 0)
			return !__builtin_mul_overflow(number, units->factor, value_r);
	return false;
}

bool conf_parse_integer(const char *text, int64_t *value_r)
{
	bool negative = text[0] == '-';
	int64_t value;
	const char *rest;
	if (!parse_digits(text + negative, &value, &rest) || *rest != '\0')
		return false;
	*value_r = negative ? -value : value;
	return true;
}

bool conf_parse_size(const char *text, int64_t *bytes_r)
{
	static const struct unit units[] = {
		{"", 1},          {"K", 1LL << 10}, {"M", 1LL << 20},
		{"G", 1LL << 30}, {"T", 1LL << 40}, {NULL, 0},
	};
	return parse_with_unit(text, units, bytes_r);
}

bool conf_parse_duration(const char *text, int64_t *ms_r)
{
	static const struct unit units[] = {
		{"ms", 1},         {"s", 1000},        {"m", 60000}, {"h", 3600000},
		{"d", 86400000LL}, {"w", 604800000LL}, {NULL, 0},
	};
	int64_t number;
	const char *rest;
	if (parse_digits(text, &number, &rest) && number == 0 && *rest == '\0') {
		*ms_r = 0;
		return true;
	}
	return parse_with_unit(text, units, ms_r);
}

bool conf_parse_bool(const char *text, bool *value_r)
{
	static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*value_r = i % 2 == 1;
			return true;
		}
	}
	return false;
}

bool conf_next_word(const char **cursor, char *word, size_t size)
{
	if (*cursor == NULL)
		return false;
	const char *start = *cursor + strspn(*cursor, " \t");
	size_t len = strcspn(start, " \t");
	*cursor = start + len;
	if (len == 0)
		return false;
	if (len >= size) {
		*cursor = NULL;
		return false;
	}
	memcpy(word, start, len);
	word[len] = '\0';
	return true;
}

bool conf_in_range(const struct conf_option *option, int64_t value)
{
	if (option->min == 0 && option->max == 0)
		return value >= 0;
	return value >= option->min && value <= option->max;
}

static bool parse_mode(const char *text, int64_t *mode_r)
{
	char *end;
	size_t len = strlen(text);
	if (len < 3 || len > 4 || strspn(text, "01234567") != len)
		return false;
	*mode_r = strtol(text, &end, 8);
	return true;
}

bool conf_parse_number(enum conf_type type, const char *text, int64_t *value_r)
{
	switch (type) {
	case CONF_INTEGER:
		return conf_parse_integer(text, value_r);
	case CONF_SIZE:
		return conf_parse_size(text, value_r);
	case CONF_DURATION:
		return conf_parse_duration(text, value_r);
	case CONF_MODE:
		return parse_mode(text, value_r);
	default:
		return false;
	}
}

bool conf_is_choice(const char *choices, const char *value)
{
	char word[64];
	while (conf_next_word(&choices, word, sizeof(word)))
		if (strcmp(word, value) == 0)
			return true;
	return false;
}

void conf_print_number(struct buf *out, enum conf_type type, int64_t value)
{
	static const struct {
		const char *suffix;
		int64_t factor;
	} sizes[] = {{"T", 1LL << 40}, {"G", 1LL << 30}, {"M", 1LL << 20}, {"K", 1LL << 10}},
	  times[] = {{"w", 604800000LL}, {"d", 86400000LL}, {"h", 3600000},
		     {"m", 60000},       {"s", 1000},       {"ms", 1}};

	if (type == CONF_MODE) {
		buf_printf(out, "%04llo", (unsigned long long)value);
		return;
	}
	for (size_t i = 0; value != 0 && type == CONF_SIZE && i < 4; i++) {
		if (value % sizes[i].factor == 0) {
			buf_printf(out, "%lld%s", (long long)(value / sizes[i].factor),
				   sizes[i].suffix);
			return;
		}
	}
	for (size_t i = 0; value != 0 && type == CONF_DURATION && i < 6; i++) {
		if (value % times[i].factor == 0) {
			buf_printf(out, "%lld%s", (long long)(value / times[i].factor),
				   times[i].suffix);
			return;
		}
	}
	buf_printf(out, "%lld", (long long)value);
}

void conf_describe(const struct conf_option *option, struct buf *out)
{
	switch (option->type) {
	case CONF_STRING:
		buf_puts(out, "any text");
		return;
	case CONF_PATH:
		buf_puts(out, "an absolute path");
		return;
	case CONF_BOOL:
		buf_puts(out, "yes or no");
		return;
	case CONF_CHOICE:
		buf_printf(out, "one of: %s", option->choices);
		return;
	case CONF_MODE:
		buf_puts(out, "an octal file mode such as 0660");
		return;
	case CONF_INTEGER:
		buf_puts(out, "a whole number");
		break;
	case CONF_SIZE:
		buf_puts(out, "a size such as 4096, 64K, 10M, 2G");
		break;
	case CONF_DURATION:
		buf_puts(out, "a time with its unit such as 500ms, 30s, 5m, 1h, 1d");
		break;
	}
	if (option->min == 0 && option->max == 0)
		return;
	buf_puts(out, ", from ");
	conf_print_number(out, option->type, option->min);
	buf_puts(out, " to ");
	conf_print_number(out, option->type, option->max);
}
