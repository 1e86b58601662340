# The yardsticks and clients of scripts/bench; they are built with everything else so that they
# cannot rot.
noinst_PROGRAMS += %D%/null_socketmap %D%/null_lmtp %D%/null_relay %D%/fs_limit %D%/spawn
%C%_null_socketmap_SOURCES = %D%/null_socketmap.c %D%/null_server.c %D%/null_server.h
%C%_null_socketmap_LDADD =
%C%_null_lmtp_SOURCES = %D%/null_lmtp.c %D%/null_server.c %D%/null_server.h
%C%_null_lmtp_LDADD =
%C%_null_relay_SOURCES = %D%/null_relay.c %D%/null_server.c %D%/null_server.h
%C%_null_relay_LDADD = $(MYSQL_LIBS)
%C%_fs_limit_SOURCES = %D%/fs_limit.c
%C%_fs_limit_LDADD =
%C%_spawn_SOURCES = %D%/spawn.c
%C%_spawn_LDADD =

EXTRA_DIST += %D%/README.md %D%/lookup.py %D%/delivery.py %D%/delivery_sides.py %D%/report.py \
	%D%/sides.py
