bin_PROGRAMS += %D%/postern

%C%_postern_LDADD = libpostern-daemon.la
%C%_postern_SOURCES = \
	%D%/main.c %D%/postern.h \
	%D%/db.c \
	%D%/domain.c \
	%D%/user.c \
	%D%/alias.c \
	%D%/quota.c \
	%D%/lookup.c \
	%D%/flush.c \
	%D%/explain.c \
	%D%/auth.c \
	%D%/parameter.c %D%/parameter.h \
	%D%/table_file.c %D%/table_file.h \
	%D%/import_query.c %D%/import_query.h \
	%D%/import_source.c %D%/import_source.h \
	%D%/import_maps.c \
	%D%/old_table.c %D%/old_table.h \
	%D%/compare.c %D%/compare.h %D%/compare_reason.c \
	%D%/setup.c %D%/setup.h \
	%D%/setup_dovecot.c \
	%D%/config.c \
	%D%/output.c %D%/output.h \
	%D%/frame.c \
	%D%/prompt.c %D%/prompt.h

dist_man1_MANS += %D%/postern.1
