/*
 * netstring - length ":" bytes ","
 *
 * The length is decimal without leading zeros. Nothing is allocated and nothing kept: the caller
 * parses again with more bytes, which costs a dozen bytes of header each time.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/netstring.h"

enum parse netstring_parse(const char *data, size_t len, size_t max, const char **payload_r,
			   size_t *payload_len_r, size_t *used_r)
{
	size_t length = 0, at = 0;

	*payload_r = "";
	*payload_len_r = 0;
	*used_r = 0;
	for (; at < len && data[at] != ':'; at++) {
		size_t digit = (size_t)(unsigned char)data[at] - '0';

		if (digit > 9 || (at > 0 && length == 0) || digit > max ||
		    length > (max - digit) / 10)
			return PARSE_BAD;
		length = length * 10 + digit;
	}
	if (at == len)
		return PARSE_MORE;
	if (at == 0)
		return PARSE_BAD;
	at++;
	if (len - at <= length)
		return PARSE_MORE;
	if (data[at + length] != ',')
		return PARSE_BAD;
	*payload_r = data + at;
	*payload_len_r = length;
	*used_r = at + length + 1;
	return PARSE_OK;
}

void netstring_begin(struct buf *buf, size_t len)
{
	char digits[24];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + len % 10);
	while (len /= 10);
	buf_append(buf, digits + at, sizeof(digits) - at);
	buf_putc(buf, ':');
}

void netstring_append(struct buf *buf, const void *data, size_t len)
{
	netstring_begin(buf, len);
	buf_append(buf, data, len);
	buf_putc(buf, ',');
}
