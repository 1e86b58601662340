/*
 * folder_name - names of Maildir++ folders: UTF-8 outside, UTF-8 or modified UTF-7 on disk
 *
 * Modified UTF-7 (RFC 3501 section 5.1.3): printable ASCII stands for itself, "&-" for '&', and the
 * rest is UTF-16 in base64 with ',' for '/' and without padding, between '&' and '-'.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/folder_name.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <unistr.h>

#include "common/folder.h"

#define TEXT_MAX 254 /* bytes of a directory name, without the dot in front */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

struct shift { /* a run of base64 */
	bool open;
	uint32_t bits; /* not yet written, or read, in the lowest BIT_COUNT */
	unsigned bit_count;
};

static void put_unit(struct shift *shift, uint32_t unit, struct buf *out)
{
	if (!shift->open) {
		*shift = (struct shift){.open = true};
		buf_putc(out, '&');
	}
	shift->bits = shift->bits << 16 | unit;
	shift->bit_count += 16;
	while (shift->bit_count >= 6) {
		shift->bit_count -= 6;
		buf_putc(out, digits[shift->bits >> shift->bit_count & 63]);
	}
}

static void end_shift(struct shift *shift, struct buf *out)
{
	if (!shift->open)
		return;
	if (shift->bit_count > 0)
		buf_putc(out, digits[shift->bits << (6 - shift->bit_count) & 63]);
	buf_putc(out, '-');
	shift->open = false;
}

static void encode_utf7(const char *name, struct buf *out)
{
	const uint8_t *at = (const uint8_t *)name, *end = at + strlen(name);
	struct shift shift = {0};

	while (at < end) {
		ucs4_t c;

		at += u8_mbtouc(&c, at, (size_t)(end - at));
		if (c < 0x80) {
			end_shift(&shift, out);
			buf_putc(out, (char)c);
			if (c == '&')
				buf_putc(out, '-');
		} else if (c < 0x10000) {
			put_unit(&shift, c, out);
		} else {
			put_unit(&shift, 0xd800 + ((c - 0x10000) >> 10), out);
			put_unit(&shift, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
		}
	}
	end_shift(&shift, out);
}

/* Valid UTF-8 without control characters. */
static bool text_ok(const char *name, size_t len)
{
	const uint8_t *at = (const uint8_t *)name, *end = at + len;

	if (u8_check(at, len))
		return false;
	while (at < end) {
		ucs4_t c;

		at += u8_mbtouc(&c, at, (size_t)(end - at));
		if (c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
	}
	return true;
}

/* Levels separated by dots, none of them empty, the first one not the INBOX. */
static bool levels_ok(const char *name)
{
	size_t first = strcspn(name, ".");

	if (name[0] == '~' || (first == 5 && strncasecmp(name, "INBOX", 5) == 0))
		return false;
	return name[0] != '\0' && name[0] != '.' && name[strlen(name) - 1] != '.' &&
	       !strstr(name, "..");
}

bool folder_name_encode(const char *name, bool utf8, struct buf *name_r)
{
	char dotted[4 * TEXT_MAX + 1]; /* no encoding makes a quarter of a name */
	size_t before = name_r->len, len = strlen(name);

	if (len >= sizeof(dotted) || !text_ok(name, len))
		return false;
	for (size_t i = 0; i <= len; i++)
		dotted[i] = name[i] == '/' ? '.' : name[i];
	if (!levels_ok(dotted))
		return false;
	buf_putc(name_r, '.');
	if (utf8)
		buf_puts(name_r, dotted);
	else
		encode_utf7(dotted, name_r);
	if (buf_ok(name_r) && name_r->len - before <= 1 + TEXT_MAX)
		return true;
	buf_truncate(name_r, before);
	return false;
}

static void put_utf8(ucs4_t c, struct buf *out)
{
	uint8_t bytes[6];
	int len = u8_uctomb(bytes, c, sizeof(bytes));

	if (len > 0)
		buf_append(out, bytes, (size_t)len);
}

/* The base64 after an '&'. The byte behind the '-' that ends it, or NULL. */
static const char *decode_shift(const char *at, struct buf *out)
{
	struct shift shift = {0};
	uint32_t high = 0; /* a surrogate that waits for the second half */

	for (; *at != '-'; at++) {
		const char *digit = *at ? strchr(digits, *at) : NULL;
		uint32_t unit;

		if (!digit)
			return NULL;
		shift.bits = shift.bits << 6 | (uint32_t)(digit - digits);
		shift.bit_count += 6;
		if (shift.bit_count < 16)
			continue;
		shift.bit_count -= 16;
		unit = shift.bits >> shift.bit_count & 0xffff;
		if (high) {
			if (unit < 0xdc00 || unit > 0xdfff)
				return NULL;
			put_utf8(0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00), out);
			high = 0;
		} else if (unit >= 0xd800 && unit <= 0xdbff) {
			high = unit;
		} else if (unit < 0x20 || (unit >= 0xdc00 && unit <= 0xdfff)) {
			return NULL;
		} else {
			put_utf8(unit, out);
		}
	}
	return high || shift.bit_count >= 6 ? NULL : at + 1;
}

static bool decode_utf7(const char *text, struct buf *out)
{
	for (const char *at = text; *at;) {
		unsigned char c = (unsigned char)*at;

		if (c < 0x20 || c >= 0x7f)
			return false;
		if (*at != '&') {
			buf_putc(out, *at++);
		} else if (at[1] == '-') {
			buf_putc(out, '&');
			at += 2;
		} else {
			at = decode_shift(at + 1, out);
			if (!at)
				return false;
		}
	}
	return true;
}

bool folder_name_decode(const char *directory, bool utf8, struct buf *name_r)
{
	size_t before = name_r->len;
	bool ok;

	if (directory[0] != '.' || directory[1] == '\0' || directory[1] == '.')
		return false;
	if (utf8) {
		ok = text_ok(directory + 1, strlen(directory + 1));
		if (ok)
			buf_puts(name_r, directory + 1);
	} else {
		ok = decode_utf7(directory + 1, name_r);
	}
	if (ok && buf_ok(name_r))
		return true;
	buf_truncate(name_r, before);
	return false;
}
