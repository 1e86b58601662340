unit_tests = \
	%D%/unit/test_result %D%/unit/test_buf %D%/unit/test_log %D%/unit/test_deadline \
	%D%/unit/test_address %D%/unit/test_secret %D%/unit/test_password %D%/unit/test_io \
	%D%/unit/test_netstring %D%/unit/test_policy_attrs %D%/unit/test_smtp_line \
	%D%/unit/test_conf %D%/unit/test_settings %D%/unit/test_endpoint %D%/unit/test_notify \
	%D%/unit/test_metrics %D%/unit/test_tls %D%/unit/test_cache %D%/unit/test_serve \
	%D%/unit/test_daemon \
	%D%/unit/test_sql %D%/unit/test_schema %D%/unit/test_accounts %D%/unit/test_accounts_edit \
	%D%/unit/test_resolve %D%/unit/test_maps %D%/unit/test_authenticate \
	%D%/unit/test_maildir %D%/unit/test_quota

check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
