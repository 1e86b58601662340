# The units are filled here and not by configure, where ${sbindir} stays unexpanded.
units = \
	%D%/systemd/postfix-lookup.service %D%/systemd/postfix-lookup.socket \
	%D%/systemd/lmtp-deliver.service \
	%D%/systemd/policyd.service \
	%D%/systemd/sasl-authd.service
unit_templates = \
	%D%/systemd/postfix-lookup.service.in %D%/systemd/postfix-lookup.socket.in \
	%D%/systemd/lmtp-deliver.service.in \
	%D%/systemd/policyd.service.in \
	%D%/systemd/sasl-authd.service.in

$(units): $(unit_templates) Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && \
	$(SED) -e 's|@sbindir[@]|$(sbindir)|g' $(srcdir)/$@.in >$@.new && mv $@.new $@

sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
if SYSTEMD
systemdsystemunit_DATA = $(units)
endif
CLEANFILES += $(units)

# Installed as postern.conf: the two source names say what they are.
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(sysusersdir)' '$(DESTDIR)$(tmpfilesdir)'
	$(INSTALL_DATA) $(srcdir)/%D%/sysusers.conf '$(DESTDIR)$(sysusersdir)/postern.conf'
	$(INSTALL_DATA) $(srcdir)/%D%/tmpfiles.conf '$(DESTDIR)$(tmpfilesdir)/postern.conf'
uninstall-local:
	rm -f '$(DESTDIR)$(sysusersdir)/postern.conf' '$(DESTDIR)$(tmpfilesdir)/postern.conf'

dist_example_DATA = %D%/postern.ini
EXTRA_DIST += $(unit_templates) %D%/sysusers.conf %D%/tmpfiles.conf %D%/debian
