/*
 * The database as postfix-lookup asks it: handles that any worker may borrow, and the knowledge
 * whether there is a database at all. While every host is away nobody asks: a thread of its own
 * looks once a [database] retry_interval whether one is back. Thread-safe.
 */
#ifndef POSTERN_DATABASE_H
#define POSTERN_DATABASE_H

#include "common/accounts.h"

struct database;

/* SETTINGS and SCHEMA must outlive it. FOUND, TEMP or PERM. Nothing connects. */
enum result database_open(const struct settings *settings, const struct schema *schema,
			  struct database **database_r, struct error *err) MUST_CHECK;
void database_free(struct database **database);

/*
 * maps_lookup() on a borrowed handle. TEMP with *AGAIN_R: this connection was refused, but others
 * stand; the gate is narrower now, ask again behind it. *AWAY_R: there is no host to ask, so what
 * is PERM (access denied) or TEMP says nothing about the key.
 */
enum result database_ask(struct database *database, const char *map, const char *key, size_t len,
			 struct buf *answer, bool *again_r, bool *away_r,
			 struct error *err) MUST_CHECK;

/* Cheap. */
bool database_away(const struct database *database);
/*
 * The answer while it is away: what can be said of the key alone, else TEMP, or PERM when access
 * was denied; then *AWAY_R. OFFLINE is a handle of database_offline().
 */
enum result database_judge(struct database *database, struct accounts *offline, const char *map,
			   const char *key, size_t len, struct buf *answer, bool *away_r,
			   struct error *err) MUST_CHECK;
/* A handle that never connects. */
enum result database_offline(const struct settings *settings, const struct schema *schema,
			     struct accounts **offline_r, struct error *err) MUST_CHECK;

/* Whether old answers have been served since the database was last there; sets it. */
bool database_note_stale(struct database *database);

#endif
