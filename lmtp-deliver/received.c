/*
 * received - the Received field of a message that came by LMTP
 *
 * What the client says of itself is put down as letters, digits and a few marks only, so that
 * nobody can write into the field's structure. The protocol's names are those of RFC 3848 and
 * RFC 6531; "for" is left out when there are several recipients, who need not know of each other.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lmtp-deliver/received.h"

#define HELO_MAX    255
#define NEED_QUOTES " \"\\()<>,;:[]" /* an address with one of these is left out */

static void put_word(struct buf *out, const char *word)
{
	for (size_t i = 0; word[i] && i < HELO_MAX; i++) {
		bool plain = (word[i] >= '0' && word[i] <= '9') ||
			     (word[i] >= 'A' && word[i] <= 'Z') ||
			     (word[i] >= 'a' && word[i] <= 'z') || strchr("-._:[]", word[i]);

		buf_putc(out, plain ? word[i] : '?');
	}
}

/* "127.0.0.1:4711" as [127.0.0.1], "[::1]:4711" as [IPv6:::1]. */
static void put_peer(struct buf *out, const char *peer)
{
	const char *colon = strrchr(peer, ':');
	size_t len = colon ? (size_t)(colon - peer) : 0;

	if (!colon)
		buf_puts(out, peer);
	else if (peer[0] == '[')
		buf_printf(out, "[IPv6:%.*s", (int)len - 1, peer + 1);
	else
		buf_printf(out, "[%.*s]", (int)len, peer);
}

static void put_id(struct buf *out, const char *id, time_t now)
{
	static atomic_uint counter;

	if (*id)
		put_word(out, id);
	else
		buf_printf(out, "%llX.%X.%X", (unsigned long long)now, (unsigned)getpid(),
			   atomic_fetch_add(&counter, 1));
}

/* The names of days and months must not depend on the locale. */
static void put_date(struct buf *out, time_t now)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm = {0};
	long offset;

	(void)localtime_r(&now, &tm);
	offset = tm.tm_gmtoff / 60;
	buf_printf(out, "%.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld", days + 3 * tm.tm_wday,
		   tm.tm_mday, months + 3 * tm.tm_mon, 1900 + tm.tm_year, tm.tm_hour, tm.tm_min,
		   tm.tm_sec, offset < 0 ? '-' : '+', (offset < 0 ? -offset : offset) / 60,
		   (offset < 0 ? -offset : offset) % 60);
}

void received_make(const struct received *received, struct buf *out)
{
	buf_puts(out, "Received: from ");
	put_word(out, received->helo);
	buf_puts(out, " (");
	put_peer(out, received->peer);
	buf_printf(out, ")\n\tby %s with %sLMTP%s%s id ", received->hostname,
		   received->smtputf8 ? "UTF8" : "", received->tls ? "S" : "",
		   received->authenticated ? "A" : "");
	put_id(out, received->id, received->now);
	if (received->recipient && !received->recipient[strcspn(received->recipient, NEED_QUOTES)])
		buf_printf(out, "\n\tfor <%s>", received->recipient);
	buf_puts(out, "; ");
	put_date(out, received->now);
	buf_putc(out, '\n');
}
