/*
 * address - mail addresses as keys of maps
 *
 * Postfix asks first with the local part quoted, then without quotes, so `a"b@d` is taken as it
 * stands: only a local part that is one quoted string as a whole is unquoted. A key that begins
 * with a quote and is no well-formed quoted string is no address.
 *
 * Domain literals ([192.0.2.1]) are accepted in addresses and are domains that nobody has.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/address.h"

#include <string.h>
#include <unicase.h>
#include <unistr.h>

#define DOMAIN_MAX 255

static bool control(ucs4_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

bool address_key_ok(const char *key, size_t len)
{
	if (len == 0 || len > ADDRESS_MAX || key[0] == ' ' || key[len - 1] == ' ')
		return false;
	for (size_t i = 0; i < len;) {
		ucs4_t point;
		int bytes = u8_mbtoucr(&point, (const uint8_t *)key + i, len - i);

		if (bytes <= 0 || control(point))
			return false;
		i += (size_t)bytes;
	}
	return true;
}

bool address_fold(char *folded_r, size_t size, const char *in, size_t len)
{
	size_t out = 0;

	if (size == 0)
		return false;
	for (size_t i = 0; i < len;) {
		ucs4_t point;
		int bytes = u8_mbtoucr(&point, (const uint8_t *)in + i, len - i);

		/* A NUL would cut the result, and the rest would not be compared. */
		if (bytes <= 0 || point == 0)
			return false;
		i += (size_t)bytes;
		bytes = u8_uctomb((uint8_t *)folded_r + out, uc_tolower(point),
				  (ptrdiff_t)(size - 1 - out));
		if (bytes <= 0)
			return false;
		out += (size_t)bytes;
	}
	folded_r[out] = '\0';
	return true;
}

bool address_equal(const char *a, const char *b)
{
	char folded_a[ADDRESS_MAX + 1], folded_b[ADDRESS_MAX + 1];

	return address_fold(folded_a, sizeof(folded_a), a, strlen(a)) &&
	       address_fold(folded_b, sizeof(folded_b), b, strlen(b)) &&
	       strcmp(folded_a, folded_b) == 0;
}

/*
 * Unquotes the quoted string at the start of KEY into LOCAL_R. Returns the bytes of KEY that it
 * takes, quotes included, or 0 if it does not end.
 */
static size_t unquote(char *local_r, const char *key, size_t len)
{
	size_t out = 0, i = 1;

	while (i < len && key[i] != '"') {
		if (key[i] == '\\' && ++i == len)
			return 0;
		local_r[out++] = key[i++];
	}
	local_r[out] = '\0';
	return i < len ? i + 1 : 0;
}

/* Sets address->typed; returns the place of the '@' in KEY, or 0. */
static size_t split(struct address *address, const char *key, size_t len)
{
	const char *at;
	size_t end;

	if (key[0] == '"') {
		end = unquote(address->typed, key, len);
		return end > 2 && end < len && key[end] == '@' ? end : 0;
	}
	at = memrchr(key, '@', len);
	if (at == NULL)
		return 0;
	end = (size_t)(at - key);
	memcpy(address->typed, key, end);
	address->typed[end] = '\0';
	return end;
}

static bool fold_local(struct address *address, const char *delimiters)
{
	size_t base = strcspn(address->typed, delimiters);

	address->typed_extension = NULL;
	if (base > 0 && address->typed[base] != '\0')
		address->typed_extension = address->typed + base;
	else
		base = strlen(address->typed);
	if (!address_fold(address->local, sizeof(address->local), address->typed, base))
		return false;
	address->base_len = strlen(address->local);
	return address_fold(address->local + address->base_len,
			    sizeof(address->local) - address->base_len, address->typed + base,
			    strlen(address->typed + base));
}

bool address_parse(struct address *address, const char *key, size_t len, const char *delimiters)
{
	const char *domain;
	size_t at, domain_len;

	if (!address_key_ok(key, len))
		return false;
	at = split(address, key, len);
	if (at == 0)
		return false;
	domain = key + at + 1;
	domain_len = len - at - 1;
	if (domain_len == 0)
		return false;
	for (size_t i = 0; i < domain_len; i++)
		if (strchr(" \"@<>", domain[i]) != NULL)
			return false;
	return fold_local(address, delimiters != NULL ? delimiters : "") &&
	       address_fold(address->domain, sizeof(address->domain), domain, domain_len);
}

static bool host_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || (c & 0x80) != 0;
}

bool address_domain(char *domain_r, const char *key, size_t len)
{
	if (!address_key_ok(key, len))
		return false;
	if (key[len - 1] == '.')
		len--;
	if (len == 0 || len > DOMAIN_MAX || key[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!host_byte(key[i]) || (key[i] == '.' && i + 1 < len && key[i + 1] == '.'))
			return false;
	if (key[len - 1] == '.')
		return false;
	return address_fold(domain_r, ADDRESS_MAX + 1, key, len) && strlen(domain_r) <= DOMAIN_MAX;
}

static bool atext(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c & 0x80) != 0 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool dot_atom(const char *local, size_t len)
{
	if (len == 0 || local[0] == '.' || local[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (local[i] == '.' ? local[i + 1] == '.' : !atext(local[i]))
			return false;
	}
	return true;
}

void address_print(struct buf *buf, const char *local, size_t local_len, const char *domain)
{
	if (dot_atom(local, local_len)) {
		buf_append(buf, local, local_len);
	} else {
		buf_putc(buf, '"');
		for (size_t i = 0; i < local_len; i++) {
			if (local[i] == '"' || local[i] == '\\')
				buf_putc(buf, '\\');
			buf_putc(buf, local[i]);
		}
		buf_putc(buf, '"');
	}
	buf_putc(buf, '@');
	buf_puts(buf, domain);
}
